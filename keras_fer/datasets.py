"""Datasets: TFDS builders of the five papers' datasets, and those of Hugging Face.

Importing this module registers the TFDS builders, if tensorflow-datasets is installed.
`from_hub` and `imagefolder` need `pip install "keras-fer[huggingface]"`.
"""

from __future__ import annotations

import collections
import importlib.util
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from PIL import Image

from keras_fer.faces.images import SUFFIXES, ImageError, find_images
from keras_fer.faces.inputs import open_image
from keras_fer.labels import DATASET_CODES, LABELS, canonical_name

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

__all__ = ["from_hub", "imagefolder", "to_arrays"]

# Without tensorflow-datasets there is nothing to register the builders with.
if importlib.util.find_spec("tensorflow_datasets"):
    try:
        import tfds_builders.all  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The datasets need the package {error.name!r}, which is not installed. "
            'Run pip install "keras-fer[datasets]".',
            name=error.name,
        ) from error

Labels: TypeAlias = Mapping[Any, str | None] | Sequence[str | None] | str


@overload
def from_hub(
    repo: str,
    *,
    split: str,
    name: str | None = None,
    revision: str | None = None,
    image: str | None = None,
    label: str | None = None,
    labels: Labels | None = None,
    classes: int = 8,
) -> Dataset: ...


@overload
def from_hub(
    repo: str,
    *,
    split: None = None,
    name: str | None = None,
    revision: str | None = None,
    image: str | None = None,
    label: str | None = None,
    labels: Labels | None = None,
    classes: int = 8,
) -> DatasetDict: ...


def from_hub(
    repo: str,
    *,
    split: str | None = None,
    name: str | None = None,
    revision: str | None = None,
    image: str | None = None,
    label: str | None = None,
    labels: Labels | None = None,
    classes: int = 8,
) -> Dataset | DatasetDict:
    """Loads a dataset of the Hugging Face Hub, with labels in the canonical order.

    Labels are mapped by name, never by position. A dataset whose names are not all
    known, or that has numbers without names, is refused until `labels` says what they
    mean.

    Args:
        repo: `"user/dataset"`, or a local folder of such a dataset.
        split: Such as `"train"` or `"train[:10%]"`; `None` for all splits.
        name: Of the dataset's configuration.
        revision: Branch, tag or commit.
        image: Column of the images; `None` if there is only one.
        label: Column of the labels; `None` for the column `label`, or the only one with
            names of classes.
        labels: What the source's labels mean: a mapping from its names or numbers to
            expressions, as `keras_fer.labels.canonical_name` takes them; a sequence of
            expressions, by number; or the name of a dataset in
            `keras_fer.labels.DATASET_CODES`, such as `"raf_db"`, whose codes it uses.
            Of classes with names, the names count: a class `"1"` has the number 1 at
            whatever position. `None` in the place of an expression skips its examples.
            Names that a mapping leaves out must be expressions.
        classes: 8, or 7 without contempt, whose examples are skipped then.

    Returns:
        A `datasets.Dataset`, or with `split=None` a `datasets.DatasetDict`. Its columns
        are `image`; `label`, a `ClassLabel` of the first `classes` of
        `keras_fer.LABELS`; `original_label`, the source's name or number; `id`, the
        source's or else `SPLIT/NUMBER`; and the source's others. Skipped examples are
        counted in a warning.

    Raises:
        ImportError: The package datasets is not installed.
        ValueError: There is no such column, or a label is not known to be an
            expression.
        Exception: Those of `datasets.load_dataset`, such as `DatasetNotFoundError`.
    """
    package = _package()
    loaded = package.load_dataset(repo, name, split=split, revision=revision)
    return _canonical(loaded, split, image, label, labels, classes)


@overload
def imagefolder(
    path: str | os.PathLike[str],
    *,
    split: str,
    labels: Labels | None = None,
    classes: int = 8,
) -> Dataset: ...


@overload
def imagefolder(
    path: str | os.PathLike[str],
    *,
    split: None = None,
    labels: Labels | None = None,
    classes: int = 8,
) -> DatasetDict: ...


