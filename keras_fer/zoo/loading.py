"""`list`, `info` and `load`: what users call. Building is lazy, so this is light."""

from __future__ import annotations

import builtins
import difflib
import fnmatch
import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, overload

from keras_fer import hub
from keras_fer.hub.build import build, build_release
from keras_fer.hub.checks import check_weights, shown
from keras_fer.hub.release import MANIFEST, MOST_LABELS, WEIGHTS
from keras_fer.zoo.onnx import load_onnx
from keras_fer.zoo.presets import (
    DEFAULTS,
    PRESETS,
    Balance,
    ModelInfo,
    describe_input,
)

if TYPE_CHECKING:
    from keras_fer.models import ExpressionClassifier
    from keras_fer.runtime import OnnxModel

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


def info(name: str | os.PathLike[str], *, token: str | None = None) -> ModelInfo:
    """What there is to know about a model before it is loaded.

    Args:
        name: `"architecture"` or `"architecture.tag"`, one of `list()`;
            `"hf://user/repo"` or `"hf://user/repo@revision"`, of which only the facts
            are downloaded; or a `.keras` file or a folder of `zoo.train`, see `load`.
        token: For private and gated repositories of the Hugging Face Hub; `None` for
            the one of `hf auth login`.

    Returns:
        A `ModelInfo`. Of a repository, `revision` is the commit, and the rest is what
        its owner says. Of a file, it is what the file says, and `name` is its path.

    Raises:
        ValueError: The name is unknown; the nearest names are suggested. Or the file
            is not a model of this package.
        FileNotFoundError: There is no such file.
        OSError: The repository cannot be had; see `load`.
    """
    if _is_address(name):
        repo_id, revision = hub.parse(name)
        release = hub.fetch(repo_id, revision, token, files=(MANIFEST,))
        return _info_of(release)
    if is_file(name):
        return _info_of_file(saved_file(name))
    preset = PRESETS.get(DEFAULTS.get(str(name), str(name)))
    if preset is None:
        known = (*DEFAULTS, *PRESETS)
        near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"name must be one of {', '.join(sorted(known))}, hf://user/repo, or a "
            f".keras file, got {name!r}. {hint}".rstrip()
        )
    return preset


@overload
def load(
    name: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = "default",
    *,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    revision: str | None = None,
    token: str | None = None,
    balanced: bool = False,
    runtime: Literal["keras"] = "keras",
) -> ExpressionClassifier: ...


@overload
def load(
    name: str, *, balanced: bool = False, runtime: Literal["onnx"]
) -> OnnxModel: ...


