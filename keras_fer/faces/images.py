"""Images as people have them to uint8 RGB arrays, or one clear line why not."""

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
"""What counts as an image inside a folder."""


class ImageError(ValueError):
    """An image that cannot be used; the message is one line."""


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads an image file.

    Gray, palette, CMYK and 16-bit images become 8-bit RGB, transparency is laid on
    white, the EXIF orientation is applied. Of an animation the first frame is taken,
    with a warning.

    Args:
        path: A file that Pillow can read.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: There is no such file, or it is not an image, is damaged, or
            has more than `MAX_PIXELS` pixels.
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
            f"Not an image. Received: {path!r}. Expected a format that Pillow reads, "
            "such as JPEG, PNG or WebP; convert other files first."
        ) from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise _too_large(path, image.size)
        try:
            # MPO is how phones store one photo with its preview: no animation.
            if getattr(image, "is_animated", False) and image.format != "MPO":
                warnings.warn(
                    f"{path!r} has several frames; only the first one is read.",
                    stacklevel=2,
                )
            image.seek(0)
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except ImageError as error:
            raise ImageError(f"{error} Received: {path!r}.") from None
        except Exception as error:  # As above: damage surfaces as many kinds.
            reason = str(error).split("\n")[0] or type(error).__name__
            raise ImageError(
                f"Damaged image: {reason}. Received: {path!r}. Expected a complete "
                "file; download or export it again."
            ) from error


def as_image(array: np.ndarray) -> np.ndarray:
    """Checks an array given in place of a file.

    Args:
        array: `(H, W)` or `(H, W, 1)` gray, or `(H, W, 3)` RGB; integers or floats
            from 0 to 255.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: Another rank, channel count, dtype or range.
    """
    array = np.asarray(array)
    shape = array.shape
    if array.ndim == 4:
        raise ImageError(
            f"Expected one image of shape (height, width, 3). Received: shape={shape}"
            ", a batch. Call once for each image of the batch."
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3)):
        alpha = array.ndim == 3 and shape[2] == 4
        raise ImageError(
            "Expected an image of shape (height, width), (height, width, 1) or "
            f"(height, width, 3). Received: shape={shape}. "
            + (
                "Drop the alpha channel with image[..., :3]."
                if alpha
                else "The channels come last."
            )
        )
    if array.size == 0:
        raise ImageError(
            f"Expected at least one pixel. Received: shape={shape}, an empty image. "
            "Check the slice or the file that it came from."
        )
    if array.dtype.kind not in "uif":
        raise ImageError(
            "Expected integers or floats from 0 to 255. "
            f"Received: dtype={array.dtype}. Convert with image.astype('uint8')."
        )
    if array.dtype != np.uint8:
        low, high = array.min(), array.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ImageError(
                "Expected finite values from 0 to 255. Received: NaN or infinity. "
                "Replace them, for example with numpy.nan_to_num."
            )
        if low < 0 or high > 255:
            raise ImageError(
                f"Expected values from 0 to 255. Received: {low:g} to {high:g}. "
                "Undo the normalization, or divide 16-bit values by 257."
            )
        if array.dtype.kind == "f" and 0 < high <= 1:
            raise ImageError(
                f"Expected values from 0 to 255. Received: floats from {low:g} to "
                f"{high:g}, which look scaled to 0-1. Multiply them by 255."
            )
        array = np.rint(array).astype(np.uint8)
    if array.ndim == 2:
        array = array[..., None]
    return np.ascontiguousarray(np.broadcast_to(array, (*shape[:2], 3)))


def find_images(
    paths: str | os.PathLike | Sequence[str | os.PathLike],
) -> list[str]:
    """Expands folders and patterns to files.

    Folders give the images in them and in their subfolders (by suffix, sorted,
    hidden ones left out), patterns such as `"trip/**/*.jpg"` the files they match.
    Everything else stays as it is, and so does a folder without images or a pattern
    without a match: `read_image` says what is wrong with it when its turn comes, so
    that one bad item does not end a long job.

    Args:
        paths: A path, or several.

    Returns:
        A list of paths, in the order given.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found = []
    for path in map(os.fspath, paths):
        if os.path.isdir(path):
            matches = _images_in(path)
        elif glob.has_magic(path) and not os.path.lexists(path):
            matches = sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
        else:
            matches = []
        found.extend(matches or [path])
    return found


def _images_in(folder):
    root = pathlib.Path(folder)
    return sorted(
        str(path)
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )


def _check_file(path):
    if os.path.isdir(path):
        raise ImageError(
            f"A folder, not an image. Received: {path!r}. Expected an image file; "
            "list the folder's images with keras_fer.faces.find_images."
            if _images_in(path)
            else f"No images in the folder. Received: {path!r}. Expected files that "
            f"end in {', '.join(sorted(SUFFIXES))}; name other files one by one."
        )
    if not os.path.exists(path):
        raise ImageError(
            f"No file matches the pattern. Received: {path!r}. Expected a pattern "
            "such as 'photos/*.jpg'; check the folder and the suffix."
            if glob.has_magic(path)
            else f"No such file. Received: {path!r}. Expected an image file; check "
            f"the name and the current folder, {os.getcwd()!r}."
        )
    if not os.path.isfile(path) or os.path.getsize(path) == 0:
        raise ImageError(
            f"Nothing to read. Received: {path!r}, an empty or a special file. "
            "Expected an image file; download or export it again."
        )


def _too_large(path, size=None):
    size = f"{size[0]}x{size[1]} pixels" if size else "even more"
    return ImageError(
        f"Image too large. Received: {path!r}, {size}. Expected at most "
        f"{MAX_PIXELS:,} pixels; scale it down first."
    )


def _to_rgb(image):
    if image.mode.startswith("I"):
        # 16-bit gray. Pillow's own conversion clips at 255 instead of scaling.
        gray = np.clip(np.asarray(image, dtype=np.float32) / 257, 0, 255)
        return as_image(gray.round().astype(np.uint8))
    if image.mode == "F":
        raise ImageError(
            "Expected 8 or 16 bits a channel: the range of a floating-point image "
            "is not known; convert it first."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))