def imagefolder(
    path: str | os.PathLike[str],
    *,
    split: str | None = None,
    labels: Labels | None = None,
    classes: int = 8,
) -> Dataset | DatasetDict:
    """Loads a folder whose subfolders are named after expressions.

    The folder may have folders of splits above those of classes, such as
    `train/happy/1.jpg`, and a `metadata.csv`; see `ImageFolder` in the documentation of
    the package datasets.

    Args:
        path: The folder.
        split: See `from_hub`; without folders of splits, everything is `"train"`.
        labels: See `from_hub`; the source's labels are the names of the folders.
        classes: See `from_hub`.

    Returns:
        See `from_hub`.

    Raises:
        FileNotFoundError: There is no such folder, or it has no images.
        ImportError: The package datasets is not installed.
        ValueError: See `from_hub`.
    """
    package = _package()
    folder = os.fspath(path)
    if not os.path.isdir(folder) or find_images(folder) == [folder]:
        raise FileNotFoundError(
            f"path must be a folder with images, got {folder!r}. Their names must end "
            f"in {', '.join(sorted(SUFFIXES))}."
        )
    loaded = package.load_dataset("imagefolder", data_dir=folder, split=split)
    return _canonical(loaded, split, "image", "label", labels, classes)


def to_arrays(dataset: Dataset, size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of a dataset in memory, for `model.fit`.

    Args:
        dataset: A split, from `from_hub` or `imagefolder`.
        size: Height and width to which images are resized.

    Returns:
        Images, `(N, size, size, 3)` uint8 RGB, and labels, `(N,)` int32.

    Raises:
        ImageError: An image is damaged; the message has its `id`.
    """
    images = np.empty((len(dataset), size, size, 3), np.uint8)
    names = dataset["id"]
    stored = dataset.cast_column("image", _package().Image(decode=False))["image"]
    for row, name, each in zip(images, names, stored, strict=True):
        try:
            # Read as everywhere here: upright, 16 bits scaled, transparency on white.
            opened = Image.fromarray(open_image(each["bytes"] or each["path"]))
        except ImageError as error:
            raise ImageError(f"Example {name!r}: {error}") from error
        resized = opened.resize((size, size), Image.Resampling.BILINEAR)
        row[:] = np.asarray(resized)
    return images, np.array(dataset["label"], np.int32)


def _package() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            "Datasets of Hugging Face need the package datasets. Install it with: pip "
            'install "keras-fer[huggingface]"'
        ) from error
    return datasets


def _canonical(
    loaded: Any,
    split: str | None,
    image: str | None,
    label: str | None,
    labels: Labels | None,
    classes: int,
) -> Any:
    """All splits of a dataset with our columns."""
    if classes not in (7, 8):
        raise ValueError(f"classes must be 7 or 8, got {classes!r}.")
    splits = {str(split): loaded} if split is not None else dict(loaded)
    result = {}
    for name, part in splits.items():
        result[name] = _canonical_split(
            name, part, image, label, labels, LABELS[:classes]
        )
    return _package().DatasetDict(result) if split is None else result[str(split)]


def _canonical_split(
    split: str,
    part: Any,
    image: str | None,
    label: str | None,
    labels: Labels | None,
    classes: Sequence[str],
) -> Any:
    package = _package()
    image = _column(part, image, "image", package.Image)
    label = _column(part, label, "label", package.ClassLabel)
    values = _values(part, label)
    expressions = _expressions(values, part.features[label], labels)
    wanted = [expressions[value] for value in values]
    kept = [index for index, each in enumerate(wanted) if each in classes]
    if len(kept) < len(wanted):
        _warn_of_skipped(split, values, wanted, classes)
    ids = list(part["id"]) if "id" in part.column_names else None
    new = {
        "label": [classes.index(str(wanted[index])) for index in kept],
        "original_label": [values[index] for index in kept],
        "id": [str(ids[i]) if ids else f"{split}/{i}" for i in kept],
    }
    if len(kept) < len(wanted):
        part = part.select(kept)
    part = part.remove_columns([c for c in {label, *new} if c in part.column_names])
    if image != "image":
        if "image" in part.column_names:
            part = part.remove_columns("image")
        part = part.rename_column(image, "image")
    text = any(isinstance(value, str) for value in expressions)
    features = {
        "label": package.ClassLabel(names=list(classes)),
        "original_label": package.Value("string" if text else "int64"),
        "id": package.Value("string"),
    }
    for name, column in new.items():
        part = part.add_column(name, column, feature=features[name])
    return part


def _column(part: Any, given: str | None, default: str, kind: type) -> str:
    """The name of a column of images or labels."""
    columns = dict(part.features)
    known = ", ".join(repr(name) for name in columns)
    if given is not None:
        if given not in columns:
            raise ValueError(
                f"The dataset has no column {given!r}. Pass {default}= one of {known}."
            )
        return given
    if default in columns:
        return default
    suited = [name for name, feature in columns.items() if isinstance(feature, kind)]
    if len(suited) != 1:
        raise ValueError(
            f"The dataset has {len(suited)} columns that may be the {default}. Pass "
            f"{default}= one of {known}."
        )
    return suited[0]


def _values(part: Any, label: str) -> list[str | int | None]:
    """The source's labels: names where there are some; `None` for no label."""
    feature, column = part.features[label], list(part[label])
    names = getattr(feature, "names", None)
    if names is not None:
        return [None if code is None or code < 0 else names[code] for code in column]
    if any(not isinstance(value, (str, int, type(None))) for value in column):
        raise ValueError(
            f"The column {label!r} must hold names or whole numbers, one per image. "
            "Pass label= another column."
        )
    return column


def _expressions(
    values: Sequence[str | int | None], feature: Any, labels: Labels | None
) -> dict[str | int | None, str | None]:
    """What each of the source's labels means; `None` for what is to be skipped."""
    codes = _mapping(labels)
    names = list(getattr(feature, "names", None) or ())
    meanings: dict[str | int | None, str | None] = {None: None}
    unknown = []
    for value in dict.fromkeys([*names, *values]):
        if value is None:
            continue
        key = value
        if key not in codes and isinstance(value, str) and value.isdecimal():
            key = int(value)  # A folder "1" is the code 1, at whatever position.
        try:
            meaning = codes[key] if key in codes else value
            meanings[value] = None if meaning is None else canonical_name(meaning)
        except (AttributeError, ValueError):
            unknown.append(value)
    if unknown:
        shown = ", ".join(repr(each) for each in unknown[:20])
        raise ValueError(
            f"The meaning of these labels of the dataset is not known: {shown}. Pass "
            f"labels={{{unknown[0]!r}: 'anger', ...}} with an expression for each, one "
            f"of {', '.join(LABELS)}, or None to skip its examples."
        )
    return meanings


def _mapping(labels: Labels | None) -> Mapping[Any, str | None]:
    if labels is None:
        return {}
    if isinstance(labels, str):
        if labels not in DATASET_CODES:
            raise ValueError(
                "labels must be a mapping, a sequence or one of "
                f"{', '.join(sorted(DATASET_CODES))}, got {labels!r}."
            )
        return DATASET_CODES[labels]
    return labels if isinstance(labels, Mapping) else dict(enumerate(labels))


def _warn_of_skipped(
    split: str,
    values: Sequence[str | int | None],
    wanted: Sequence[str | None],
    classes: Sequence[str],
) -> None:
    skipped = collections.Counter(
        "without a label" if value is None else f"labeled {value!r}"
        for value, each in zip(values, wanted, strict=True)
        if each not in classes
    )
    counts = ", ".join(f"{count} {reason}" for reason, count in skipped.most_common(20))
    warnings.warn(
        f"Of {len(values)} examples of the split {split!r}, {skipped.total()} are "
        f"skipped: {counts}.",
        stacklevel=5,
    )
