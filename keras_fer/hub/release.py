"""The folder that becomes a repository of the Hub: architecture, labels and arrays.

`keras_fer.json` names the function that builds the model, its arguments, the labels and
facts, and the sha256 of every file; `model.weights.h5` holds the arrays. `config.json`
and `metadata.json` are written for `keras.saving.load_model` and never read here.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from keras_fer.hub.checks import read_json, shown

if TYPE_CHECKING:
    from keras_fer.models import ExpressionClassifier

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
CARD = "README.md"
MANIFEST = "keras_fer.json"
FILES = (CONFIG, "metadata.json", WEIGHTS, CARD, MANIFEST)
FORMAT = 1
# Enough for a model; a card may be edited on the Hub without breaking it.
NEEDED = (WEIGHTS, MANIFEST)

# What the author of a model may say about it.
_TEXTS = ("name", "input", "data", "selection", "split", "paper", "license")
_FACTS = (*_TEXTS, "score", "macs", "results")

MOST_LABELS = 1000

# What to do with a model that has no place on the Hub in this form.
ELSEWHERE = (
    "Save it with model.save('model.keras') and upload that file with "
    "huggingface_hub.HfApi().upload_file, or train the model that a function of "
    "keras_fer.models returns."
)


def write(
    model: ExpressionClassifier,
    folder: str | os.PathLike[str],
    facts: dict[str, Any],
    card: str,
) -> dict[str, Any]:
    """Writes the folder that becomes a repository; the same model, the same bytes.

    Kernels that half precision holds exactly are stored so. Optimizer, loss and
    metrics are left out.

    Args:
        model: An `ExpressionClassifier` that a function of `keras_fer.models` built.
        folder: Made where it is not there.
        facts: Of `keras_fer.json`: name, input, data, selection, split, score, paper,
            license, macs and results, as far as known.
        card: Text of `README.md`.

    Returns:
        The dictionary in `keras_fer.json`.

    Raises:
        ValueError: It is no model of this package, not yet built, or not what its
            architecture and arguments build; a weight is NaN or infinite; or a fact is
            unknown, of another type or too long.
    """
    from keras_fer import __version__
    from keras_fer.hub.build import check_rebuilt

    plain = _plain(model)
    if model.architecture is None:
        raise ValueError(
            f"The model {shown(model.name)} was not built by a function of "
            f"keras_fer.models, or was changed afterwards, so it cannot be built from "
            f"a name and arguments. {ELSEWHERE}"
        )
    if unknown := sorted(set(facts) - set(_FACTS)):
        raise ValueError(
            f"facts may have {', '.join(_FACTS)}, got {shown(', '.join(unknown))}."
        )
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        saved = pathlib.Path(temporary) / "model"
        plain.save(saved, zipped=False)
        _shrink(saved / WEIGHTS, folder / WEIGHTS)
        metadata = json.loads((saved / "metadata.json").read_text("utf-8"))
        shutil.copyfile(saved / CONFIG, folder / CONFIG)
    metadata.pop("date_saved")  # nothing reads it, and it would differ each time
    _write_json(folder / "metadata.json", metadata)
    (folder / CARD).write_text(card, "utf-8", newline="\n")
    manifest = {
        "format": FORMAT,
        "keras_fer": __version__,
        "name": model.name,
        "architecture": model.architecture,
        "arguments": model.arguments,
        "labels": [*plain.labels],
        "temperature": plain.get_layer("probabilities").temperature,
        "input": (
            "gray or RGB face crop, 0-255, any size; resized to "
            f"{plain.input_size}x{plain.input_size} in the graph"
        ),
        **dict.fromkeys(("data", "selection", "split", "paper", "license"), ""),
        "score": {},
        "parameters": plain.count_params(),
        "macs": None,
        "results": None,
        **facts,
        "files": {name: _sha256(folder / name) for name in FILES if name != MANIFEST},
    }
    _write_json(folder / MANIFEST, manifest)
    # What is written can be read, and makes the same model.
    manifest = read_manifest(folder / MANIFEST, "the new release")
    check_rebuilt(plain, manifest, folder / WEIGHTS)
    return manifest


def save_weights(model: ExpressionClassifier, path: str | os.PathLike[str]) -> None:
    """Writes the weights file of a release; the same model, the same bytes.

    Args:
        model: An `ExpressionClassifier`.
        path: Where to, a `.weights.h5` file.
    """
    plain = _plain(model)
    with tempfile.TemporaryDirectory() as folder:
        full = pathlib.Path(folder) / WEIGHTS
        plain.save_weights(full)
        _shrink(full, path)


def _plain(model: Any) -> ExpressionClassifier:
    """A copy without training state whose names do not depend on this process."""
    import keras

    from keras_fer.models import ExpressionClassifier

    if not isinstance(model, ExpressionClassifier) or not model.built:
        raise ValueError(
            "model must be a built `ExpressionClassifier` of this package, got "
            f"{type(model).__name__}. Of a `PrivilegedAttribution` pass its `model`."
        )
    config = keras.saving.serialize_keras_object(model)
    config["compile_config"] = None
    copy = keras.saving.deserialize_keras_object(_renumber(config))
    # With the states of random seeds, which `get_weights` leaves out.
    for variable, value in zip(copy.variables, model.variables, strict=True):
        variable.assign(value)
    return copy


def _renumber(config: Any) -> Any:
    """Counts names that Keras numbered, such as `input_layer_3`, from the first on.

    Keras counts in a process, so that the same model has other names in the next.
    """
    names: dict[str, str] = {}
    counts: dict[str, int] = {}

    def collect(item: Any) -> None:
        if isinstance(item, dict):
            inner = item.get("config")
            if "class_name" in item and isinstance(inner, dict):
                name = str(inner.get("name"))
                kind = re.sub(r"_\d+$", "", name)
                # The input of a graph cut from another is named after a tensor.
                numbered = kind.replace("_", "") in (
                    item["class_name"].lower(),
                    "kerastensor",
                )
                if numbered and name not in names:
                    count = counts[kind] = counts.get(kind, -1) + 1
                    names[name] = f"{kind}_{count}" if count else kind
            item = item.values()
        if not isinstance(item, str) and hasattr(item, "__iter__"):
            for each in item:
                collect(each)

    def rename(item: Any, here: bool = False) -> Any:
        if isinstance(item, dict):
            keys = ("name", "keras_history", "input_layers", "output_layers")
            return {key: rename(each, key in keys) for key, each in item.items()}
        if isinstance(item, (list, tuple)):
            return [rename(each, here) for each in item]
        return names.get(item, item) if here and isinstance(item, str) else item

    collect(config)
    return rename(config)


def _shrink(full: pathlib.Path, path: str | os.PathLike[str]) -> None:
    """Copies weights; kernels that half precision holds exactly take half the size."""
    import h5py
    import numpy as np

    with h5py.File(full) as source, h5py.File(path, "w") as target:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                copied = target.require_group(name)
            else:
                value = item[()]
                if item.ndim > 1 and item.dtype == "float32":
                    with np.errstate(over="ignore"):
                        half = value.astype("float16")
                    value = half if np.array_equal(half, value) else value
                copied = target.create_dataset(name, data=value)
            copied.attrs.update(item.attrs)

        source.visititems(copy)
        target.attrs.update(source.attrs)


def _write_json(path: pathlib.Path, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, "utf-8", newline="\n")


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(path: pathlib.Path, where: str) -> dict[str, Any]:
    """`keras_fer.json`, once its form is checked.

    Raises:
        ValueError: It is damaged, or a field is missing, of another type, too long or
            out of range.
    """
    try:
        manifest = read_json(path)
        if problem := _find_problem(manifest):
            raise ValueError(problem)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{MANIFEST} of {shown(where)} is malformed: {shown(error, 500)}. Ask its "
            "owner to push it again with `keras_fer.zoo.push`."
        ) from error
    return manifest


def _find_problem(manifest: Any) -> str | None:
    """What is wrong with the content of `keras_fer.json`, or `None`."""
    if not isinstance(manifest, dict):
        return "it is no object"
    if manifest.get("format") != FORMAT:
        return (
            f"its format is {shown(manifest.get('format'))}, and this version reads "
            f"{FORMAT}; upgrade keras-fer"
        )
    labels, score = manifest.get("labels"), manifest.get("score", {})
    arguments, files = manifest.get("arguments"), manifest.get("files")
    if (
        not isinstance(labels, list)
        or not 2 <= len(labels) <= MOST_LABELS
        or not all(_is_text(label, 100) and label for label in labels)
        or len(set(labels)) < len(labels)
    ):
        return (
            f"labels must be 2 to {MOST_LABELS:,} distinct printable names of at most "
            f"100 characters, got {shown(labels)}"
        )
    if not _is_number(manifest.get("temperature"), 0.01, 100):
        return (
            "temperature must be a number from 0.01 to 100, got "
            f"{shown(manifest.get('temperature'))}"
        )
    if not _is_text(manifest.get("architecture"), 100):
        return f"architecture is {shown(manifest.get('architecture'))}, not a name"
    if not isinstance(arguments, dict) or not all(
        isinstance(value, (float, int)) or _is_text(value, 100)
        for value in arguments.values()
    ):
        return f"arguments must be names of plain values, got {shown(arguments)}"
    for name in (*_TEXTS, "keras_fer"):
        if not _is_text(manifest.get(name, ""), 2000):
            return f"{name} is no printable text of at most 2,000 characters"
    if not isinstance(score, dict) or not all(
        _is_text(name, 100) and _is_number(value, -1e6, 1e6)
        for name, value in score.items()
    ):
        return f"score must be names of numbers, got {shown(score)}"
    for name in ("parameters", "macs"):
        value = manifest.get(name)
        if not (type(value) is int and 0 <= value <= 10**15):
            if (name, value) != ("macs", None):
                return f"{name} must be a whole number, got {shown(value)}"
    if not isinstance(manifest.get("results"), (dict, type(None))):
        return "results is no object"
    for name in set(FILES) - {MANIFEST}:
        digest = files.get(name) if isinstance(files, dict) else None
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            return f"files has no sha256 of {name}"
    return None


def _is_text(value: Any, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and value.isprintable()


def _is_number(value: Any, least: float, most: float) -> bool:
    return type(value) in (float, int) and least <= value <= most


def contradiction(
    folder: pathlib.Path, manifest: dict[str, Any], files: Iterable[str]
) -> str | None:
    """Where files differ from what `keras_fer.json` says, or `None`."""
    for name in set(files) - {MANIFEST}:
        digest, expected = _sha256(folder / name), manifest["files"][name]
        if digest != expected:
            return f"The sha256 of {name} is {digest}, but {MANIFEST} says {expected}"
    return None


def facts_of(results: dict[str, Any] | None) -> dict[str, Any]:
    """What an evaluation tells of a model; nothing where there is none."""
    if results is None:
        return {}
    try:
        scores = results["all"]
        return {
            "results": results,
            "split": f"{results['dataset']} {results['split']} (n = {scores['n']:,})",
            "score": {
                metric: round(scores[metric], 1) for metric in ("accuracy", "macro_f1")
            },
        }
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"results must be what `python -m zoo.evaluate` writes, got a "
            f"{type(results).__name__} that lacks {error}."
        ) from error


def short_card(model: ExpressionClassifier, repo_id: str, facts: dict[str, Any]) -> str:
    """A short model card."""
    from huggingface_hub import ModelCardData

    data = ModelCardData(library_name="keras", pipeline_tag="image-classification")
    name = facts.get("name", model.name)
    score = ", ".join(
        f"{key} {value} %" for key, value in facts.get("score", {}).items()
    )
    measured = f"\n{score} on {facts.get('split')}, one crop a face.\n" if score else ""
    labels = "\n".join(f"{i}. `{label}`" for i, label in enumerate(model.labels))
    return f"""---
{data.to_yaml()}
---

# {name}

Facial expression recognition with [Keras](https://keras.io) and `keras_fer`.
{measured}
```python
import keras_fer

model = keras_fer.zoo.load("hf://{repo_id}")
probabilities = model.predict(images)  # (B, H, W, 1 or 3), 0-255
```

Labels, in the order of the outputs, from 0:

{labels}

`images` are square crops of a face's box, without a margin, turned until the eyes are
level; resizing and normalization are part of the model.

An expression is not an emotion. Do not use this model to judge people: not for hiring,
schooling, policing, border control, insurance, lie detection or medical diagnosis, and
not on people who have not agreed to it.
"""
