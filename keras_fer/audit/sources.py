"""What can be audited: folders, arrays and datasets.

A source is iterated several times, each time in the same order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from keras_fer.console import one_line

# What zipfile and NumPy raise for damaged files, beside ValueError.
_DAMAGE = (
    EOFError,
    KeyError,
    MemoryError,  # of a size that the header claims
    NotImplementedError,
    RuntimeError,
    TypeError,
    struct.error,
    tokenize.TokenError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)

_SPLITS = ("train", "test", "val", "valid", "dev", "public", "private", "fold")


@dataclasses.dataclass
class Item:
    """An image that has not been read yet.

    Attributes:
        name: Of the image in its source.
        split: Name of its split.
        label: `None` where it is unknown.
        subject: `None` where it is unknown.
        read: Function that returns the image, uint8 `(H, W)` or `(H, W, C)`.
    """

    name: str
    split: str
    label: str | None
    subject: str | None
    read: Callable[[], np.ndarray]


def open_source(source: str | os.PathLike[str]) -> Folder | Arrays | Dataset:
    """Opens what `audit` takes; see there."""
    folder = pathlib.Path(source)
    if not folder.exists():
        return Dataset(_builder(str(source)), str(source))
    if not folder.is_dir():
        raise NotADirectoryError(
            f"{str(source)!r} is not a folder. Pass a folder of images or of SPLIT.npz "
            "files, or the name of a TFDS dataset."
        )
    if (folder / "dataset_info.json").is_file():
        import tensorflow_datasets as tfds

        return Dataset(tfds.builder_from_directory(folder), str(source))
    files = [path for path in sorted(folder.glob("*.npz")) if _has_images(path)]
    return Arrays(files) if files else Folder(folder)


def _builder(name: str) -> Any:
    try:
        import tensorflow_datasets as tfds

        from keras_fer import datasets  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{name!r} is not a folder, and datasets need tensorflow-datasets, which "
            f"cannot be imported ({error}). Install it with: pip install "
            '"keras-fer[datasets]"'
        ) from error
    try:
        builder = tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise FileNotFoundError(
            f"There is no folder or TFDS dataset {name!r}: {str(error).splitlines()[0]}"
        ) from error
    return builder


class Folder:
    """Images in folders."""

    def __init__(self, root: pathlib.Path) -> None:
        from keras_fer.faces.images import SUFFIXES

        self.root = root
        self.suffixes = SUFFIXES
        self.split = any(
            entry.is_dir() and _is_split(entry.name) for entry in os.scandir(root)
        )

    def __iter__(self) -> Iterator[Item]:
        from keras_fer.faces import read_image

        for path in self._walk(self.root, ()):
            *parents, _ = parts = path.relative_to(self.root).parts
            split, *labels = parents if self.split and parents else ["all", *parents]
            label = labels[0] if labels else None
            name = "/".join(parts)
            yield Item(name, split, label, None, functools.partial(read_image, path))

    def _walk(
        self, folder: pathlib.Path, above: tuple[pathlib.Path, ...]
    ) -> Iterator[pathlib.Path]:
        # Sorted folder by folder: the names are never all in memory at once.
        here = folder.resolve()
        if here in above:  # A link to a folder that contains it.
            return
        for name in sorted(os.listdir(folder)):
            path = folder / name
            if name.startswith("."):
                continue
            if path.is_dir():
                yield from self._walk(path, (*above, here))
            elif path.suffix.lower() in self.suffixes:
                yield path


def _is_split(name: str) -> bool:
    return name.lower().startswith(_SPLITS)


class Arrays:
    """Files of arrays, one per split."""

    def __init__(self, files: list[pathlib.Path]) -> None:
        self.files = files

    def __iter__(self) -> Iterator[Item]:
        for path in self.files:
            images, columns = _read_arrays(path)
            for row, image in enumerate(images):
                label, subject = (
                    None if column is None else _text(column[row])
                    for column in columns.values()
                )
                name = f"{path.stem}[{row}]"
                yield Item(name, path.stem, label, subject, image.copy)


def _has_images(path: pathlib.Path) -> bool:
    with _open_arrays(path) as arrays:
        return "images" in arrays


@contextlib.contextmanager
def _open_arrays(path: pathlib.Path) -> Iterator[Any]:
    """Opens an `.npz` file; whatever is wrong with it is a `ValueError`."""
    if not path.is_file():  # Opening a pipe would wait for its other end.
        raise ValueError(f"{path} is not an .npz file but a folder or a special file.")
    try:
        with open(path, "rb") as file, NpzFile(file) as arrays:
            yield arrays
    except (*_DAMAGE, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename:
            raise  # It cannot be opened.
        raise ValueError(f"{path} is not an .npz file of arrays: {error}") from error


def _read_arrays(
    path: pathlib.Path,
) -> tuple[np.ndarray, dict[str, np.ndarray | None]]:
    with _open_arrays(path) as arrays:
        images = arrays["images"]
        columns = {
            key: arrays[key] if key in arrays else None for key in ("label", "subject")
        }
    shape = images.shape
    channels = shape[3:] in ((), (1,), (3,))
    if images.dtype != np.uint8 or len(shape) not in (3, 4) or not channels:
        raise ValueError(
            f"images of {path} must be uint8 of shape (N, H, W), (N, H, W, 1) or "
            f"(N, H, W, 3), got {images.dtype} of shape {shape}."
        )
    if 0 in shape[1:]:
        raise ValueError(
            f"images of {path} must have at least one pixel, got shape {shape}."
        )
    for key, column in columns.items():
        if column is None:
            continue
        if column.ndim != 1:
            raise ValueError(
                f"{key} of {path} must have one value per image, got shape "
                f"{column.shape}. Convert one-hot values with argmax(axis=1)."
            )
        if len(column) != len(images):
            raise ValueError(
                f"{path} has {len(images)} images and {len(column)} values of {key}. "
                "There must be one per image."
            )
    return images, columns


class Dataset:
    """A prepared TFDS dataset."""

    def __init__(self, builder: Any, name: str) -> None:
        if not builder.info.splits:
            raise FileNotFoundError(
                f"{name!r} is not prepared in {builder.data_dir}. Run `tfds build` for "
                "it, or set TFDS_DATA_DIR to the folder of your datasets."
            )
        self.builder = builder
        features = builder.info.features
        if "image" not in features:
            raise ValueError(
                f"{name!r} has no feature named image, only {', '.join(features)}. "
                "Pass a dataset of images."
            )
        self.keys = [
            key for key in ("image", "label", "id", "subject") if key in features
        ]
        # Larger splits first: one that overlaps by design is part of a larger one.
        splits = builder.info.splits
        self.splits = sorted(splits, key=lambda split: -splits[split].num_examples)

    def __iter__(self) -> Iterator[Item]:
        features = self.builder.info.features
        for split in self.splits:
            for row, example in enumerate(self._examples(split)):
                label = _text(example.get("label"))
                if label is not None and hasattr(features["label"], "int2str"):
                    # TFDS writes -1 for unknown labels.
                    known = int(label) >= 0
                    label = features["label"].int2str(int(label)) if known else None
                yield Item(
                    _text(example.get("id")) or f"{split}[{row}]",
                    split,
                    label,
                    _text(example.get("subject")),
                    functools.partial(_decode, example["image"]),
                )

    def _examples(self, split: str) -> Iterator[dict[str, Any]]:
        """Yields dicts of features; images are encoded, as stored."""
        import tensorflow_datasets as tfds

        decoders = {"image": tfds.decode.SkipDecoding()}
        if self.builder.info.file_format.value == "array_record":
            yield from self.builder.as_data_source(split, decoders=decoders)
        else:
            features = {key: True for key in self.keys}
            partial = tfds.decode.PartialDecoding(features, decoders=decoders)
            dataset = self.builder.as_dataset(
                split=split, decoders=partial, shuffle_files=False
            )
            import tensorflow as tf

            try:
                yield from dataset.as_numpy_iterator()
            except tf.errors.OpError as error:
                raise OSError(
                    f"{self.builder.data_dir} is damaged: {error.message}. Build the "
                    "dataset again."
                ) from error


def _text(value: Any) -> str | None:
    """A value as a string; `None` if it is `None` or empty."""
    value = (
        value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
    )
    return None if value is None or value == "" else str(value)


def _decode(content: bytes) -> np.ndarray:
    from PIL import Image

    from keras_fer.faces.images import FORMATS

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return np.asarray(image.convert("L" if image.mode == "L" else "RGB"))
    except Exception as error:  # Damaged files raise errors of many kinds.
        raise ValueError(one_line(error)) from error
