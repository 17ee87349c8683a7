"""Trains one stage of a recipe."""

import dataclasses
import importlib.util
import os
import pathlib
import sys

import keras
import numpy as np

import keras_fer
from keras_fer import models, training
from keras_fer.models.backbones import freeze_batch_norm
from keras_fer.training.batches import (
    Batches,
    Examples,
    balanced_shares,
    class_weights,
    mixed_shares,
)
from keras_fer.training.callbacks import (
    BestCheckpoint,
    FiniteLoss,
    Patience,
    ResumeState,
)
from keras_fer.training.features import behind_backbone, cache_features
from keras_fer.training.heatmaps import INNER_LANDMARKS
from zoo import data
from zoo.devices import Devices
from zoo.recipe import SELECTIONS, Recipe


@dataclasses.dataclass(frozen=True)
class Run:
    """What the stages of a run share.

    Attributes:
        recipe: What to train.
        faces: What to train on.
        validation: For checkpoint selection.
        out: Folder of the run.
        devices: Where to train.
    """

    recipe: Recipe
    faces: data.Faces
    validation: data.Faces
    out: pathlib.Path
    devices: Devices = dataclasses.field(default_factory=Devices)

    def weights_of(self, index):
        """File of the best weights of a stage, once it is done."""
        return self.out / f"stage{index}.weights.h5"

    def checkpoint_of(self, index):
        """File of the checkpoint of a stage, until it is done."""
        return self.out / f"stage{index}.npz"

    def log_of(self, index):
        """File of the log of a stage."""
        return self.out / f"stage{index}.csv"

    def seed_of(self, index):
        """Seed of a stage, so that it does not matter what ran before it."""
        return [self.recipe.seed, index]


def build(recipe, labels, input_size, backbone_weights=None):
    """The model of a recipe, untrained.

    Args:
        recipe: A `Recipe`.
        labels: Names of the classes.
        input_size: Side in pixels to which it resizes its images.
        backbone_weights: `"imagenet"`, a file, or `None` for random ones.
    """
    create = getattr(models, recipe.architecture)
    return create(
        labels=labels,
        input_size=input_size,
        backbone_weights=backbone_weights,
        **recipe.arguments,
    )


def train_stage(run, index, model):
    """Trains a stage; the model ends with the averaged weights of its best epoch.

    Args:
        run: The `Run`; its folder holds the checkpoint if the stage is resumed.
        index: Index of the stage in the recipe.
        model: The model to train, from `build` at the stage's input size.
    """
    recipe, stage, devices = run.recipe, run.recipe.stages[index], run.devices
    file, images = run.weights_of(index), len(run.faces)
    best_file = file.with_name(f"best.{file.name}")
    steps = Batches.per_epoch(images, recipe.batch)
    with devices.scope():
        averaged = build(recipe, run.faces.labels, stage.input_size)
        for each in (model, averaged):
            backbone = each.get_layer("backbone")
            if stage.backbone != "learned":
                backbone.trainable = False
            elif stage.batch_norm == "frozen":
                freeze_batch_norm(backbone)
        network, examples = _network(model, recipe, stage, run.faces)
        _compile(network, recipe, stage, steps)
    score = SELECTIONS[recipe.selection]
    state = ResumeState(
        run.checkpoint_of(index), stage.epochs, images, score, devices.chief
    )
    state.restore(network)
    done = len(state.history)
    scores = [score(row) for row in state.history]
    best = BestCheckpoint(
        model,
        devices.prepare(averaged),
        run.validation.images[:],
        run.validation.targets,
        best_file,
        score,
        chief=devices.chief,
        **({"best": max(scores)} if scores else {}),
    )
    callbacks = [FiniteLoss(run.out), best]
    over = done >= stage.epochs
    if stage.patience is not None:
        patience = Patience(stage.patience, state.history)
        patience.set_model(network)
        patience.on_train_begin()
        over = over or network.stop_training
        callbacks.append(patience)
    callbacks.append(state)
    if devices.chief and _has_tensorboard():
        logs = run.out / "tensorboard" / f"stage{index}"
        callbacks.append(keras.callbacks.TensorBoard(logs, write_graph=False))
    if not over:
        devices.prepare(network).fit(
            Batches(
                examples,
                recipe.batch,
                run.seed_of(index),
                steps * stage.epochs,
                first=steps * done,
            ),
            steps_per_epoch=steps,
            epochs=stage.epochs,
            initial_epoch=done,
            shuffle=False,
            callbacks=callbacks,
            verbose=1 if devices.chief and sys.stdout.isatty() else 0,
        )
    model.set_weights(best.weights())
    if devices.chief:
        os.replace(best_file, file)
        state.remove()


