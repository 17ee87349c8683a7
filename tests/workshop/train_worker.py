"""A process of the workshop's tests: `zoo.train` with the recipes below.

    python tests/workshop/train_worker.py RECIPE --data DIR --out OUT [...]
        [--kill STEP] [--kill-writing N] [--devices N] [--losses FILE]

The options of the first line are those of `zoo.train`. Of ours, --kill sends SIGKILL
to itself after a step of this process, --kill-writing in the middle of its N-th
checkpoint, --devices divides the CPU into logical ones, and --losses keeps the loss of
every step. Networks start
untrained unless --backbone-weights names a file: nothing is downloaded.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import signal
import sys

import keras
import numpy as np
from keras import layers

from keras_fer import training
from keras_fer.training import callbacks, checkpoint
from zoo import recipes, train, trainer
from zoo.recipe import Recipe, Stage, constant
from zoo.recipes.patt_lite_ferplus import plain, varied


def mix():
    return [layers.MixUp(), layers.CutMix()]


def move():
    return training.JointAugmentation(
        [layers.RandomFlip("horizontal"), layers.RandomZoom(0.1)],
        image_layers=[layers.RandomBrightness(0.1)],
    )


def sgd(rate, **options):
    return keras.optimizers.SGD(rate, **options)


def explode(rate, steps, epochs):
    """One good epoch, after which the weights overflow."""
    values = [rate, 1e30]
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [steps // epochs - 1], values
    )


# Dropout, augmentation and averages: all that a resumed run has to bring back.
PLAIN = Recipe(
    architecture="PAttLite",
    arguments={"grayscale": True},
    dataset="fer2013",
    batch=16,
    stages=(Stage(3, 1e-3, 48, augmentation=plain),),
    ema=0.9,
)
# No chance and no BatchNorm that learns: the same on any number of devices.
STILL = dataclasses.replace(
    PLAIN,
    architecture="AttentionNetwork",
    arguments={"backbone": "mobilenet_v1"},
    stages=(Stage(2, 0.5, 48, schedule=constant),),
    optimizer=sgd,
)
CACHED = Stage(2, 1e-3, 48, backbone="cached")
RECIPES = {
    # Less to trace: for the tests that are not slow.
    "frozen": dataclasses.replace(
        PLAIN, stages=(Stage(3, 1e-3, 48, augmentation=plain, backbone="frozen"),)
    ),
    "plain": PLAIN,
    "mix": dataclasses.replace(
        PLAIN,
        stages=(Stage(3, 1e-3, 48, augmentation=varied, mixing=mix),),
        balanced_sampling=True,
        label_smoothing=0.1,
    ),
    "pal": dataclasses.replace(
        PLAIN,
        stages=(Stage(3, 1e-3, 48, augmentation=move),),
        attribution={"weight": 1.0},
    ),
    "teacher": dataclasses.replace(PLAIN, teacher="patt_lite.fer2013"),
    "scan": dataclasses.replace(
        PLAIN,
        architecture="ScanCCI",
        arguments={"backbone": "mobilenet_v1", "shared": True},
        stages=(CACHED, Stage(2, 1e-3, 48, augmentation=varied)),
    ),
    "weighted": dataclasses.replace(
        PLAIN, class_weights=True, ema=None, stages=(Stage(1, 1e-3, 48),)
    ),
    "still": STILL,
    "still_pal": dataclasses.replace(
        STILL,
        stages=(Stage(2, 1e-3, 48, schedule=constant),),
        attribution={"weight": 1.0},
    ),
    # From the same weights on TensorFlow and JAX, which draw different ones.
    "one_epoch": dataclasses.replace(
        PLAIN,
        start="patt_lite.fer2013",
        arguments={"grayscale": True, "patch_dropout": 0.0, "dropout": 0.0},
        stages=(Stage(1, 3e-4, 48, schedule=constant),),
    ),
    "one_varied_epoch": dataclasses.replace(
        PLAIN,
        start="patt_lite.fer2013",
        stages=(Stage(1, 3e-4, 48, augmentation=varied, schedule=constant),),
    ),
    "explode": dataclasses.replace(
        PLAIN, stages=(Stage(2, 1e-3, 48, schedule=explode, backbone="frozen"),)
    ),
}
RECIPES = {
    name: dataclasses.replace(recipe, name=name) for name, recipe in RECIPES.items()
}


def draw(folder, number=60, split="train"):
    """Writes drawn faces as zoo/data.py wants them, with votes and landmarks."""
    rng = np.random.default_rng(4)
    label = (np.arange(number) % 7).astype("uint8")
    coarse = rng.integers(0, 256, (number, 6, 6))
    # A stripe for every class, so that there is something to learn.
    coarse[np.arange(number), label % 6] = 255 * (label < 6)[:, None]
    images = coarse.repeat(8, axis=1).repeat(8, axis=2).astype("uint8")
    votes = 10 * np.eye(10, dtype="int16")[np.arange(number) % 8]
    folder = pathlib.Path(folder)
    np.savez(folder / f"{split}.npz", images=images, label=label, ferplus=votes)
    landmarks = rng.uniform(0.2, 0.8, (number, 68, 2))
    valid = rng.random(number) < 0.9
    np.savez(folder / f"{split}_landmarks.npz", landmarks=landmarks, valid=valid)
    return folder


class KeptState(callbacks.ResumeState):
    """Keeps the last checkpoint, which a run removes when it is done."""

    def remove(self):
        shutil.copy(self.file, self.file.with_name(f"last.{self.file.name}"))
        super().remove()


class KillingState(KeptState):
    """Kills the process after some steps."""

    steps_left = None

    def on_train_batch_end(self, batch, logs=None):
        KillingState.steps_left -= 1
        if not KillingState.steps_left:
            os.kill(os.getpid(), signal.SIGKILL)


class LossState(KeptState):
    """Writes the loss of every step."""

    path = None
    losses = []  # noqa: RUF012

    def on_train_batch_end(self, batch, logs=None):
        # Keras tells the mean since the epoch's first step.
        total = float(logs["loss"]) * (batch + 1)
        self.losses.append(total - sum(self.losses[len(self.losses) - batch :]))
        np.save(self.path, self.losses)


def kill_in_checkpoint(number):
    """Sends SIGKILL when half of the N-th checkpoint is written."""
    savez = np.savez
    left = [number]

    def half(path, **arrays):
        left[0] -= 1
        savez(path, **arrays)
        if not left[0]:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.np.savez = half


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kill", type=int)
    parser.add_argument("--kill-writing", type=int)
    parser.add_argument("--devices", type=int)
    parser.add_argument("--losses")
    options, rest = parser.parse_known_args()
    if options.devices:
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * options.devices,
        )
    trainer.ResumeState = KeptState
    if options.kill:
        KillingState.steps_left = options.kill
        trainer.ResumeState = KillingState
    if options.losses:
        LossState.path = options.losses
        trainer.ResumeState = LossState
    if options.kill_writing:
        kill_in_checkpoint(options.kill_writing)
    run = train.train

    def run_untrained(recipe, source, out, backbone_weights, *others):
        given = None if backbone_weights == "imagenet" else backbone_weights
        return run(recipe, source, out, given, *others)

    train.train = run_untrained
    recipes.load = RECIPES.__getitem__
    sys.argv = ["zoo.train", *rest]
    return train.main()


if __name__ == "__main__":
    sys.exit(main())
