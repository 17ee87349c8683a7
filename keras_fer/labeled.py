"""Images with labels: what `keras_fer.train` and `keras_fer.evaluate` read.

They come from a folder of class subfolders or from a CSV file, as face crops or as
photos, whose faces a detector finds.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np

from keras_fer.audit.sources import Folder
from keras_fer.console import one_line
from keras_fer.faces.align import crop_in
from keras_fer.faces.detect import Detector, detect_many_in
from keras_fer.faces.images import ImageError, read_image
from keras_fer.labels import LABELS, canonical_name

COLUMNS = ("path", "label", "subject", "split")
"""Columns of a CSV file; the last two are optional."""

# Images that are in memory at once.
_BATCH = 32


@dataclasses.dataclass(frozen=True)
class LabeledImage:
    """An image file and what is known about it.

    Attributes:
        path: Of the file.
        label: Name of its class.
        subject: Who it shows; `None` where that is unknown.
        split: The part of the data that it belongs to; `None` where there are none.
    """

    path: str
    label: str
    subject: str | None = None
    split: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Crop:
    """The face of a labeled image, or why there is none.

    Attributes:
        item: The image.
        pixels: `(S, S, 3)` uint8 RGB; `None` without a face.
        faces: How many were found; the largest counts.
        error: Why the file could not be read.
    """

    item: LabeledImage
    pixels: np.ndarray | None = None
    faces: int = 0
    error: str | None = None

    @property
    def problem(self) -> str | None:
        """Why the image is left out, one line; `None` if it is not."""
        return self.error or (None if self.faces else "no face was found")


def read_source(source: str | os.PathLike[str]) -> list[LabeledImage]:
    """Lists the images of a folder or a CSV file; none is opened.

    Args:
        source: A folder, whose subfolders are the classes; if it has subfolders named
            like splits (`train`, `val`, `test`, ...), theirs are. Or a CSV file with a
            header and the columns `path`, relative to the file's folder, `label` and,
            optionally, `subject` and `split`.

    Raises:
        FileNotFoundError: There is no such folder or file.
        ValueError: It is another kind of file, a column or value is missing, or it has
            no images.
    """
    path = pathlib.Path(source)
    if path.is_dir():
        items = _of_folder(path)
    elif path.is_file():
        items = _of_table(path)
    else:
        raise FileNotFoundError(
            f"There is no folder or file {str(path)!r}. Pass a folder of class "
            "subfolders, or a CSV file with the columns path and label."
        )
    if not items:
        raise ValueError(
            f"{str(path)!r} has no labeled images. Put them into one subfolder per "
            "class, or list them in a CSV file with the columns path and label."
        )
    return items


def _of_folder(root: pathlib.Path) -> list[LabeledImage]:
    folder = Folder(root)
    items = []
    for item in folder:
        if item.label is not None:
            split = item.split if folder.split else None
            items.append(LabeledImage(str(root / item.name), item.label, None, split))
    return items


def _of_table(path: pathlib.Path) -> list[LabeledImage]:
    items = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            missing = [name for name in COLUMNS[:2] if name not in columns]
            if missing:
                raise ValueError(
                    f"{str(path)!r} must have the columns path and label, and may have "
                    f"subject and split; {' and '.join(missing)} is missing from "
                    f"{', '.join(map(str, columns)) or 'an empty file'}."
                )
            for row in reader:
                values = {name: (row.get(name) or "").strip() for name in COLUMNS}
                if not values["path"] or not values["label"]:
                    raise ValueError(
                        f"Line {reader.line_num} of {str(path)!r} must have a path and "
                        f"a label, got {values['path']!r} and {values['label']!r}."
                    )
                items.append(
                    LabeledImage(
                        str(path.parent / values["path"]),
                        values["label"],
                        values["subject"] or None,
                        values["split"] or None,
                    )
                )
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{str(path)!r} is not a CSV file in UTF-8: {one_line(error)}. Pass a "
            "folder of class subfolders, or a CSV file with the columns path and label."
        ) from error
    return items


def select_split(
    items: Sequence[LabeledImage], split: str | None, source: object
) -> list[LabeledImage]:
    """The images of a split.

    Args:
        items: From `read_source`.
        split: Its name; `None` for all images, where there are no splits.
        source: For messages.

    Raises:
        ValueError: There is no such split, or there are several and none is named.
    """
    names = sorted({item.split for item in items if item.split is not None})
    if split is None and len(names) < 2:
        return list(items)
    if split not in names:
        given = "none was named" if split is None else f"got {split!r}"
        known = f"one of {', '.join(names)}" if names else "left out: there are none"
        raise ValueError(f"split of {str(source)!r} must be {known}; {given}.")
    return [item for item in items if item.split == split]


def rename(items: Iterable[LabeledImage], names: dict[str, str]) -> list[LabeledImage]:
    """Gives images other labels; those that are not in `names` stay."""
    return [
        dataclasses.replace(item, label=names.get(item.label, item.label))
        for item in items
    ]


def known_names(labels: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """The names by which a model knows labels that are spelled otherwise.

    Args:
        labels: Such as `"happy"`.
        known: Labels of the model, such as `"happiness"`.

    Returns:
        Label to the model's name; without those that it knows or does not know at all.
    """
    names = {}
    for label in labels:
        if label not in known:
            try:
                name = canonical_name(label)
            except ValueError:
                continue
            if name in known:
                names[label] = name
    return names


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct labels: expressions in the order of `LABELS`, then others by name."""
    order = {label: index for index, label in enumerate(LABELS)}
    return tuple(sorted({*labels}, key=lambda label: (order.get(label, 99), label)))


def read_crops(items: Iterable[LabeledImage], detector: Detector) -> Iterator[Crop]:
    """Reads images and crops their largest faces, as `analyze` does.

    Args:
        items: From `read_source`.
        detector: From `keras_fer.faces.load_detector`.

    Yields:
        A `Crop` per image, in order.
    """
    remaining = iter(items)
    while part := list(itertools.islice(remaining, _BATCH)):
        opened: dict[int, np.ndarray] = {}
        errors: dict[int, str] = {}
        for index, item in enumerate(part):
            try:
                opened[index] = read_image(item.path)
            except (ImageError, OSError, MemoryError) as error:
                errors[index] = one_line(error)
        found = detect_many_in(list(opened.values()), detector) if opened else []
        faces = dict(zip(opened, found, strict=True))
        for index, item in enumerate(part):
            if index in errors:
                yield Crop(item, error=errors[index])
            elif not faces[index]:
                yield Crop(item)
            else:
                pixels = crop_in(opened[index], faces[index][0])
                yield Crop(item, pixels, len(faces[index]))
