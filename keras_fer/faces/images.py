"""Image files and arrays to uint8 RGB, or one line that says why not."""

from __future__ import annotations

import glob
import os
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: 300 MB as RGB."""

SUFFIXES = frozenset(
    ".avif .bmp .gif .jfif .jpe .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split()
)
"""Suffixes of the image files in a folder."""


class ImageError(ValueError):
    """An image that cannot be used; the message is one line."""


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads an image file.

    Grayscale, palette, CMYK and 16-bit images become 8-bit RGB; transparent images are
    composited on white; the EXIF orientation is applied. Of an animation, the first
    frame is read, with a warning.

    Args:
        path: A file that Pillow can read.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: There is no such file, it is not an image or damaged, or it has
            more than `MAX_PIXELS` pixels.
    """
    path = os.fspath(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            # Between once and twice its own limit Pillow only warns; ours decides.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except Exception as error:  # Plugins raise many kinds on files that are not theirs.
        raise ImageError(
            f"{path!r} is not an image in a format that Pillow reads. Convert it to "
            "JPEG, PNG or WebP first."
        ) from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise _too_large(path, image.size)
        try:
            # MPO holds one photo and its preview: no animation.
            if getattr(image, "is_animated", False) and image.format != "MPO":
                warnings.warn(
                    f"{path!r} has several frames; only the first one is read.",
                    stacklevel=2,
                )
            image.seek(0)
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except ImageError as error:
            raise ImageError(f"{path!r} {error}") from None
        except Exception as error:  # As above: damage surfaces as many kinds.
            reason = str(error).split("\n")[0] or type(error).__name__
            raise ImageError(
                f"{path!r} is damaged: {reason.rstrip('.')}. Download or export it "
                "again."
            ) from error


def as_image(array: np.ndarray) -> np.ndarray:
    """Checks an image array and converts it to 8-bit RGB.

    Args:
        array: `(H, W)` or `(H, W, 1)` grayscale, or `(H, W, 3)` RGB; integers or
            floats from 0 to 255.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: Another rank, channel count, dtype or range.
    """
    array = np.asarray(array)
    shape = array.shape
    if array.ndim == 4:
        raise ImageError(
            f"image must be one image of shape (height, width, 3), got a batch, "
            f"{shape}. Call once per image of the batch."
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3)):
        alpha = array.ndim == 3 and shape[2] == 4
        raise ImageError(
            "image must have the shape (height, width), (height, width, 1) or "
            f"(height, width, 3), got {shape}. "
            + (
                "Drop the alpha channel with image[..., :3]."
                if alpha
                else "The channels come last."
            )
        )
    if array.size == 0:
        raise ImageError(
            f"image must have at least one pixel, got an empty one, {shape}. Check the "
            "slice or the file that it came from."
        )
    if array.dtype.kind not in "uif":
        raise ImageError(
            "image must hold integers or floats from 0 to 255, got dtype "
            f"{array.dtype}. Convert it with image.astype('uint8')."
        )
    if array.dtype != np.uint8:
        low, high = array.min(), array.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ImageError(
                "image must hold values from 0 to 255, got NaN or infinity. Replace "
                "them, for example with numpy.nan_to_num."
            )
        if low < 0 or high > 255:
            raise ImageError(
                f"image must hold values from 0 to 255, got {low:g} to {high:g}. Undo "
                "the normalization, or divide 16-bit values by 257."
            )
        if array.dtype.kind == "f" and 0 < high <= 1:
            raise ImageError(
                f"image must hold values from 0 to 255, got floats from {low:g} to "
                f"{high:g}, which look scaled to 0–1. Multiply them by 255."
            )
        array = np.rint(array).astype(np.uint8)
    if array.ndim == 2:
        array = array[..., None]
    return np.ascontiguousarray(np.broadcast_to(array, (*shape[:2], 3)))


def find_images(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> list[str]:
    """Expands folders and patterns to files.

    A folder becomes the images in it and in its subfolders (by suffix, sorted, without
    hidden ones), a pattern such as `"trip/**/*.jpg"` the files that match. Everything
    else is returned as it is. So are a folder without images and a pattern without a
    match: `read_image` raises for them, so one bad path does not end a long job.

    Args:
        paths: A path, a folder or a pattern, or a sequence of these.

    Returns:
        A list of paths, in the order given.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found = []
    for path in [os.fspath(path) for path in paths]:
        if os.path.isdir(path):
            matches = _images_in(path)
        elif glob.has_magic(path) and not os.path.lexists(path):
            matches = sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
        else:
            matches = []
        found.extend(matches or [path])
    return found


def _images_in(folder: str) -> list[str]:
    root = pathlib.Path(folder)
    return sorted(
        str(path)
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )


def _check_file(path: str) -> None:
    if os.path.isdir(path):
        raise ImageError(
            f"{path!r} is a folder, not an image. List its images with "
            "keras_fer.faces.find_images."
            if _images_in(path)
            else f"There are no images in the folder {path!r}. Their names must end in "
            f"{', '.join(sorted(SUFFIXES))}; name other files one by one."
        )
    if not os.path.exists(path):
        raise ImageError(
            f"No file matches the pattern {path!r}. Check the folder and the suffix."
            if glob.has_magic(path)
            else f"There is no file {path!r}. Check the name and the current folder, "
            f"{os.getcwd()!r}."
        )
    if not os.path.isfile(path) or os.path.getsize(path) == 0:
        raise ImageError(
            f"{path!r} is an empty or a special file. Download or export the image "
            "again."
        )


def _too_large(path: str, size: tuple[int, int] | None = None) -> ImageError:
    pixels = f"{size[0]}x{size[1]} pixels" if size else "too many pixels"
    return ImageError(
        f"{path!r} has {pixels}; at most {MAX_PIXELS:,} are read. Scale it down first."
    )


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):
        # 16-bit grayscale. Pillow's own conversion clips at 255 instead of scaling.
        gray = np.clip(np.asarray(image, dtype=np.float32) / 257, 0, 255)
        return np.repeat(gray.round().astype(np.uint8)[..., None], 3, axis=-1)
    if image.mode == "F":
        raise ImageError(
            "is a floating-point image, whose range is unknown. Convert it to 8 or 16 "
            "bits per channel first."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))
