"""The two stages of fine-tuning: the head on cached features, then the last layers.

After each epoch the moving average of the weights is evaluated on the held-out images,
and all that a resumed run needs is written. A stage that makes nothing better leaves
the weights as they were.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import pathlib
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_fer._compat import nested_layers
from keras_fer.finetuning.settings import TrainingSettings
from keras_fer.models.backbones import freeze_batch_norm
from keras_fer.models.classifier import ExpressionClassifier
from keras_fer.training import checkpoint
from keras_fer.training.batches import Batches, Examples, class_weights
from keras_fer.training.callbacks import (
    BestCheckpoint,
    FiniteLoss,
    Logs,
    Patience,
    ResumeState,
    validation_logs,
)
from keras_fer.training.features import (
    behind_backbone,
    cache_features,
    feature_bytes,
)

# Features of more bytes are computed again in each epoch.
_MOST_CACHED = 2 * 2**30


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What the stages share.

    Attributes:
        folder: Of the run.
        settings: How to train.
        images: uint8 `(N, S, S, 3)`.
        targets: float32 `(N, classes)`, one-hot.
        held: bool `(N,)`, true for images that are held out.
        report: Function that is given lines of progress.
    """

    folder: pathlib.Path
    settings: TrainingSettings
    images: np.ndarray
    targets: np.ndarray
    held: np.ndarray
    report: Callable[[str], None]


@dataclasses.dataclass(frozen=True, eq=False)
class _Stage:
    """What differs between the stages.

    Attributes:
        name: Of its files.
        epochs: At most.
        trained: The model whose weights are kept.
        network: What is fitted: `trained`, or a network around it.
        averaged: A second model like `trained`, for the averaged weights.
        take: Function from indices of images to inputs of either.
    """

    name: str
    epochs: int
    trained: keras.Model
    network: keras.Model
    averaged: keras.Model
    take: Callable[[np.ndarray], Any]


def train_head(run: Run, model: ExpressionClassifier) -> list[Logs]:
    """Trains what follows the backbone; the backbone is frozen.

    Args:
        run: The `Run`.
        model: Is changed in place.

    Returns:
        The logs of the epochs.
    """
    epochs = run.settings.head_epochs
    model.get_layer("backbone").trainable = False
    twin = copy_of(model)
    if feature_bytes(model) * len(run.images) > _MOST_CACHED:
        whole = run.images.__getitem__
        stage = _Stage("head", epochs, model, model, twin, whole)
        return _train(run, stage, run.settings.head_rate)
    network, behind = behind_backbone(model), behind_backbone(twin)
    # A plain model, since that of the package takes images only.
    averaged = keras.Model(behind.inputs, behind.output)
    take = _once(lambda: cache_features(model, run.images))
    stage = _Stage("head", epochs, network, network, averaged, take)
    return _train(run, stage, run.settings.head_rate)


def train_last_layers(run: Run, model: ExpressionClassifier) -> list[Logs]:
    """Trains the last layers of the backbone and what follows, on augmented images.

    See `train_head`.
    """
    settings = run.settings
    unfreeze(model.get_layer("backbone"), settings.unfreeze)
    network = model
    if settings.augment:
        images = keras.Input(run.images.shape[1:])
        # Of the same class, for the losses of models that vote.
        network = type(model)(images, model(_augmentation()(images)))
    stage = _Stage(
        "last_layers",
        settings.epochs,
        model,
        network,
        copy_of(model),
        run.images.__getitem__,
    )
    steps = Batches.per_epoch(int((~run.held).sum()), settings.batch_size)
    return _train(run, stage, _warm_cosine(settings.rate, steps * settings.epochs))


