"""Boxes, captions and saliency maps on an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_fer.faces.detect.base import Face, percent
from keras_fer.faces.images import as_image

_COLOR = (0, 120, 60)

# Size in pixels of the smallest text that is easy to read.
_LEAST_TEXT = 11

# Left, top, right, bottom.
_Plate = tuple[float, float, float, float]


def draw(image: np.ndarray, faces: list[Face]) -> np.ndarray:
    """Draws boxes and labels of faces on a copy of an image.

    Args:
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, grayscale or RGB, 0–255.
        faces: The image's faces, from `analyze`, or from `detect` for boxes without
            captions.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: The array is not an image.
    """
    return draw_in(as_image(image), faces)


def draw_in(image: np.ndarray, faces: Sequence[Face]) -> np.ndarray:
    """`draw` for an image that is known to be `(H, W, 3)` uint8 RGB."""
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    line = max(2, round(max(canvas.size) / 400))
    for face in faces:
        x, y, width, height = face.box
        corners = (x, y, x + width - 1, y + height - 1)
        pen.rectangle(corners, outline=_COLOR, width=line)
    # Captions come last, so that no box crosses them.
    taken: list[_Plate] = []
    for face in faces:
        if face.label is not None:
            taken.append(_caption(pen, canvas.size, face, taken))
    return np.array(canvas)


def draw_resized(
    image: np.ndarray, faces: Sequence[Face], least: int = 1, most: int | None = None
) -> np.ndarray:
    """Draws boxes and labels of faces on a copy of an image that is resized if need be.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        faces: Its faces.
        least: Longer side in pixels to which smaller images are enlarged.
        most: Longer side to which larger images are reduced; `None` for no limit.

    Returns:
        `(h, w, 3)` uint8 RGB.
    """
    side = max(image.shape[:2])
    wanted = max(side, least) if most is None else int(np.clip(side, least, most))
    if wanted == side:
        return draw_in(image, faces)
    scale = wanted / side
    height, width = (max(1, round(length * scale)) for length in image.shape[:2])
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
    moved = []
    for face in faces:
        x, y, box_width, box_height = (round(value * scale) for value in face.box)
        box = (x, y, max(1, box_width), max(1, box_height))
        moved.append(dataclasses.replace(face, box=box))
    return draw_in(np.asarray(resized), moved)


def overlay(image: np.ndarray, heat: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Blends a saliency map over an image, in the colors of Matplotlib's viridis.

    Where the map is 0, the image is unchanged.

    Args:
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, grayscale or RGB, 0–255.
        heat: `(H, W)` in [0, 1].
        opacity: Weight of the color where the map is 1, in [0, 1].

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: The array is not an image.
        ValueError: The map has another size or range, or `opacity` is out of range.
    """
    return overlay_in(as_image(image), heat, opacity)


def overlay_in(image: np.ndarray, heat: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """`overlay` for an image that is known to be `(H, W, 3)` uint8 RGB."""
    import matplotlib

    heat = np.asarray(heat, dtype="float32")
    if heat.shape != image.shape[:2]:
        raise ValueError(
            f"heat must have the image's height and width, {image.shape[:2]}, got "
            f"{heat.shape}. Overlay maps on the images that were explained, or map "
            "one of a crop back with keras_fer.faces.paste_heatmap."
        )
    if not ((heat >= 0) & (heat <= 1)).all():
        raise ValueError(
            f"heat must be from 0 to 1, got {heat.min():g} to {heat.max():g}. Divide "
            "it by its maximum."
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must be from 0 to 1, got {opacity!r}.")
    colors = matplotlib.colormaps["viridis"](heat)[..., :3] * 255
    share = opacity * heat[..., None]
    blend: np.ndarray = np.rint((1 - share) * image + share * colors).astype(np.uint8)
    return blend


def _caption(
    pen: ImageDraw.ImageDraw, limits: tuple[int, int], face: Face, taken: list[_Plate]
) -> _Plate:
    """Draws a caption near a face, where possible not on others; returns its plate."""
    x, y, width, height = face.box
    # About as wide as the face, but legible on small faces, also where a large image
    # is seen as a whole, and not huge on large ones.
    least = max(_LEAST_TEXT, max(limits) / 80)
    size = float(np.clip(width / 7, least, max(least, max(limits) / 30)))
    lines = [f"{face.label}", percent(face.confidence or 0)]
    if _width(pen, " ".join(lines), size) <= limits[0]:
        lines = [" ".join(lines)]
    widest = max(_width(pen, line, size) for line in lines)
    # Never wider than the image.
    size = max(1.0, size * min(1.0, limits[0] / widest))
    plate_width = max(_width(pen, line, size) for line in lines)
    plate_height = size * 1.25 * len(lines) + size / 4
    left = max(0.0, min(x, limits[0] - plate_width))
    lowest = max(0.0, limits[1] - plate_height)
    above, below, inside = y - plate_height, y + height, min(y, lowest)
    tops = [top for top in (above, below) if 0 <= top <= lowest] + [inside]
    plates = [(left, top, left + plate_width, top + plate_height) for top in tops]
    free = [plate for plate in plates if not any(_overlap(plate, o) for o in taken)]
    plate = (free or plates)[0]
    pen.rectangle(plate, fill=_COLOR)
    font = ImageFont.load_default(size)
    for number, line in enumerate(lines):
        middle = plate[1] + size * (0.75 + 1.25 * number)
        pen.text((left + size / 4, middle), line, "white", font=font, anchor="lm")
    return plate


def _width(pen: ImageDraw.ImageDraw, line: str, size: float) -> float:
    """Width of a caption's plate."""
    return pen.textlength(line, ImageFont.load_default(size)) + size / 2


def _overlap(one: _Plate, other: _Plate) -> bool:
    return (
        one[0] < other[2]
        and other[0] < one[2]
        and one[1] < other[3]
        and other[1] < one[3]
    )