def load(
    name: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = "default",
    *,
    num_classes: int | None = None,
    labels: Sequence[str] | None = None,
    revision: str | None = None,
    token: str | None = None,
    balanced: bool = False,
    runtime: Literal["keras", "onnx"] = "keras",
) -> ExpressionClassifier | OnnxModel:
    """Loads a model by name, compiled and ready for `predict` and `fit`.

    Args:
        name: `"architecture"` or `"architecture.tag"`, one of `list()`; or a model
            that `push` wrote to the Hugging Face Hub, `"hf://user/repo"` or
            `"hf://user/repo@revision"`. It is built by a function of
            `keras_fer.models`; only arrays and facts are read. Or the path of a
            `.keras` file that `model.save` wrote, or of a folder of `zoo.train`.
        weights: `"default"` for the trained weights of that name; `None` for random
            weights; a `.weights.h5` file, or a folder that holds exactly one,
            saved by `save_weights` from a model of this name; or `"hf://…"` as above,
            for a model of this name.
        num_classes: Number of classes. Another than the weights have gives the
            trained model a new, untrained last layer.
        labels: Names of the classes. Other names than the weights have do the same.
            With a weights file of your own, names for as many classes as it holds
            name those.
        revision: Branch, tag or commit on the Hub; `None` for what the name says.
        token: For private and gated repositories; `None` for the one of
            `hf auth login`.
        balanced: Whether to make up for the classes' frequencies in training: rare
            expressions such as disgust and fear are then found more often, at the cost
            of accuracy where they are as rare as in training. Only for the trained
            weights and classes of a preset; `info(name).balance` has the scores.
        runtime: `"onnx"` for the preset on ONNX Runtime, for prediction only: it loads
            in a fraction of the time, and needs neither Keras nor TensorFlow. Its
            weights are stored in half precision.

    Returns:
        A `keras.Model` from `(B, H, W, 1 or 3)` images, 0–255, to probabilities
        `(B, num_classes)`. `model.labels` names them. It is compiled for integer
        labels in that order. With trained weights, the BatchNorm layers of the
        backbone are frozen: `fit` leaves their statistics as they are. To train them,
        too, set `layer.trainable = True` for each `layer` of
        `model.get_layer("backbone").layers`, and compile again.
        With `runtime="onnx"`, a `keras_fer.runtime.OnnxModel`.

    Raises:
        ValueError: The name is unknown, the weights do not fit, are not the published
            ones, or have NaN or infinity, or the classes make no sense.
        FileNotFoundError: The file or the weights are missing. They are never replaced
            by random ones.
        PermissionError: The repository asks for a token, or another one.
        OSError: The Hub is too slow or fails.
    """
    if runtime not in ("keras", "onnx"):
        raise ValueError(f"runtime must be 'keras' or 'onnx', got {runtime!r}.")
    if is_file(name):
        if (weights, num_classes, revision) != ("default", None, None) or balanced:
            raise ValueError(
                f"{str(name)!r} is a file: weights, num_classes, revision and balanced "
                "cannot be set. Use the model's load_weights, replace_head or "
                "scale_odds."
            )
        if runtime != "keras":
            raise ValueError(
                f"{str(name)!r} is a file for Keras. Write one for ONNX Runtime with "
                "keras_fer.export, and load it with keras_fer.runtime.OnnxModel."
            )
        return _load_file(saved_file(name), labels)
    if runtime == "onnx":
        if weights != "default" or (num_classes, labels, revision) != (None,) * 3:
            raise ValueError(
                "runtime='onnx' loads a preset as it is: weights, num_classes, labels "
                "and revision cannot be set. Load the model in Keras, then use "
                "keras_fer.export."
            )
        return load_onnx(info(name), _balance(info(name)).factors if balanced else None)
    if balanced and (
        weights != "default" or (num_classes, labels, revision) != (None,) * 3
    ):
        raise ValueError(
            "balanced=True is for a preset as it is: weights, num_classes, labels and "
            "revision cannot be set. Use the model's scale_odds instead."
        )
    balance = _balance(info(name)) if balanced else None
    release = _release(name, weights, revision, token)
    preset = None if _is_address(name) else info(name)
    known = tuple(release.manifest["labels"]) if release else info(name).labels
    # Building imports Keras and its backend, which takes seconds.
    from keras_fer.models.backbones import freeze_batch_norm
    from keras_fer.models.classifier import resolve_labels

    wanted = None
    if num_classes is not None or labels is not None:
        wanted = resolve_labels(num_classes, labels)
        if labels is None and num_classes == len(known):
            wanted = known

    if preset is None:
        assert release is not None  # An address has one.
        model, held = build_release(release), known
    elif weights is None:
        model = build(str(preset.architecture), preset.arguments, wanted or known)
    else:
        temperature = 1.0
        if release:
            path, held = release.weights, known
            temperature = release.manifest["temperature"]
        elif weights == "default":
            path, held = _default_weights(preset), known
            temperature = preset.temperature
        else:
            path = _own_weights(weights)
            held = _own_labels(path, wanted, preset)
        model = build(
            str(preset.architecture), preset.arguments, held, path, temperature
        )
    if weights is not None:
        if wanted and wanted != held:
            model = model.replace_head(wanted)
        freeze_batch_norm(model.get_layer("backbone"))
    if balance:
        model.scale_odds(balance.factors)
    _compile(model)
    return model


def _load_file(
    file: pathlib.Path, labels: Sequence[str] | None
) -> ExpressionClassifier:
    from keras_fer.models.saved import load_saved

    model = load_saved(file, compile=True)
    if labels is not None and tuple(labels) != model.labels:
        model = model.replace_head(labels)
    if not model.compiled:
        _compile(model)
    return model


def _compile(model: ExpressionClassifier) -> None:
    """For fine-tuning, with integer labels."""
    import keras

    model.compile(
        optimizer=keras.optimizers.AdamW(3e-4, weight_decay=0.01, global_clipnorm=3.0),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )


def _balance(preset: ModelInfo) -> Balance:
    if preset.balance is None:
        raise ValueError(
            f"{preset.name} does not say how often its classes occur in training, so "
            "balanced=True is not possible. Use the model's scale_odds with factors of "
            "your own."
        )
    return preset.balance


def bundled(preset: ModelInfo) -> pathlib.Path:
    """Where the package keeps the weights of a preset."""
    return pathlib.Path(__file__).with_name("weights") / str(preset.weights)


def is_file(name: str | os.PathLike[str]) -> bool:
    """Whether a name means a `.keras` file, or a folder of `zoo.train`."""
    if isinstance(name, os.PathLike):
        return True
    if not isinstance(name, str) or name in (*DEFAULTS, *PRESETS):
        return False
    return name.endswith(".keras") or os.path.isdir(name)


def saved_file(path: str | os.PathLike[str]) -> pathlib.Path:
    """The `.keras` file that a path means.

    Args:
        path: Of the file, or of a folder of `zoo.train`.

    Raises:
        FileNotFoundError: It is not there.
    """
    file = pathlib.Path(path)
    if file.is_dir():
        file = file / "model.keras"
    if not file.is_file():
        raise FileNotFoundError(
            f"There is no file {str(file)!r}. Pass a .keras file that model.save "
            "wrote, or a folder in which zoo.train has ended."
        )
    return file


def _info_of_file(file: pathlib.Path) -> ModelInfo:
    """What a `.keras` file says about its model."""
    from keras_fer.models.saved import load_saved

    model = load_saved(file)
    return ModelInfo(
        name=str(file),
        architecture=model.architecture,
        arguments=model.arguments,
        labels=model.labels,
        paper="",
        parameters=model.count_params(),
        macs=None,
        input=describe_input(model.input_size),
        data="",
        selection="",
        split="",
        score={},
        license="",
        temperature=model.get_layer("probabilities").temperature,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )


