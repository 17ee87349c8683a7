"""Heatmaps of facial landmarks: where PAL guides the attribution of a model to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

INNER_LANDMARKS = slice(17, 68)
"""Brows, nose, eyes and mouth among the 68 landmarks of iBUG; 0 to 16 are the jaw."""


def landmark_heatmap(
    landmarks: Any, size: int | Sequence[int], sigma: float = 3 / 224
) -> Any:
    """Draws each landmark as a Gaussian; their sum is scaled to a maximum of 1.

    The privileged information of PAL (Bonnard et al., arXiv 2203.12905). Our
    interpretation: a spatial position holds the mean of the Gaussian over its area, not
    the value at its center, so that coarse heatmaps neither lose nor favor a landmark;
    and the standard deviation is 3 pixels at 224.

    Args:
        landmarks: `(B, N, 2)`, x and y as fractions of the image's width and height,
            0 at the left and upper edge. A landmark with a NaN is left out, so a face
            without landmarks is a row of NaN. PAL uses the 51 inner ones:
            `landmarks[:, INNER_LANDMARKS]`.
        size: Side of the heatmap in spatial positions, or `(height, width)`.
        sigma: Standard deviation as a fraction of the image's sides.

    Returns:
        `(B, height, width)` float32 in [0, 1], with a maximum of 1; all zeros for a
        face without a landmark in the image.

    Raises:
        ValueError: The landmarks have another shape, or `size` or `sigma` is not
            positive.
    """
    landmarks = ops.convert_to_tensor(landmarks)
    if len(landmarks.shape) != 3 or landmarks.shape[-1] != 2:
        raise ValueError(
            "landmarks must have the shape (batch, points, 2), got "
            f"{tuple(landmarks.shape)}. Add the batch axis to those of a single face "
            "with landmarks[None]."
        )
    sides: Any = (size, size) if np.ndim(size) == 0 else size
    height, width = sides
    if not (min(height, width) >= 1 and int(height) == height and int(width) == width):
        raise ValueError(
            "size must be a positive integer or two of them, (height, width), got "
            f"{size!r}."
        )
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma!r}.")
    landmarks = ops.cast(landmarks, "float32")
    known = ops.logical_not(ops.any(ops.isnan(landmarks), axis=-1, keepdims=True))
    landmarks = ops.where(known, landmarks, 0.0)
    columns = _share(landmarks[..., 0], width, sigma)
    rows = _share(landmarks[..., 1], height, sigma) * ops.cast(known, "float32")
    heatmap = ops.einsum("bnh,bnw->bhw", rows, columns)
    highest = ops.max(heatmap, axis=(1, 2), keepdims=True)
    # The tail of a landmark outside the image is not a landmark in it.
    seen = highest > 0.01 / (height * width)
    return ops.where(seen, heatmap / ops.where(seen, highest, 1.0), 0.0)


def average_heatmap(heatmap: Any, size: Sequence[int]) -> Any:
    """Averages heatmaps over the area of each spatial position of another size.

    A pixel at the border of two positions counts in both, by its share in each. Where
    `H` and `W` are multiples of the new size, the average of a `landmark_heatmap` is,
    up to its scale, the `landmark_heatmap` of that size.

    Args:
        heatmap: `(B, H, W)`.
        size: `(height, width)` of the result.

    Returns:
        `(B, height, width)` float32 (float64 for float64 heatmaps), in the range of
        `heatmap`.
    """
    heatmap = ops.convert_to_tensor(heatmap)
    dtype = keras.backend.standardize_dtype(heatmap.dtype)
    heatmap = ops.cast(heatmap, "float64" if dtype == "float64" else "float32")
    old_height, old_width = ops.shape(heatmap)[1:]
    rows = ops.cast(_overlap(old_height, size[0]), heatmap.dtype)
    columns = ops.cast(_overlap(old_width, size[1]), heatmap.dtype)
    return ops.matmul(ops.matmul(rows, heatmap), ops.transpose(columns))


def _overlap(old: Any, new: int) -> Any:
    """Fraction of each of `new` spatial positions that each of `old` pixels covers."""
    # In units of 1 / (old * new), all edges are integers.
    pixels = ops.arange(old, dtype="int32") * new
    positions = ops.arange(new, dtype="int32")[:, None] * old
    ends = ops.minimum(pixels + new, positions + old)
    return ops.maximum(ends - ops.maximum(pixels, positions), 0) / old


def _share(positions: Any, number: int, sigma: float) -> Any:
    """Share of each Gaussian in each of a number of spatial positions on an axis."""
    edges = ops.arange(number + 1, dtype="float32") / number
    below = ops.erf((edges - positions[..., None]) / (sigma * 2**0.5))
    # Rounding makes some differences of nearly equal numbers negative.
    return ops.maximum(below[..., 1:] - below[..., :-1], 0.0) / 2


def check_heatmap(heatmap: Any) -> None:
    """Raises if a heatmap has negative or non-finite values.

    Inside a compiled function tensors have no values yet, and nothing is checked.

    Args:
        heatmap: An array or tensor, `(B, H, W)`.

    Raises:
        ValueError: A value is negative or not finite.
    """
    if not _has_values(heatmap):
        return
    heatmap = ops.convert_to_numpy(heatmap)
    wrong = ~np.isfinite(heatmap) | (heatmap < 0)
    if wrong.any():
        rows = np.flatnonzero(wrong.reshape(len(heatmap), -1).any(axis=1))
        raise ValueError(
            "heatmap must be finite and at least 0; there are negative or non-finite "
            f"values in {len(rows)} of {len(heatmap)} heatmaps, the first at index "
            f"{rows[0]}. For a face without landmarks pass zeros, as landmark_heatmap "
            "returns for landmarks that are NaN."
        )


def _has_values(tensor: Any) -> bool:
    if isinstance(tensor, np.ndarray):
        return True
    if not ops.is_tensor(tensor):
        return False
    if keras.backend.backend() == "tensorflow":
        return hasattr(tensor, "numpy")
    import jax

    return not isinstance(tensor, jax.core.Tracer)
