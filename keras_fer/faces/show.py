"""What notebooks show of results: images with their faces."""

from __future__ import annotations

import contextlib
import io
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np
from PIL import Image

from keras_fer.faces.detect.base import Face
from keras_fer.faces.draw import draw_resized
from keras_fer.faces.images import ImageError
from keras_fer.faces.inputs import AnyImage, open_image
from keras_fer.faces.url import is_url

# Longer sides in pixels: captions are legible above the first, and more than the second
# does not fit on a page.
_LEAST, _MOST = 320, 960
# Side of an image in a sheet of several.
_TILE = 320
_COLUMNS = 3


class ShownFaces(list[Face]):
    """The faces of an image; Jupyter shows them on it.

    The image is not kept: it is read again from its file, or taken from the array or
    PIL image of the caller if that still exists. Otherwise the list is shown as text.
    Copies and pickles are plain lists.

    Args:
        faces: The faces.
        image: The image that they are in, as for `keras_fer.analyze`.
        channel_order: See `keras_fer.analyze`.
    """

    def __init__(
        self, faces: Iterable[Face], image: AnyImage, channel_order: str = "rgb"
    ) -> None:
        super().__init__(faces)
        self._image = _reference(image)
        self._channel_order = channel_order

    def _repr_png_(self) -> bytes | None:
        image = self._image()
        if image is None:
            return None
        with contextlib.suppress(ImageError, OSError):
            return to_png(
                draw_resized(
                    open_image(image, self._channel_order), self, _LEAST, _MOST
                )
            )
        return None

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return list, (list(self),)


def sheet(images: Iterable[tuple[np.ndarray, Sequence[Face]]]) -> np.ndarray | None:
    """Draws several images with their faces side by side.

    Args:
        images: Images, `(H, W, 3)` uint8 RGB, and their faces.

    Returns:
        `(H, W, 3)` uint8 RGB; `None` for no images.
    """
    tiles = []
    for image, faces in images:
        tile = np.full((_TILE, _TILE, 3), 255, np.uint8)
        small = draw_resized(image, faces, _TILE, _TILE)
        top, left = ((_TILE - side) // 2 for side in small.shape[:2])
        tile[top : top + small.shape[0], left : left + small.shape[1]] = small
        tiles.append(tile)
    if not tiles:
        return None
    columns = min(_COLUMNS, len(tiles))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def to_png(image: np.ndarray) -> bytes:
    """An image, `(H, W, 3)` uint8 RGB, as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _reference(image: AnyImage) -> Callable[[], Any]:
    """A function that returns an image as long as somebody else keeps it."""
    if isinstance(image, (str, os.PathLike)):
        path = None if isinstance(image, str) and is_url(image) else image
        return lambda: path
    try:
        return weakref.ref(image)
    except TypeError:  # Bytes, for example.
        return lambda: None
