"""Several datasets to train on together."""

import dataclasses

import numpy as np

from zoo.data import MEMORY, Faces
from zoo.shared_labels import match


class MixedImages:
    """Images of several datasets, of one shape, read on access.

    Args:
        parts: Arrays or `zoo.data.LazyImages`.
        shape: `(H, W, C)` of the images; others are resized, and gray ones repeated
            for RGB.
        rows: Indices into the concatenated parts; `None` for all.
    """

    def __init__(self, parts, shape, rows=None):
        self.parts = parts
        self._shape = tuple(shape)
        self._ends = np.cumsum([len(part) for part in parts])
        self.rows = np.arange(self._ends[-1]) if rows is None else rows

    def __len__(self):
        """Number of images."""
        return len(self.rows)

    @property
    def shape(self):
        """Shape of the array `self[:]`."""
        return (len(self), *self._shape)

    def __iter__(self):
        """Reads one image at a time."""
        return (self._read(row) for row in self.rows)

    def select(self, index):
        """A subset, without reading it."""
        return MixedImages(self.parts, self._shape, self.rows[index])

    def __getitem__(self, index):
        """Reads images: uint8 `(n, H, W, C)`."""
        images = np.empty((len(rows := self.rows[index]), *self._shape), "uint8")
        for place, row in enumerate(rows):
            images[place] = self._read(row)
        return images

    def _read(self, row):
        number = int(np.searchsorted(self._ends, row, side="right"))
        part = self.parts[number]
        place = int(row) - int(self._ends[number]) + len(part)
        return fit(part[place : place + 1][0], self._shape)


def fit(image, shape):
    """An image of a shape: resized, and a gray one repeated for RGB.

    Args:
        image: uint8 `(H, W, 1 or 3)`.
        shape: `(H, W, C)`, with as many channels as `image` or 3.
    """
    if image.shape[:2] != tuple(shape[:2]):
        from PIL import Image

        whole = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        resized = whole.resize((shape[1], shape[0]), Image.BILINEAR)
        image = np.asarray(resized).reshape(*shape[:2], -1)
    return image if image.shape[-1] == shape[-1] else image.repeat(shape[-1], axis=-1)


def mix(parts, names, main, size):
    """Faces of several datasets, with the labels of one of them.

    Labels are matched by name. Images whose label that dataset does not have are left
    out, and what their soft labels give to such labels is spread over the others.

    Args:
        parts: `zoo.data.Faces` of each.
        names: Names of the datasets.
        main: The name whose labels count.
        size: Side in pixels to which images are resized if their sizes differ.

    Returns:
        `zoo.data.Faces`, with the index of each image's dataset in `parts`; of a
        single dataset, its own.

    Raises:
        ValueError: A dataset has no images, no label in common with `main`, or other
            landmarks.
    """
    parts, names = list(parts), list(names)
    if len(parts) == 1:
        return parts[0]
    labels = parts[names.index(main)].labels
    for number, (part, name) in enumerate(zip(parts, names, strict=True)):
        try:
            parts[number] = _relabeled(part, labels)
        except ValueError as error:
            raise ValueError(f"{name} cannot be mixed with {main}: {error}") from None
        if not len(parts[number]):
            raise ValueError(
                f"{name} cannot be mixed with {main}: it has no image with one of the "
                f"labels {', '.join(labels)}."
            )
    points = {
        None if part.landmarks is None else part.landmarks.shape[1] for part in parts
    }
    if len(points) > 1:
        raise ValueError(
            f"{', '.join(names)} have different landmarks: {points} points per face. "
            "They cannot be mixed for privileged attribution."
        )
    images = MixedImages([part.images for part in parts], _shape(parts, size))
    if np.prod([float(side) for side in images.shape]) < MEMORY:
        images = images[:]

    def joined(field):
        return np.concatenate([getattr(part, field) for part in parts])

    return Faces(
        images,
        joined("targets"),
        joined("scored"),
        joined("rows"),
        labels,
        joined("landmarks") if None not in points else None,
        parts=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
    )


def _relabeled(faces, labels):
    """The faces that have one of the labels, with targets in their order."""
    shared = match(labels, faces.labels)
    targets = np.zeros((len(faces), len(labels)), "float32")
    known = shared.index >= 0
    targets[:, shared.columns[shared.index[known]]] = faces.targets[:, known]
    kept = known[faces.classes]
    targets = targets[kept] / targets[kept].sum(axis=1, keepdims=True)
    return dataclasses.replace(faces[kept], targets=targets, labels=tuple(labels))


def _shape(parts, size):
    """The common shape of the images."""
    shapes = {tuple(part.images.shape[1:]) for part in parts}
    sides = {shape[:2] for shape in shapes}
    height, width = sides.pop() if len(sides) == 1 else (size, size)
    return height, width, max(shape[-1] for shape in shapes)
