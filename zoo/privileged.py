"""PAL beside cross-entropy alone: `python -m zoo.privileged --data DIR`.

Twice the same: from the weights of patt_lite.ferplus and a new head, the network is
fine-tuned on FER2013's train split with the same seed, batches and augmentation, once
with weight 0 for the privileged attribution loss, which is cross-entropy alone, and
once with weight 1, as in the paper. Nothing is chosen: the last epoch counts.

On the public test split it prints the accuracy, and the share of the attribution
(Grad·Input at the guided layer, all channels) that lies inside the landmark regions:
the places where the heatmap of the inner landmarks has at least a quarter of its
maximum. A uniform attribution has the share "area". The folder also needs
`train_landmarks.npz` and `public_test_landmarks.npz`: `landmarks` (N, 68, 2), fractions
of the crop in iBUG order, and `valid` (N,).
"""

import argparse
import json
import pathlib
import sys

import keras
import numpy as np
from keras import layers

from keras_fer import training, zoo
from keras_fer.training.heatmaps import INNER_LANDMARKS
from zoo import data
from zoo.environment import environment
from zoo.evaluate import scores

WEIGHTS = {"cross-entropy": 0.0, "PAL": 1.0}


def heatmaps(folder, split, rows, size):
    """Heatmaps of the inner landmarks, zero where they are not valid: float16."""
    arrays = np.load(pathlib.Path(folder) / f"{split}_landmarks.npz")
    landmarks = arrays["landmarks"].astype("float32")
    landmarks[~arrays["valid"]] = np.nan
    landmarks = landmarks[rows][:, INNER_LANDMARKS]
    return np.concatenate(
        [
            np.asarray(training.landmark_heatmap(landmarks[i : i + 512], size))
            for i in range(0, len(landmarks), 512)
        ]
    ).astype("float16")


def augmentation():
    """As in the recipes, but the heatmap moves along."""
    edges = {"fill_mode": "nearest"}
    return training.JointAugmentation(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.04, **edges),
            layers.RandomTranslation(0.08, 0.08, **edges),
            layers.RandomZoom(0.12, **edges),
        ],
        image_layers=[
            layers.RandomBrightness(0.2),
            layers.RandomContrast(0.3),
        ],
    )


def fine_tune(weight, train, maps, epochs, seed):
    """One of the two networks, trained."""
    keras.utils.set_random_seed(seed)
    model = zoo.load("patt_lite.ferplus", labels=train.labels)
    network = training.PrivilegedAttribution(
        model, weight=weight, augmentation=augmentation()
    )
    steps = epochs * -(-len(train) // 64)
    rate = keras.optimizers.schedules.CosineDecay(
        2e-5, steps - steps // 10, 0.01, warmup_target=4e-4, warmup_steps=steps // 10
    )
    network.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=3.0),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy"],
    )
    network.fit(
        {"image": train.images, "heatmap": maps},
        train.targets,
        batch_size=64,
        epochs=epochs,
        verbose=1 if sys.stdout.isatty() else 2,
    )
    return network


def measure(network, test, maps):
    """Accuracy, and where the attribution lies."""
    size = network.heatmap_size
    seen = maps.any(axis=(1, 2))
    attribution = np.concatenate(
        [
            np.asarray(network.attribute(test.images[i : i + 256])).mean(axis=-1)
            for i in range(0, len(test), 256)
        ]
    )[seen]
    regions = maps[seen] >= 0.25
    inside = (attribution * regions).sum(axis=(1, 2)) / attribution.sum(axis=(1, 2))
    probabilities = network.model.predict(test.images, batch_size=256, verbose=0)
    return {
        "layer_map": list(size),
        "faces": int(seen.sum()),
        "area": 100 * float(regions.mean()),
        "inside": 100 * float(inside.mean()),
        **scores(test.classes, probabilities, test.labels),
    }


def main():
    """Command line."""
    parser = argparse.ArgumentParser(
        "python -m zoo.privileged",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="data folder; see zoo/data.py")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--limit", type=int, help="training images, for a trial")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    options = parser.parse_args()

    train, _ = data.hold_out(data.fer2013(options.data, "train"))
    train = train[: options.limit]
    test = data.fer2013(options.data, "public_test")
    maps = heatmaps(options.data, "train", train.rows, train.images.shape[1:3])
    rows = []
    for name, weight in WEIGHTS.items():
        network = fine_tune(weight, train, maps, options.epochs, options.seed)
        test_maps = heatmaps(
            options.data, "public_test", test.rows, network.heatmap_size
        )
        row = {"loss": name, "weight": weight, **measure(network, test, test_maps)}
        rows.append(row)
        print(
            "{loss}: accuracy {accuracy:.2f} %, attribution inside the landmark "
            "regions {inside:.1f} % (area {area:.1f} %), {faces} faces".format(**row),
            flush=True,
        )
    result = {
        "seed": options.seed,
        "epochs": options.epochs,
        "trained_on": len(train),
        "rows": rows,
        "environment": environment(),
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
