"""Compares PAL with cross-entropy alone.

    python -m zoo.privileged --data DIR [--runs FOLDER] [--out FILE]

PAtt-Lite is fine-tuned on FER2013 twice, from the weights of patt_lite.ferplus with a
new head and with the same seed, batches and augmentation: once with weight 0 for the
privileged attribution loss, which is cross-entropy alone, and once with weight 1, as in
the paper. `zoo.train` does the training, in FOLDER; a command that was interrupted
continues where it stopped.

Reported on the public test split are accuracy and mean recall, and which share of the
attribution (Grad·Input at the guided layer, all channels) lies inside the landmark
regions: the positions where the heatmap of the inner landmarks has at least a quarter
of its maximum. A uniform attribution would have the share "area".

DIR also holds `train_landmarks.npz` and `public_test_landmarks.npz`; see zoo/data.py.
"""

import argparse
import json
import pathlib
import sys

import keras
import numpy as np
from keras import layers

from keras_fer import training
from keras_fer.console import print_error
from keras_fer.evaluation.metrics import scores
from zoo import data
from zoo.environment import environment
from zoo.recipe import Recipe, Stage
from zoo.train import train
from zoo.trainer import heatmaps

WEIGHTS = {"cross-entropy": 0.0, "PAL": 1.0}


def augmentation():
    """As in the recipes, with the heatmap moving along."""
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


def recipe(weight, epochs=5, seed=0):
    """The recipe of one row of the comparison.

    Args:
        weight: Weight of the privileged attribution loss.
        epochs: Number of epochs.
        seed: Seed of everything random.
    """
    return Recipe(
        architecture="PAttLite",
        arguments={"grayscale": True},
        dataset="fer2013",
        start="patt_lite.ferplus",
        stages=(Stage(epochs, 4e-4, input_size=96, augmentation=augmentation),),
        ema=None,
        label_smoothing=0.1,
        attribution={"weight": weight},
        seed=seed,
    )


def measure(network, test):
    """Scores, and the share of the attribution inside the landmark regions.

    Args:
        network: A `PrivilegedAttribution`.
        test: `zoo.data.Faces` with landmarks.

    Returns:
        A dictionary of values for JSON: `layer_map`, the size of the guided layer's
        feature map; `faces`, how many have landmarks; `area` and `inside`, in percent;
        and all of `keras_fer.evaluation.metrics.scores`.
    """
    batches = [slice(start, start + 256) for start in range(0, len(test), 256)]
    maps = np.concatenate(
        [heatmaps(test.landmarks[rows], network.heatmap_size) for rows in batches]
    )
    attribution = np.concatenate(
        [
            np.asarray(network.attribute(test.images[rows])).mean(axis=-1)
            for rows in batches
        ]
    )
    known = maps.any(axis=(1, 2))
    regions, attribution = maps[known] >= 0.25, attribution[known]
    inside = (attribution * regions).sum(axis=(1, 2)) / attribution.sum(axis=(1, 2))
    probabilities = network.model.predict(test.images, batch_size=256, verbose=0)
    return {
        "layer_map": list(network.heatmap_size),
        "faces": int(known.sum()),
        "area": 100 * float(regions.mean()),
        "inside": 100 * float(inside.mean()),
        **scores(test.classes, probabilities, test.labels),
    }


def main():
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m zoo.privileged",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="a folder of arrays"
    )
    parser.add_argument(
        "--runs",
        type=pathlib.Path,
        default=pathlib.Path("runs/privileged"),
        metavar="FOLDER",
        help="folder of the two runs (%(default)s)",
    )
    parser.add_argument("--epochs", type=int, default=5, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--out", type=pathlib.Path, metavar="FILE", help="write JSON there"
    )
    options = parser.parse_args()
    try:
        compare(options)
    except (FloatingPointError, OSError, ValueError) as error:
        print_error("zoo.privileged", error)
        return 1
    return 0


def compare(options):
    """Trains and measures both rows, prints and writes them."""
    files = {
        name: train(
            recipe(weight, options.epochs, options.seed),
            options.data,
            options.runs / name,
            resume=True,
        )
        for name, weight in WEIGHTS.items()
    }
    test = data.open_split("fer2013", options.data, "public_test", landmarks=True)
    rows = []
    for name, weight in WEIGHTS.items():
        model = keras.saving.load_model(files[name])
        network = training.PrivilegedAttribution(model, weight=weight)
        row = {"loss": name, "weight": weight, **measure(network, test)}
        rows.append(row)
        print(
            "{loss}: accuracy {accuracy:.2f} %, mean recall {uar:.2f} %, attribution "
            "inside the landmark regions {inside:.1f} % (area {area:.1f} %), {faces} "
            "faces".format(**row),
            flush=True,
        )
    if options.out:
        run = json.loads((options.runs / "PAL" / "run.json").read_text())
        result = {
            "seed": options.seed,
            "epochs": options.epochs,
            "trained_on": run["trained_on"],
            "rows": rows,
            "environment": environment(),
        }
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