def _train(run: Run, stage: _Stage, rate: Any) -> list[Logs]:
    """Fits a stage, or loads it if it is done."""
    settings, trained, averaged = run.settings, stage.trained, stage.averaged
    final = run.folder / f"{stage.name}.weights.h5"
    best_file = final.with_name(f"best.{final.name}")
    train, held = np.flatnonzero(~run.held), np.flatnonzero(run.held)
    state = ResumeState(
        final.with_name(f"{stage.name}.npz"),
        stage.epochs,
        len(train),
        _score(settings),
        report=run.report,
    )
    if not final.exists():
        start = trained.get_weights()
        averaged.set_weights(start)
        held_out, targets = stage.take(held), run.targets[held]
        if isinstance(held_out, tuple):  # `predict` takes several inputs as a list.
            held_out = list(held_out)
        predicted = averaged.predict(held_out, batch_size=256, verbose=0)
        state.before = _score(settings)(validation_logs(predicted, targets))
        scores = [_score(settings)(row) for row in state.history]
        best = BestCheckpoint(
            trained,
            averaged,
            held_out,
            targets,
            best_file,
            _score(settings),
            max([state.before, *scores]),
        )
        examples = Examples(
            lambda rows: stage.take(train[rows]),
            run.targets[train],
            class_weights(run.targets[train]) if settings.class_weights else None,
        )
        _fit(run, stage, examples, rate, state, best)
        if best_file.exists():
            os.replace(best_file, final)
        else:
            averaged.set_weights(start)
            checkpoint.save_weights(final, averaged)
    checkpoint.load_weights(averaged, final)
    trained.set_weights(averaged.get_weights())
    return state.history


def _fit(
    run: Run,
    stage: _Stage,
    examples: Examples,
    rate: Any,
    state: ResumeState,
    best: BestCheckpoint,
) -> None:
    settings, network = run.settings, stage.network
    steps = Batches.per_epoch(len(examples.targets), settings.batch_size)
    network.compile(
        keras.optimizers.AdamW(
            rate,
            weight_decay=0.01,
            global_clipnorm=3.0,
            use_ema=True,
            # The average of about an epoch.
            ema_momentum=1 - 1 / steps,
        ),
        "categorical_crossentropy",
        metrics=["accuracy"],
    )
    network.optimizer.build(network.trainable_variables)
    state.restore(network)
    patience = Patience(settings.patience, state.history, _monitored(settings))
    patience.set_model(network)
    patience.on_train_begin()
    done = len(state.history)
    if done >= stage.epochs or network.stop_training:
        return
    network.fit(
        Batches(
            examples,
            settings.batch_size,
            [settings.seed, zlib.crc32(stage.name.encode())],
            steps * stage.epochs,
            first=steps * done,
        ),
        steps_per_epoch=steps,
        epochs=stage.epochs,
        initial_epoch=done,
        shuffle=False,
        callbacks=[FiniteLoss(run.folder), best, patience, state],
        verbose=0,
    )


def _monitored(settings: TrainingSettings) -> str:
    return "val_recall" if settings.class_weights else "val_loss"


def _score(settings: TrainingSettings) -> Callable[[Logs], float]:
    if settings.class_weights:
        # Of epochs with the same recall, the one with the lower loss.
        return lambda row: row["val_recall"] - 1e-3 * row["val_loss"]
    return lambda row: -row["val_loss"]


def _once(compute: Callable[[], Callable[[np.ndarray], Any]]) -> Any:
    """What a function returns, computed when it is first called."""
    cached = functools.cache(compute)

    return lambda rows: cached()(rows)


def copy_of(model: ExpressionClassifier) -> ExpressionClassifier:
    """A second model like a given one, with weights of its own and no optimizer."""
    twin = type(model).from_config(model.get_config())
    twin.set_weights(model.get_weights())
    return twin


def unfreeze(backbone: keras.Model, share: float = 1.0) -> None:
    """Makes the last layers of a backbone trainable, but for their BatchNorm.

    Args:
        backbone: A nested model.
        share: Of its layers with weights, 0 to 1; the others become frozen.
    """
    for layer in nested_layers(backbone):
        layer.trainable = True
    freeze_batch_norm(backbone)
    layers = [layer for layer in backbone.layers if layer.trainable_weights]
    for layer in layers[: len(layers) - math.ceil(share * len(layers))]:
        layer.trainable = False


def _augmentation() -> keras.Sequential:
    """Changes of position, size and light that preserve the label."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.04, fill_mode="reflect"),
            layers.RandomTranslation(0.08, 0.08, fill_mode="reflect"),
            layers.RandomZoom(0.12, fill_mode="reflect"),
            layers.RandomBrightness(0.15),
            layers.RandomContrast(0.25),
        ],
        name="augmentation",
    )


def _warm_cosine(rate: float, steps: int) -> Any:
    """Linear warm-up over the first tenth, then cosine decay to a hundredth."""
    warmup = steps // 10
    return keras.optimizers.schedules.CosineDecay(
        rate / 20,
        max(1, steps - warmup),
        alpha=0.01,
        warmup_target=rate,
        warmup_steps=warmup,
    )
