"""What does `zoo.train` cost over plain Keras, and PAL over cross-entropy?

    python -m benchmarks.training [--out FILE]

Random 48x48 grayscale images: speed does not depend on their content. All variants run
one after the other in every round, and ratios are within a round. The first epoch of a
run compiles and warms up, and is not counted; of the others the fastest counts.

Training: a stage of `zoo.train` (batches, averaged weights, validation, checkpoints,
logs) over a bare `model.fit` of the same network with the same optimizer, augmentation,
batches and validation images, from arrays. Above 1, `zoo.train` is faster.

PAL: seconds per epoch of `PrivilegedAttribution` over those of cross-entropy, both with
a bare `fit` on the same images without augmentation. Above 1, PAL is slower.

Input: images per second of the batches without training, unchanged and with MixUp, over
the training speed of the fastest network.
"""

import argparse
import contextlib
import csv
import functools
import io
import json
import pathlib
import tempfile
import time

import keras
import numpy as np

from benchmarks import record
from benchmarks.record import spread
from keras_fer import LABELS, training
from keras_fer.models.backbones import freeze_batch_norm
from keras_fer.training.batches import Batches, Examples
from zoo.data import Faces
from zoo.recipe import Recipe, Stage
from zoo.recipes.patt_lite_ferplus import varied
from zoo.trainer import Run, build, train_stage

ATTENTION = {"backbone": "mobilenet_v1", "grayscale": True}
# The last number is the fraction of the images: a slow network gets fewer.
MODELS = {
    "PAtt-Lite": ("PAttLite", {"grayscale": True}, 1),
    "LLAM (MobileNetV1)": ("AttentionNetwork", {**ATTENTION, "attention": "llam"}, 1),
    "IRAM (MobileNetV1)": ("AttentionNetwork", {**ATTENTION, "attention": "iram"}, 1),
    "SCAN-CCI (MobileNetV1)": ("ScanCCI", {**ATTENTION, "shared": True}, 0.25),
}


