"""Overhead of `zoo.train` over plain Keras, and of PAL over cross-entropy.

    python -m benchmarks.training [--out FILE]

Images are random, 48x48, grayscale; speed does not depend on their content. All
variants run in turn in every round, and a ratio compares runs of the same round;
reported are the median, the lowest and the highest over the rounds. The first epoch of
each run compiles and warms up and is not counted.

Training: a stage of `zoo.train` (batches, the network of averaged weights, validation,
checkpoints, logs) against a bare `model.fit` of the same network from arrays, with the
same optimizer, augmentation, batch size and validation images. A ratio above 1 means
faster than the bare `fit`.

PAL: seconds per epoch of `PrivilegedAttribution` over those of cross-entropy alone,
both by a bare `fit` on the same images without augmentation.

Input: images per second of the batches alone, as they are and with MixUp, over those
that the fastest network trains on.
"""

import argparse
import contextlib
import csv
import functools
import io
import json
import os
import pathlib
import tempfile
import time

import keras
import numpy as np

from benchmarks.dataset_reading import spread
from keras_fer import LABELS, training
from keras_fer.models.backbones import freeze_batch_norm
from zoo.batches import Batches, Examples
from zoo.data import Faces
from zoo.environment import environment
from zoo.recipe import Recipe, Stage
from zoo.recipes.patt_lite_ferplus import varied
from zoo.trainer import Run, build, train_stage

ATTENTION = {"backbone": "mobilenet_v1", "grayscale": True}
# Architecture, arguments, and the share of the images for slow networks.
MODELS = {
    "PAtt-Lite": ("PAttLite", {"grayscale": True}, 1),
    "LLAM, light": ("AttentionNetwork", {**ATTENTION, "attention": "llam"}, 1),
    "IRAM, light": ("AttentionNetwork", {**ATTENTION, "attention": "iram"}, 1),
    "SCAN-CCI, light": ("ScanCCI", {**ATTENTION, "shared": True}, 0.25),
}


def draw(count, seed):
    """Random images and classes."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 48, 48, 1), "uint8")
    targets = np.eye(7, dtype="float32")[np.arange(count) % 7]
    return Faces(images, targets, np.ones(count, bool), np.arange(count), LABELS[:7])


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch."""

    def on_train_begin(self, logs=None):
        """Starts the clock."""
        self.seconds, self._last = [], time.time()

    def on_epoch_end(self, epoch, logs=None):
        """Stops the time of an epoch."""
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
    """Seconds of each epoch of a plain `model.fit`."""
    (stage,) = recipe.stages
    keras.utils.set_random_seed(0)
    model = build(recipe, faces.labels, stage.input_size)
    freeze_batch_norm(model.get_layer("backbone"))
    images = keras.Input(faces.images.shape[1:])
    augmented = keras.Sequential(stage.augmentation())(images)
    network = type(model)(images, model(augmented))
    return fit(network, recipe, faces.images, faces, validation)


def fit(network, recipe, x, faces, validation=None):
    """Compiles and fits; returns the seconds of each epoch."""
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
    """Seconds of each epoch with PAL, or of cross-entropy alone for `None`."""
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
    """Images per second of batches alone, of each kind and round."""
    steps = Batches.per_epoch(len(faces), batch)
    kinds = {"as they are": [], "with MixUp": [keras.layers.MixUp()]}
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
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--images", type=int, default=5120, help="images per epoch")
    parser.add_argument("--size", type=int, default=64, help="the networks' input size")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3, help="counted epochs per run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    options = parser.parse_args()
    measured, fastest = {}, 0.0
    for name in options.models:
        architecture, arguments, share = MODELS[name]
        faces, validation = (
            draw(round(share * options.images * part), seed)
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
            for variant, measure in variants.items():
                # The fastest epoch: other work on the machine only ever adds.
                seconds[variant].append(min(measure()[1:]))
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
            # Where other work is high, ratios spread more.
            "load_average": round(os.getloadavg()[0], 1),
            "environment": environment(),
        }
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
