"""Boxes, captions and saliency maps on an image."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_fer.faces.detect.base import Face, percent
from keras_fer.faces.images import as_image

_COLOR = (0, 120, 60)


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


def draw_in(image: np.ndarray, faces: list[Face]) -> np.ndarray:
    """`draw` for an image that is known to be `(H, W, 3)` uint8 RGB."""
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    line = max(2, round(max(canvas.size) / 400))
    for face in faces:
        x, y, width, height = face.box
        corners = (x, y, x + width - 1, y + height - 1)
        pen.rectangle(corners, outline=_COLOR, width=line)
    # Captions come last, so that no box crosses them.
    for face in faces:
        if face.label is not None:
            _caption(
                pen, canvas.size, face, f"{face.label} {percent(face.confidence or 0)}"
            )
    return np.array(canvas)


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
    pen: ImageDraw.ImageDraw, limits: tuple[int, int], face: Face, text: str
) -> None:
    x, y, width, height = face.box
    # About as wide as the face, but legible on small and not huge on large ones.
    size = float(np.clip(width / 7, 11, max(11, max(limits) / 30)))
    needed = pen.textlength(text, ImageFont.load_default(size)) + size / 2
    size *= min(1.0, limits[0] / needed)  # Never wider than the image.
    font = ImageFont.load_default(max(1, size))
    text_width = pen.textlength(text, font) + size / 2
    text_height = size * 1.5
    # Above the box; below it at the image's upper edge; always inside the image.
    top = y - text_height if y >= text_height else y + height
    top = max(0, min(top, limits[1] - text_height))
    left = max(0, min(x, limits[0] - text_width))
    pen.rectangle((left, top, left + text_width, top + text_height), fill=_COLOR)
    middle = (left + size / 4, top + text_height / 2)
    pen.text(middle, text, "white", font=font, anchor="lm")
