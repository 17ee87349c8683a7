"""The folder that becomes a repository of the Hub: what Keras saves, and facts.

`config.json`, `metadata.json` and `model.weights.h5` are Keras' own; a `README.md` and
`keras_fer.json`, labels, facts and the sha256 of every file, stand beside them.
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

if TYPE_CHECKING:
    from keras_fer.models import ExpressionClassifier

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
CARD = "README.md"
MANIFEST = "keras_fer.json"
FILES = (CONFIG, "metadata.json", WEIGHTS, CARD, MANIFEST)
FORMAT = 1
# Enough for a model; a card may be edited on the Hub without breaking it.
NEEDED = (CONFIG, WEIGHTS, MANIFEST)


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
        model: An `ExpressionClassifier`.
        folder: Made where it is not there.
        facts: Of `keras_fer.json`: name, architecture, input, data, selection, split,
            score, paper, license, macs and results, as far as known.
        card: Text of `README.md`.

    Returns:
        The dictionary in `keras_fer.json`.

    Raises:
        ValueError: It is no model of this package, or not yet built.
    """
    from keras_fer import __version__

    plain = _plain(model)
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
        "architecture": None,
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
            "Only models of this package are written. Received: "
            f"{type(model).__name__}. Expected an `ExpressionClassifier`; of a "
            "`PrivilegedAttribution` pass its `model`."
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
    """`keras_fer.json`, once its form is checked."""
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != FORMAT:
            raise ValueError(
                f"format {manifest['format']!r}, where this version reads {FORMAT}; "
                "upgrade keras-fer"
            )
        labels, hashes = manifest["labels"], manifest["files"]
        if not all(isinstance(label, str) for label in labels) or len(labels) < 2:
            raise ValueError(f"labels {labels!r}")
        if not float(manifest["temperature"]) > 0:
            raise ValueError(f"temperature {manifest['temperature']!r}")
        for name in set(FILES) - {MANIFEST}:
            if not re.fullmatch("[0-9a-f]{64}", hashes[name]):
                raise ValueError(f"no sha256 of {name}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{MANIFEST} of {where} is malformed. Received: {str(error)[:500]}. "
            "Expected what `keras_fer.zoo.push` writes."
        ) from error
    return manifest


def contradiction(
    folder: pathlib.Path, manifest: dict[str, Any], files: Iterable[str]
) -> str | None:
    """Where files differ from what `keras_fer.json` says, or `None`."""
    for name in set(files) - {MANIFEST}:
        digest, expected = _sha256(folder / name), manifest["files"][name]
        if digest != expected:
            return f"Received: {name} with sha256 {digest}. Expected {expected}"
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
            f"`results` lacks {error}. Received: results of type "
            f"{type(results).__name__}. Expected what `python -m zoo.evaluate` writes."
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
