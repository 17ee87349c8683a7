"""All forms of an image that `keras_fer.analyze` takes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, TypeAlias

import numpy as np
from PIL import Image

from keras_fer.faces.images import ImageError, as_image, decode, to_rgb
from keras_fer.faces.url import download, is_url

CHANNEL_ORDERS = ("rgb", "bgr")

AnyImage: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | Image.Image
    | np.ndarray
)


def open_image(
    image: AnyImage,
    channel_order: str = "rgb",
    warn: Callable[[str], object] = warnings.warn,
) -> np.ndarray:
    """Reads an image in any of its forms.

    Args:
        image: See `keras_fer.analyze`.
        channel_order: `"rgb"` or `"bgr"`, for arrays.
        warn: What takes the warnings of `read_image`.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: It is not a usable image.
    """
    if isinstance(image, str) and is_url(image):
        return _of(repr(image), download(image), warn)
    if isinstance(image, (str, os.PathLike)):
        return decode(image, warn)
    if isinstance(image, (bytes, bytearray, memoryview)):
        return decode(bytes(image), warn)
    if isinstance(image, Image.Image):
        try:
            return to_rgb(image)
        except ImageError as error:
            raise ImageError(f"The image {error}") from None
    if hasattr(image, "read"):
        content = image.read()
        if not isinstance(content, bytes):
            raise ImageError(
                "A file object must return bytes. Open the file with open(path, 'rb')."
            )
        name = getattr(image, "name", None)
        shown = repr(name) if isinstance(name, str) else "The image"
        return _of(shown, content, warn)
    return _of_array(np.asarray(image), channel_order)


def check_channel_order(channel_order: str) -> None:
    """Raises a `ValueError` unless it is `"rgb"` or `"bgr"`."""
    if channel_order not in CHANNEL_ORDERS:
        raise ValueError(
            f"channel_order must be 'rgb' or 'bgr', got {channel_order!r}."
        )


def several(images: Any) -> Iterator[AnyImage] | None:
    """An iterator over images, or `None` if it is a single one."""
    single = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
    if isinstance(images, single) or hasattr(images, "read"):
        return None
    if hasattr(images, "__array__") or not isinstance(images, Iterable):
        return None
    return iter(images)


def _of(name: str, content: bytes, warn: Callable[[str], object]) -> np.ndarray:
    """The image in a file that has been read."""
    try:
        return decode(content, warn)
    except ImageError as error:
        raise ImageError(f"{name}{str(error).removeprefix('The image')}") from None


def _of_array(array: np.ndarray, channel_order: str) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise ImageError(
            "image must be a path, a URL, bytes, a file object, a PIL image or an "
            f"array of numbers, got an object of dtype {array.dtype}."
        )
    if channel_order == "bgr" and array.ndim == 3 and array.shape[2] in (3, 4):
        array = array[..., [2, 1, 0, 3][: array.shape[2]]]
    if array.ndim == 3 and array.shape[2] == 4 and array.dtype == np.uint8:
        # Composited on white, as files are.
        return to_rgb(Image.fromarray(np.ascontiguousarray(array)))
    return as_image(array)
