"""From names, numbers and arrays to a model; nothing that arrives is run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_fer.hub.checks import check_config, check_weights
from keras_fer.hub.download import Release
from keras_fer.hub.release import CONFIG, MANIFEST

if TYPE_CHECKING:
    from keras_fer.models import ExpressionClassifier


def build(
    architecture: str,
    arguments: dict[str, Any],
    labels: Sequence[str],
    weights: str | os.PathLike[str] | None = None,
    temperature: float = 1.0,
) -> ExpressionClassifier:
    """A model, not compiled.

    Args:
        architecture: Name of a function in `keras_fer.models`.
        arguments: What it is called with, besides `labels` and `backbone_weights`.
        labels: Names of the outputs.
        weights: A `.weights.h5` file, or `None` for random weights.
        temperature: What the logits are divided by.

    Raises:
        ValueError: The weights do not fit.
    """
    from keras_fer import models

    create = getattr(models, architecture)
    model = create(labels=labels, **{**arguments, "backbone_weights": None})
    if weights is not None:
        try:
            model.load_weights(weights)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(
                f"The weights in {str(weights)!r} do not fit {architecture} with "
                f"{len(labels)} classes and {arguments}. Keras says: "
                f"{str(error).splitlines()[0]}"
            ) from error
    model.get_layer("probabilities").temperature = temperature
    return model


def build_release(release: Release) -> ExpressionClassifier:
    """The model of a release, not compiled.

    Raises:
        ValueError: Its files name classes or hold arrays that are not allowed, or do
            not fit each other.
    """
    import keras

    from keras_fer.models import ExpressionClassifier

    where = f"{release.repo_id} at {release.commit}"
    try:
        config = json.loads((release.folder / CONFIG).read_bytes())
        check_config(config)
        check_weights(release.weights)
        model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        if not isinstance(model, ExpressionClassifier):
            raise ValueError(f"a {type(model).__name__}")
        model.load_weights(release.weights)
        found = model.labels, model.get_layer("probabilities").temperature
    except Exception as error:  # Keras raises whatever a malformed file leads it to
        raise ValueError(
            f"The files of {where} make no model. Received: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__} "
            "Expected an `ExpressionClassifier` as `keras_fer.zoo.push` writes it."
        ) from error
    said = tuple(release.manifest["labels"]), release.manifest["temperature"]
    if found != said:
        raise ValueError(
            f"{where} contradicts itself. Received: labels and temperature {found} in "
            f"{CONFIG}. Expected {said}, as its {MANIFEST} says."
        )
    return model
