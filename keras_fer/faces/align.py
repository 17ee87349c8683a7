"""The upright square around a face, as models were trained on it."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from keras_fer.faces.detect.base import Face
from keras_fer.faces.images import as_image

MARGIN = 0.0
"""Default margin. `benchmarks/crop_margin.py` finds it best for MTCNN and Haar, and
within noise of the best, -0.05, for YuNet."""

# Eyes closer to each other than this share of the box belong to a face in profile,
# where the line through them does not show the roll of the head.
_MIN_EYE_DISTANCE = 0.15


def crop(
    image: np.ndarray, face: Face, margin: float = MARGIN, align: bool = True
) -> np.ndarray:
    """Crops a face to a square.

    The square is centered on the face's box; its side is the longer side of the box,
    extended by `margin` on each of the four sides. With `align` it is rotated until
    the eyes are level. Outside the image, its border is repeated.

    Args:
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, grayscale or RGB, 0–255.
        face: A `Face` of that image.
        margin: Share of the box's longer side, above -0.5.
        align: Whether to level the eyes, where the face has landmarks.

    Returns:
        `(S, S, 3)` uint8 RGB at the image's own resolution.

    Raises:
        ImageError: The array is not an image.
        ValueError: `margin` is out of range.
    """
    return crop_in(as_image(image), face, margin, align)


def crop_in(
    image: np.ndarray, face: Face, margin: float = MARGIN, align: bool = True
) -> np.ndarray:
    """`crop` for an image that is known to be `(H, W, 3)` uint8 RGB."""
    import cv2

    side, matrix, window = _placement(face, margin, align)
    square: np.ndarray = cv2.warpAffine(
        image[window],
        matrix,
        (side, side),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return square


def paste_heatmap(
    heat: np.ndarray,
    image_shape: tuple[int, ...],
    face: Face,
    margin: float = MARGIN,
    align: bool = True,
) -> np.ndarray:
    """Maps a heatmap of a crop back into the image: the inverse of `crop`.

    Args:
        heat: `(S, S)` floats over the crop, at any resolution.
        image_shape: Shape of the image, `(H, W)` or `(H, W, 3)`.
        face: The `Face` that was cropped.
        margin: As for `crop`.
        align: As for `crop`.

    Returns:
        `(H, W)` float32, zero outside the crop.

    Raises:
        ValueError: The heatmap is not square, or `margin` is out of range.
    """
    import cv2

    heat = np.asarray(heat, dtype=np.float32)
    if heat.ndim != 2 or heat.shape[0] != heat.shape[1] or heat.size == 0:
        raise ValueError(
            "heat must be one map of shape (side, side), square like the crop, got "
            f"{heat.shape}. Call once per face."
        )
    side, matrix, window = _placement(face, margin, align)
    # Pillow's filter is antialiased where the crop is smaller than the map.
    square = Image.fromarray(heat).resize((side, side), Image.Resampling.BILINEAR)
    whole = np.zeros(image_shape[:2], np.float32)
    part = whole[window]
    part[:] = cv2.warpAffine(np.asarray(square), matrix, part.shape[::-1])
    return whole


def _placement(
    face: Face, margin: float, align: bool
) -> tuple[int, np.ndarray, tuple[slice, slice]]:
    """Where a crop lies in its image.

    Returns:
        The side of the crop; the `(2, 3)` matrix from its pixels to those of a window
        of the image; and that window, two slices, which contains the crop. OpenCV does
        not warp images of 32768 pixels a side, so only windows are warped.
    """
    if not -0.5 < margin < math.inf:
        raise ValueError(f"margin must be a number above -0.5, got {margin!r}.")
    x, y, width, height = face.box
    side = max(1, round(max(width, height) * (1 + 2 * margin)))
    angle = _roll(face) if align else 0.0

    # Pixel (u, v) of the crop shows point center + R (u, v), measured from the
    # centers of both. Half a pixel: OpenCV counts from the center of the first one.
    center = np.array([x + width / 2, y + height / 2]) - 0.5
    rotation = np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    reach = math.ceil(side * 0.75) + 3
    left, top = np.maximum(np.floor(center).astype(int) - reach, 0)
    right, bottom = np.floor(center).astype(int) + reach + 1
    offset = center - (left, top) - rotation @ np.full(2, (side - 1) / 2)
    window = (slice(top, bottom), slice(left, right))
    return side, np.column_stack([rotation, offset]), window


def _roll(face: Face) -> float:
    """Angle of the line through the eyes, in radians, clockwise in the image."""
    if face.landmarks is None:
        return 0.0
    left, right = np.asarray(face.landmarks[:2], dtype=float)
    across, down = right - left
    if math.hypot(across, down) < _MIN_EYE_DISTANCE * max(face.box[2:]):
        return 0.0
    return math.atan2(down, across)