def _is_address(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and name.startswith("hf://")


def _release(
    name: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None,
    revision: str | None,
    token: str | None,
) -> hub.Release | None:
    """What `load` needs from the Hugging Face Hub, or `None`."""
    if _is_address(name):
        if weights != "default":
            raise ValueError(
                f"weights must be left out with an address, which has its own, got "
                f"{weights!r} with {name!r}. For other weights pass the name of a "
                "preset."
            )
        address = name
    else:
        preset = info(name)
        if weights == "default" and preset.repo:
            if revision is not None:
                return hub.fetch(preset.repo, revision, token)
            if not bundled(preset).is_file():
                return hub.fetch(preset.repo, preset.revision, token, preset.sha256)
        if not _is_address(weights):
            if revision is not None:
                raise ValueError(
                    f"revision must be left out for what is not on the Hub, got "
                    f"{revision!r} with name={name!r} and weights={weights!r}. Pass "
                    '"hf://user/repo" as one of them.'
                )
            return None
        address = weights
    repo_id, named = hub.parse(address)
    if revision is not None and named not in (None, revision):
        raise ValueError(
            f"Conflicting revisions: {address!r} and revision={revision!r}. Pass one."
        )
    return hub.fetch(repo_id, revision or named, token)


def _info_of(release: hub.Release) -> ModelInfo:
    """What a repository says about its model."""
    said: dict[str, Any] = release.manifest
    facts: dict[str, Any] = {
        field: said.get(field, "")
        for field in ("paper", "input", "data", "selection", "split", "license")
    }
    return ModelInfo(
        name=said.get("name", ""),
        architecture=said["architecture"],
        arguments=said["arguments"],
        labels=tuple(said["labels"]),
        temperature=said["temperature"],
        sha256=said["files"][WEIGHTS],
        repo=release.repo_id,
        revision=release.commit,
        parameters=said["parameters"],
        macs=said.get("macs"),
        score=said.get("score", {}),
        **facts,
    )


def _default_weights(preset: ModelInfo) -> pathlib.Path:
    """The bundled file of a preset, once its hash is checked."""
    path = bundled(preset)
    if not path.is_file():
        raise FileNotFoundError(
            f"The weights of {preset.name} are missing: {str(path)!r} is part of the "
            "package. Reinstall keras-fer, or pass weights=None for random weights."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != preset.sha256:
        raise ValueError(
            f"The weights of {preset.name} are not the published ones: the sha256 of "
            f"{str(path)!r} is {digest}, not {preset.sha256}. Reinstall keras-fer; to "
            "use a file of your own, pass its path as `weights`."
        )
    return path


def _own_weights(weights: str | os.PathLike[str]) -> pathlib.Path:
    """The file behind a user's path."""
    path = pathlib.Path(weights)
    if path.is_dir():
        files = sorted(path.glob(f"*{_SUFFIX}"))
        if len(files) != 1:
            raise FileNotFoundError(
                f"weights must be a folder with exactly one {_SUFFIX} file, got "
                f"{str(weights)!r}, which holds {len(files)}. Pass the file's path."
            )
        path = files[0]
    if not path.is_file():
        raise FileNotFoundError(
            f'weights must be "default", None, or an existing {_SUFFIX} file or '
            f"folder, got {str(weights)!r}. Check the path."
        )
    if not path.name.endswith(_SUFFIX):
        raise ValueError(
            f"weights must be a {_SUFFIX} file, got {str(weights)!r}. Save yours with "
            f"model.save_weights('name{_SUFFIX}')."
        )
    return path


def _own_labels(
    path: pathlib.Path, wanted: tuple[str, ...] | None, preset: ModelInfo
) -> tuple[str, ...]:
    """Names for the classes in a user's file, once it is safe to read."""
    import h5py

    try:
        check_weights(path)
        with h5py.File(path) as file:
            (number,) = next(
                layer["vars/1"].shape
                for layer in file["layers"].values()
                if "vars" in layer and layer["vars"].attrs.get("name") == "logits"
            )
    except Exception as error:  # h5py raises whatever damage leads it to
        raise ValueError(
            f"weights must be a {_SUFFIX} file of this package, with a layer named "
            f"'logits', got '{shown(path)}'. {shown(error, 500)}"
        ) from error
    if not 2 <= number <= MOST_LABELS:
        raise ValueError(
            f"weights must be a {_SUFFIX} file of 2 to {MOST_LABELS:,} classes, got "
            f"'{shown(path)}', whose layer 'logits' has {number:,}."
        )
    for names in (wanted, preset.labels):
        if names and len(names) == number:
            return names
    if wanted is None:
        raise ValueError(
            f"labels must name the {number} classes in {str(path)!r}, in the order of "
            f"training, where {preset.name} has {len(preset.labels)}; got None."
        )
    # They get a new head, so these names are never seen.
    return tuple(f"class_{index}" for index in range(number))
