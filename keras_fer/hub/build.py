"""From a name, arguments and arrays to a model; nothing that arrives is run."""

from __future__ import annotations

import os
import typing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from keras_fer._compat import saved_shapes
from keras_fer.hub.checks import check_weights, shown
from keras_fer.hub.download import Release
from keras_fer.hub.release import ELSEWHERE

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
        arguments: What it is called with, besides the classes, weights and name.
        labels: Names of the outputs.
        weights: A `.weights.h5` file, or `None` for random weights.
        temperature: What the logits are divided by.

    Raises:
        ValueError: There is no such function, it does not take the arguments, or the
            weights do not fit or have NaN or infinity.
    """
    create = _function(architecture)
    _check_arguments(architecture, create, arguments)
    model = create(labels=labels, **arguments)
    if weights is not None:
        try:
            check_weights(weights, saved_shapes(model))
            model.load_weights(weights)
        except FileNotFoundError:
            raise
        except Exception as error:  # Keras raises whatever damage leads it to
            raise ValueError(
                f"The weights do not fit {architecture} with {len(labels)} classes and "
                f"{shown(arguments)}. {shown(error, 800)}"
            ) from error
    model.get_layer("probabilities").temperature = temperature
    return model


def build_release(release: Release) -> ExpressionClassifier:
    """The model of a release, not compiled.

    Raises:
        ValueError: `keras_fer.json` names no function or arguments of this version, or
            the arrays are not those of the model that they build.
    """
    said = release.manifest
    try:
        return build(
            said["architecture"],
            said["arguments"],
            said["labels"],
            release.weights,
            said["temperature"],
        )
    except ValueError as error:
        raise ValueError(
            f"The files of {release.repo_id} at {release.commit} make no model. "
            f"{shown(error, 1000)} Upgrade keras-fer, or ask its owner to push again."
        ) from error


def check_rebuilt(
    model: ExpressionClassifier,
    manifest: dict[str, Any],
    weights: str | os.PathLike[str],
) -> None:
    """Refuses a model that differs from the one that its release makes.

    Args:
        model: An `ExpressionClassifier`.
        manifest: Of its release.
        weights: Weights file of its release.

    Raises:
        ValueError: The arrays do not fit, or the predictions are others.
    """
    import numpy as np
    from keras import ops

    from keras_fer._compat import nested_layers

    images = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 1))
    images = images.repeat(16, axis=1).repeat(16, axis=2).astype("float32")
    try:
        rebuilt = build(
            manifest["architecture"],
            manifest["arguments"],
            manifest["labels"],
            weights,
            manifest["temperature"],
        )
        found, expected = (
            ops.convert_to_numpy(each(images, training=False))
            for each in (rebuilt, model)
        )
        half = any("16" in layer.compute_dtype for layer in nested_layers(model))
        np.testing.assert_allclose(found, expected, atol=0.05 if half else 1e-5)
    except (AssertionError, ValueError) as error:
        raise ValueError(
            f"The model {shown(model.name)} is not what {manifest['architecture']} "
            f"builds with {shown(manifest['arguments'])}: it was changed afterwards. "
            f"{ELSEWHERE} In detail: {shown(error, 500)}"
        ) from error


def _function(architecture: str) -> Callable[..., ExpressionClassifier]:
    from keras_fer import models

    functions: dict[str, Callable[..., ExpressionClassifier]] = {
        "AttentionNetwork": models.AttentionNetwork,
        "IRAM": models.IRAM,
        "LLAM": models.LLAM,
        "PAttLite": models.PAttLite,
        "ScanCCI": models.ScanCCI,
    }
    if architecture not in functions:
        raise ValueError(
            f"architecture must be one of {', '.join(functions)}, got "
            f"{shown(architecture)}."
        )
    return functions[architecture]


def _check_arguments(
    architecture: str, create: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    """Checks names and types; ranges and choices are the function's own affair."""
    types = typing.get_type_hints(create)
    for name in ("num_classes", "labels", "backbone_weights", "name", "return"):
        types.pop(name, None)
    for name, value in arguments.items():
        if name not in types:
            raise ValueError(
                f"{architecture} is built from {', '.join(types)}, got {shown(name)}."
            )
        allowed = typing.get_args(types[name]) or (types[name],)
        if type(value) not in allowed and not (float in allowed and type(value) is int):
            raise ValueError(
                f"{name} of {architecture} must be of type {allowed[0].__name__}, got "
                f"{shown(repr(value))}."
            )
