"""Features of a frozen backbone, computed once, and the network that learns on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_fer._compat import producer
from keras_fer.models.classifier import ExpressionClassifier

_BATCH = 256


def behind_backbone(model: ExpressionClassifier) -> ExpressionClassifier:
    """What follows the backbone of a model, as a network that shares its layers.

    It takes the backbone's outputs: one tensor, or a list where the model uses several.
    """
    features = _backbone_outputs(model)
    # Of the same class, for the losses of models that vote.
    return type(model)(features[0] if len(features) == 1 else features, model.output)


def cache_features(
    model: ExpressionClassifier, images: np.ndarray
) -> Callable[[np.ndarray], Any]:
    """Computes what the backbone of a model returns for images.

    Args:
        model: A model, whose backbone is frozen.
        images: `(N, H, W, C)`, 0–255. Their features stay in memory as float16; see
            `feature_bytes`.

    Returns:
        A function from indices of images to what `behind_backbone(model)` takes.
    """
    extract = keras.Model(model.inputs, _backbone_outputs(model))
    values = [
        np.empty((len(images), *each.shape[1:]), "float16")
        for each in keras.tree.flatten(extract.output)
    ]
    for start in range(0, len(images), _BATCH):
        rows = slice(start, start + _BATCH)
        outputs = keras.tree.flatten(extract.predict_on_batch(images[rows]))
        for value, output in zip(values, outputs, strict=True):
            value[rows] = output
    single = len(values) == 1

    def take(rows: np.ndarray) -> Any:
        parts = tuple(value[rows] for value in values)
        return parts[0] if single else parts

    return take


def feature_bytes(model: ExpressionClassifier) -> int:
    """Bytes that `cache_features` keeps per image."""
    return sum(2 * int(np.prod(each.shape[1:])) for each in _backbone_outputs(model))


def _backbone_outputs(model: keras.Model) -> list[keras.KerasTensor]:
    """Outputs of the backbone that the rest of a model takes."""
    backbone = model.get_layer("backbone")
    tensors = {
        id(tensor): tensor
        for layer in model.layers
        for tensor in keras.tree.flatten(layer.input)
        if producer(tensor) is backbone
    }
    return list(tensors.values())