def heatmaps(landmarks, size):
    """Heatmaps of the inner landmarks, as PAL is trained with.

    Args:
        landmarks: float `(N, points, 2)`, fractions of width and height; of 68 points,
            those of the jaw are left out.
        size: Side of the heatmaps, or `(height, width)`.

    Returns:
        float32 `(N, height, width)`, zero for a face without landmarks.
    """
    if landmarks.shape[1] == 68:
        landmarks = landmarks[:, INNER_LANDMARKS]
    return np.asarray(training.landmark_heatmap(landmarks, size))


def _compile(network, recipe, stage, steps):
    rate = stage.schedule(stage.rate, steps * stage.epochs, stage.epochs)
    average = {"use_ema": True, "ema_momentum": recipe.ema} if recipe.ema else {}
    network.compile(
        recipe.optimizer(rate, **average),
        keras.losses.CategoricalCrossentropy(
            label_smoothing=recipe.label_smoothing,
            from_logits=recipe.teacher is not None,
        ),
        metrics=["accuracy"],
    )
    network.optimizer.build(network.trainable_variables)


def _network(model, recipe, stage, faces):
    """The network to fit, which contains the model, and its `Examples`."""

    def take(rows):
        return faces.images[rows]

    examples = Examples(
        take,
        faces.targets,
        weights=class_weights(faces.targets) if recipe.class_weights else None,
        shares=_shares(recipe, faces),
        mixing=stage.mixing(),
        workers=1 if isinstance(faces.images, np.ndarray) else 8,
    )
    if stage.backbone == "cached":
        take_features = cache_features(model, faces.images[:])
        examples = dataclasses.replace(examples, take=take_features, mixing=())
        return behind_backbone(model), examples
    augmentation = stage.augmentation()
    if recipe.attribution is not None:
        network = training.PrivilegedAttribution(
            model, augmentation=augmentation or None, **recipe.attribution
        )

        def take_with_heatmaps(rows):
            images = take(rows)
            maps = heatmaps(faces.landmarks[rows], images.shape[1:3])
            return {"image": images, "heatmap": maps}

        return network, dataclasses.replace(examples, take=take_with_heatmaps)
    if recipe.teacher:
        teacher = keras_fer.zoo.load(recipe.teacher, labels=model.labels)
        network = keras.distillation.Distiller(
            teacher=_logits(teacher),
            student=_logits(model),
            distillation_losses=keras.distillation.LogitsDistillation(
                temperature=recipe.temperature
            ),
        )
        mixing = [*augmentation, *examples.mixing]
        return network, dataclasses.replace(examples, mixing=mixing)
    if not augmentation:
        return model, examples
    images = keras.Input(faces.images.shape[1:])
    augmented = keras.Sequential(augmentation, name="augmentation")(images)
    # Of the same class, for the losses of models that vote.
    return type(model)(images, model(augmented)), examples


def _shares(recipe, faces):
    """The probability of drawing each image; `None` to draw each once per epoch."""
    if recipe.mixture is not None:
        weights = list(recipe.mixture.values())
        return mixed_shares(
            faces.parts, faces.targets, weights, recipe.balanced_sampling
        )
    return balanced_shares(faces.targets) if recipe.balanced_sampling else None


def _logits(model):
    return keras.Model(model.inputs, model.get_layer("logits").output)


def _has_tensorboard():
    return all(map(importlib.util.find_spec, ("tensorboard", "tensorflow")))