def draw(count, seed):
    """Random images and targets."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 48, 48, 1), "uint8")
    targets = np.eye(7, dtype="float32")[np.arange(count) % 7]
    return Faces(images, targets, np.ones(count, bool), np.arange(count), LABELS[:7])


class Clock(keras.callbacks.Callback):
    """Records the seconds of every epoch."""

    def on_train_begin(self, logs=None):
        """Starts the clock."""
        self.seconds, self._last = [], time.time()

    def on_epoch_end(self, epoch, logs=None):
        """Records the epoch."""
        now = time.time()
        self.seconds.append(now - self._last)
        self._last = now


def ours(recipe, faces, validation):
    """Seconds of each epoch of a stage of `zoo.train`."""
    (stage,) = recipe.stages
    keras.utils.set_random_seed(0)
    model = build(recipe, faces.labels, stage.input_size)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(recipe, faces, validation, pathlib.Path(folder))
        with contextlib.redirect_stdout(io.StringIO()):
            train_stage(run, 0, model)
        with run.log_of(0).open() as file:
            return [float(row["seconds"]) for row in csv.DictReader(file)]


def bare(recipe, faces, validation):
    """Seconds of every epoch of a plain `model.fit`."""
    (stage,) = recipe.stages
    keras.utils.set_random_seed(0)
    model = build(recipe, faces.labels, stage.input_size)
    freeze_batch_norm(model.get_layer("backbone"))
    images = keras.Input(faces.images.shape[1:])
    augmented = keras.Sequential(stage.augmentation())(images)
    network = type(model)(images, model(augmented))
    return fit(network, recipe, faces.images, faces, validation)


def fit(network, recipe, x, faces, validation=None):
    """Compiles and fits; returns the seconds of every epoch."""
    (stage,) = recipe.stages
    steps = stage.epochs * -(-len(faces) // recipe.batch)
    network.compile(
        recipe.optimizer(
            stage.schedule(stage.rate, steps, stage.epochs),
            use_ema=True,
            ema_momentum=recipe.ema,
        ),
        "categorical_crossentropy",
        metrics=["accuracy"],
    )
    clock = Clock()
    network.fit(
        x,
        faces.targets,
        batch_size=recipe.batch,
        epochs=stage.epochs,
        validation_data=validation and (validation.images, validation.targets),
        validation_batch_size=256,
        callbacks=[clock],
        verbose=0,
    )
    return clock.seconds


def pal(recipe, faces, weight):
    """Seconds of every epoch with PAL, or for `weight=None` with cross-entropy."""
    (stage,) = recipe.stages
    keras.utils.set_random_seed(0)
    model = build(recipe, faces.labels, stage.input_size)
    freeze_batch_norm(model.get_layer("backbone"))
    if weight is None:
        return fit(model, recipe, faces.images, faces)
    landmarks = np.random.default_rng(0).uniform(0.2, 0.8, (len(faces), 51, 2))
    network = training.PrivilegedAttribution(model, weight=weight)
    heatmaps = np.asarray(training.landmark_heatmap(landmarks, network.heatmap_size))
    return fit(network, recipe, {"image": faces.images, "heatmap": heatmaps}, faces)


def reading(faces, batch, rounds):
    """Images per second of the batches without training, per kind and round."""
    steps = Batches.per_epoch(len(faces), batch)
    kinds = {"unchanged": [], "with MixUp": [keras.layers.MixUp()]}
    speeds = {kind: [] for kind in kinds}
    for turn in range(rounds + 1):
        for kind, mixing in kinds.items():
            examples = Examples(
                lambda rows: faces.images[rows], faces.targets, mixing=mixing
            )
            batches = Batches(examples, batch, [turn], steps)
            start = time.perf_counter()
            count = sum(len(batches[index][0]) for index in range(steps))
            speeds[kind].append(count / (time.perf_counter() - start))
    return {kind: values[1:] for kind, values in speeds.items()}


def main():
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--images", type=int, default=5120, help="per epoch")
    parser.add_argument("--size", type=int, default=64, help="of the networks' input")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--epochs", type=int, default=3, help="per run, without the first"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    options = parser.parse_args()
    measured, fastest = {}, 0.0
    for name in options.models:
        architecture, arguments, fraction = MODELS[name]
        faces, validation = (
            draw(round(fraction * options.images * part), seed)
            for seed, part in enumerate((1, 0.1))
        )
        stage = Stage(options.epochs + 1, 1e-4, options.size, augmentation=varied)
        recipe = Recipe(architecture, arguments, "drawn", (stage,), batch=options.batch)
        variants = {
            "bare": functools.partial(bare, recipe, faces, validation),
            "zoo.train": functools.partial(ours, recipe, faces, validation),
            "cross-entropy": functools.partial(pal, recipe, faces, None),
            "PAL": functools.partial(pal, recipe, faces, 1.0),
        }
        seconds = {variant: [] for variant in variants}
        for _ in range(options.rounds):
            for variant, run in variants.items():
                # The fastest epoch: other work on the machine only adds time.
                seconds[variant].append(min(run()[1:]))
                keras.backend.clear_session()
        speeds = {
            variant: [len(faces) / each for each in values]
            for variant, values in seconds.items()
        }
        fastest = max(fastest, *speeds["zoo.train"])
        measured[name] = {
            "images": len(faces),
            "images_per_second": {
                variant: spread(values, 0) for variant, values in speeds.items()
            },
            "zoo_train_to_bare_fit": spread(
                [
                    a / b
                    for a, b in zip(seconds["bare"], seconds["zoo.train"], strict=True)
                ],
                3,
            ),
            "pal_to_cross_entropy": spread(
                [
                    a / b
                    for a, b in zip(
                        seconds["PAL"], seconds["cross-entropy"], strict=True
                    )
                ],
                2,
            ),
        }
        print(name, json.dumps(measured[name]), flush=True)
    faces = draw(options.images, 0)
    alone = {
        kind: {
            "images_per_second": spread(values, 0),
            "ratio_to_training": spread([each / fastest for each in values], 1),
        }
        for kind, values in reading(faces, options.batch, options.rounds).items()
    }
    print("input alone", json.dumps(alone))
    if options.out:
        result = {
            "size": options.size,
            "batch": options.batch,
            "rounds": options.rounds,
            "models": measured,
            "input": alone,
        }
        record.write(options.out, "training", result)


if __name__ == "__main__":
    main()
