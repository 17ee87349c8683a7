"""Image files and arrays to uint8 RGB, or one line that says why not."""

from __future__ import annotations

import contextlib
import functools
import glob
import importlib
import io
import logging
import os
import pathlib
import re
import threading
import warnings
from collections.abc import Callable, Sequence

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from keras_fer.console import without_native_output

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: 300 MB as RGB."""

SUFFIXES = frozenset(
    ".avif .bmp .gif .jfif .jpe .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split()
)
"""Suffixes of the image files in a folder."""

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are opened, whatever a file is called. Pillow knows more, among them
some that start other programs."""

MAX_SCANS = 100
"""JPEG files of more scans are refused; progressive ones usually have ten."""

# Pillow would import the modules of all its formats.
_PLUGINS = (
    "AvifImagePlugin",
    "BmpImagePlugin",
    "GifImagePlugin",
    "JpegImagePlugin",
    "PngImagePlugin",
    "PpmImagePlugin",
    "TiffImagePlugin",
    "WebPImagePlugin",
)

# Every row takes time of its own, however narrow the image.
_LONGEST_SIDE = 100_000

# Decoders that keep more than the pixels take more memory and time per pixel.
_MAX_BUFFERED = 50_000_000
_MAX_PROGRESSIVE = 80_000_000
_MAX_SCANNED = 800_000_000

# Pixels that are converted at once.
_BAND = 2**22

# A JPEG marker: neither stuffing (FF 00), a restart (FF D0-D7) nor padding (FF FF).
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")

# By EXIF orientation, the view of an upright array as the file stores it.
_STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}

# Without a handler, Python prints what Pillow logs.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class _WithoutWarnings:
    """Ignores warnings, in several threads at once.

    Filters are the process's: what each thread saved and restored itself would stay as
    another thread had changed it. So the first to enter saves, the last restores.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._saved.__exit__(None, None, None)


# Pillow's warnings are about details of a file that change nothing here.
_WITHOUT_WARNINGS = _WithoutWarnings()


class ImageError(ValueError):
    """An image that cannot be used; the message is one line."""


def read_image(path: str | os.PathLike[str] | bytes) -> np.ndarray:
    """Reads an image file.

    Grayscale, palette, CMYK and 16-bit images become 8-bit RGB; transparent images are
    composited on white; the EXIF orientation is applied. Of an animation, the first
    frame is read, with a warning.

    Args:
        path: An AVIF, BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file, whatever its name;
            or the bytes of such a file.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: There is no such file, it is not an image in one of these formats
            or damaged, a side is longer than 100,000 pixels, or it has too many
            pixels: more than `MAX_PIXELS`, or fewer in a format whose decoder would
            need more than a gigabyte or a few seconds.
    """
    return decode(path, functools.partial(warnings.warn, stacklevel=3))


def decode(
    path: str | os.PathLike[str] | bytes, warn: Callable[[str], object]
) -> np.ndarray:
    """`read_image` with a function that takes its warnings."""
    file: str | io.BytesIO
    if isinstance(path, bytes):
        name, file = "The image", io.BytesIO(path)
    else:
        file = os.fspath(path)
        name = repr(file)
        _check_file(file)
    for plugin in _PLUGINS:
        importlib.import_module(f"PIL.{plugin}")
    try:
        with _WITHOUT_WARNINGS, Image.open(file, formats=FORMATS) as image:
            _check_size(file, image)
            # MPO holds one photo and its preview: no animation.
            animated = getattr(image, "is_animated", False)
            animated = animated and image.format != "MPO"
            image.seek(0)
            with _quiet(image):
                image.load()
            rgb = to_rgb(image)
    except ImageError as error:
        raise ImageError(f"{name} {error}") from None
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name} is not an image in a format that is read: "
            f"{', '.join(FORMATS)}. Convert it to JPEG, PNG or WebP first."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} {_too_large()}") from error
    except Exception as error:  # Damaged files raise errors of many kinds.
        reason = str(error).split("\n")[0] or type(error).__name__
        raise ImageError(
            f"{name} is damaged: {reason.rstrip('.')}. Download or export it again."
        ) from error
    if animated:
        warn(f"{name} has several frames; only the first one is read.")
    return rgb


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


def _check_size(file: str | io.BytesIO, image: Image.Image) -> None:
    """Bounds time and memory by what the header says, before anything is decoded."""
    if max(image.size) > _LONGEST_SIDE:
        raise ImageError(
            f"has {image.width}x{image.height} pixels; sides of at most "
            f"{_LONGEST_SIDE:,} are read. Crop it first."
        )
    pixels = image.width * image.height
    limit = MAX_PIXELS
    if image.format in ("AVIF", "WEBP"):
        limit = _MAX_BUFFERED
    elif image.format in ("JPEG", "MPO"):
        if isinstance(file, str):
            scans = count_scans(pathlib.Path(file).read_bytes())
        else:
            scans = count_scans(file.getvalue())
        if scans > MAX_SCANS:
            raise ImageError(
                f"is a JPEG of {scans} scans; at most {MAX_SCANS} are read. Save it "
                "again as a baseline JPEG."
            )
        if scans > 1:
            # The coefficients of all channels are kept, and each scan passes over them.
            limit = min(_MAX_PROGRESSIVE, _MAX_SCANNED // scans)
    if pixels > limit:
        raise ImageError(_too_large(image, limit))


def _quiet(image: Image.Image) -> contextlib.AbstractContextManager[None]:
    # The JPEG decoder inside libtiff prints what is wrong with a file.
    if image.format == "TIFF":
        return without_native_output()
    return contextlib.nullcontext()


def count_scans(jpeg: bytes) -> int:
    """Counts the scans of a JPEG file, at least 1."""
    scans, at = 0, 2
    while marker := _MARKER.search(jpeg, at):
        at = marker.end()
        kind = marker[0][-1]
        if kind == 0xD9:  # End of image.
            break
        scans += kind == 0xDA
        at += int.from_bytes(jpeg[at : at + 2])  # The segment; coded data follows.
    return max(scans, 1)


def _too_large(image: Image.Image | None = None, limit: int = MAX_PIXELS) -> str:
    pixels = f"{image.width}x{image.height} pixels" if image else "too many pixels"
    return f"has {pixels}; at most {limit:,} are read. Scale it down first."


def to_rgb(image: Image.Image) -> np.ndarray:
    """A decoded image as `(H, W, 3)` uint8 RGB, upright.

    It is converted in bands, so that the memory of a whole image is needed twice only:
    for Pillow's pixels and for the result.

    Raises:
        ImageError: Its values are floats.
    """
    if image.mode == "F":
        raise ImageError(
            "is a floating-point image, whose range is unknown. Convert it to 8 or 16 "
            "bits per channel first."
        )
    width, height = image.size
    orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    turned = orientation in (5, 6, 7, 8)
    rgb = np.empty((width, height, 3) if turned else (height, width, 3), np.uint8)
    stored = _STORED[orientation](rgb) if orientation in _STORED else rgb
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        stored[top:bottom] = _bandto_rgb(image.crop((0, top, width, bottom)))
    return rgb


def _bandto_rgb(band: Image.Image) -> np.ndarray:
    if band.mode.startswith("I"):
        # 16-bit grayscale. Pillow's own conversion clips at 255 instead of scaling.
        gray = np.clip(np.asarray(band, dtype=np.float32) / 257, 0, 255)
        return gray.round().astype(np.uint8)[..., None]
    if band.has_transparency_data:
        band = band.convert("RGBA")
        band = Image.alpha_composite(Image.new("RGBA", band.size, "white"), band)
    return np.asarray(band.convert("RGB"))
