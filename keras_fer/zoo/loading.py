"""`list`, `info` and `load`: what users call. Building is lazy, so this is light."""

from __future__ import annotations

import builtins
import difflib
import fnmatch
import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_fer.zoo.presets import DEFAULTS, PRESETS, ModelInfo

if TYPE_CHECKING:
    from keras_fer.models import ExpressionClassifier

_SUFFIX = ".weights.h5"


def list(pattern: str = "*", pretrained: bool | None = None) -> builtins.list[str]:
    """Names that `load` and `info` take.

    Args:
        pattern: Shell-style pattern, such as `"patt*"`.
        pretrained: `True` for names with trained weights only, `False` for names
            without, `None` for all.

    Returns:
        A sorted list of names; an architecture alone stands for its default weights.
    """
    names = (*DEFAULTS, *PRESETS)
    return sorted(
        name
        for name in names
        if fnmatch.fnmatchcase(name, pattern)
        and pretrained in (None, info(name).sha256 is not None)
    )


def info(name: str) -> ModelInfo:
    """What there is to know about a model before it is loaded.

    Args:
        name: `"architecture"` or `"architecture.tag"`, one of `list()`.

    Returns:
        A `ModelInfo`.

    Raises:
        ValueError: The name is unknown; the nearest names are suggested.
    """
    preset = PRESETS.get(DEFAULTS.get(name, name))
    if preset is None:
        known = (*DEFAULTS, *PRESETS)
        near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"Unknown model. Received: name={name!r}. Expected one of "
            f"{', '.join(sorted(known))}. {hint}".rstrip()
        )
    return preset


def load(
    name: str,
    weights: str | os.PathLike | None = "default",
    *,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
) -> ExpressionClassifier:
    """Loads a model by name, compiled and ready for `predict` and `fit`.

    Args:
        name: `"architecture"` or `"architecture.tag"`, one of `list()`.
        weights: `"default"` for the trained weights of that name; `None` for random
            weights; or a `.weights.h5` file, or a folder that holds exactly one,
            saved by `save_weights` from a model of this name.
        num_classes: Number of classes. Another than the weights have gives the
            trained model a new, untrained last layer.
        labels: Names of the classes. Other names than the weights have do the same.
            With a weights file of your own, names for as many classes as it holds
            name those.

    Returns:
        A `keras.Model` from `(B, H, W, 1 or 3)` pictures, 0–255, to probabilities
        `(B, num_classes)`. `model.labels` names them. It is compiled for integer
        labels in that order.

    Raises:
        ValueError: The name is unknown, the weights do not fit or are not the
            published ones, or the classes make no sense.
        FileNotFoundError: The weights are missing. They are never replaced by random
            ones.
    """
    preset = info(name)
    # Building imports Keras and its backend, which takes seconds.
    import keras

    from keras_fer import models
    from keras_fer.models.classifier import resolve_labels
    from keras_fer.models.trunks import freeze_batch_norm

    wanted = None
    if num_classes is not None or labels is not None:
        wanted = resolve_labels(num_classes, labels)
        if labels is None and num_classes == len(preset.labels):
            wanted = preset.labels

    build = getattr(models, preset.architecture)
    arguments = {**preset.arguments, "trunk_weights": None}
    if weights is None:
        model = build(labels=wanted or preset.labels, **arguments)
    else:
        if weights == "default":
            path, held = _default_weights(preset), preset.labels
        else:
            path = _own_weights(weights)
            held = _own_labels(path, wanted, preset)
        model = build(labels=held, **arguments)
        try:
            model.load_weights(path)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(
                f"The weights do not fit {preset.name}. Received: {str(path)!r}. "
                f"Expected a {_SUFFIX} file saved from that model. Keras says: "
                f"{str(error).splitlines()[0]}"
            ) from error
        if wanted and wanted != held:
            model = model.replace_head(wanted)
        freeze_batch_norm(model.get_layer("trunk"))
    model.compile(
        optimizer=keras.optimizers.AdamW(3e-4, weight_decay=0.01, global_clipnorm=3.0),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def bundled(preset: ModelInfo) -> pathlib.Path:
    """Where the package keeps the weights of a preset."""
    return pathlib.Path(__file__).with_name("weights") / f"{preset.name}{_SUFFIX}"


def _default_weights(preset):
    """The bundled file of a preset, once its hash is checked."""
    path = bundled(preset)
    if not path.is_file():
        raise FileNotFoundError(
            f"The weights of {preset.name} are missing. Expected {str(path)!r}, which "
            "is part of the package. Reinstall keras-fer, or pass weights=None for "
            "random weights."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != preset.sha256:
        raise ValueError(
            f"The weights of {preset.name} are not the published ones. Received: "
            f"sha256 {digest} in {str(path)!r}. Expected {preset.sha256}. Reinstall "
            "keras-fer; to use a file of your own, pass its path as `weights`."
        )
    return path


def _own_weights(weights):
    """The file behind a user's path."""
    if str(weights).startswith("hf://"):
        raise ValueError(
            f"This version does not load from the Hugging Face Hub. Received: weights="
            f"{weights!r}. Download the {_SUFFIX} file and pass its path."
        )
    path = pathlib.Path(weights)
    if path.is_dir():
        files = sorted(path.glob(f"*{_SUFFIX}"))
        if len(files) != 1:
            raise FileNotFoundError(
                f"Expected exactly one {_SUFFIX} file in the folder. Received: weights="
                f"{str(weights)!r}, which holds {len(files)}. Pass the file's path."
            )
        path = files[0]
    if not path.is_file():
        raise FileNotFoundError(
            f"No weights there. Received: weights={str(weights)!r}. Expected "
            f'"default", None, or an existing {_SUFFIX} file or folder.'
        )
    if not path.name.endswith(_SUFFIX):
        raise ValueError(
            f"Only {_SUFFIX} files are read. Received: weights={str(weights)!r}. "
            f"Save yours with model.save_weights('name{_SUFFIX}')."
        )
    return path


def _own_labels(path, wanted, preset):
    """Names for the classes in a user's file."""
    import h5py

    try:
        with h5py.File(path) as file:
            (number,) = next(
                layer["vars/1"].shape
                for layer in file["layers"].values()
                if layer["vars"].attrs.get("name") == "logits"
            )
    except (OSError, KeyError, StopIteration) as error:
        raise ValueError(
            f"Not a weights file of this package. Received: {str(path)!r}. Expected a "
            f"{_SUFFIX} file with a layer named 'logits'."
        ) from error
    for names in (wanted, preset.labels):
        if names and len(names) == number:
            return names
    if wanted is None:
        raise ValueError(
            f"Classes without names. Received: {str(path)!r} with {number} classes, "
            f"where {preset.name} has {len(preset.labels)}. Pass `labels`, in the "
            "order of training."
        )
    # They get a new head, so these names are never seen.
    return tuple(f"class_{index}" for index in range(number))
