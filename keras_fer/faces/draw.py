"""Boxes and captions on an image."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_fer.faces.detect import Face
from keras_fer.faces.images import as_image

_COLOUR = (0, 120, 60)


def draw(image: np.ndarray, faces: list[Face]) -> np.ndarray:
    """Draws faces and what they express on a copy of an image.

    Args:
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, gray or RGB, 0–255.
        faces: The image's faces, from `analyze`, or from `detect` for boxes without
            captions.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: The array is not an image.
    """
    canvas = Image.fromarray(as_image(image))
    pen = ImageDraw.Draw(canvas)
    line = max(2, round(max(canvas.size) / 400))
    for face in faces:
        x, y, width, height = face.box
        corners = (x, y, x + width - 1, y + height - 1)
        pen.rectangle(corners, outline=_COLOUR, width=line)
    # Captions come last, so that no box crosses them.
    for face in faces:
        if face.label is not None:
            _caption(pen, canvas.size, face, f"{face.label} {face.confidence:.0%}")
    return np.array(canvas)


def _caption(pen, limits, face, text):
    x, y, width, height = face.box
    # About as wide as the face, but readable on small ones and modest on large ones.
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
    pen.rectangle((left, top, left + text_width, top + text_height), fill=_COLOUR)
    middle = (left + size / 4, top + text_height / 2)
    pen.text(middle, text, "white", font=font, anchor="lm")
