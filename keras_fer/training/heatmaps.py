"""Heatmaps of facial landmarks: where a model should look while it learns."""

import keras
import numpy as np
from keras import ops

INNER_LANDMARKS = slice(17, 68)
"""Brows, nose, eyes and mouth among the 68 landmarks of iBUG; 0 to 16 are the jaw."""


def landmark_heatmap(landmarks, size, sigma=3 / 224):
    """Draws landmarks as one Gaussian each, summed, with a maximum of 1.

    The privileged information of PAL (Bonnard et al., arXiv 2203.12905). Our
    interpretation: each place holds the Gaussian's mean over the place's area, not its
    value at the center, so that coarse maps neither lose nor favor a landmark; and the
    width is 3 pixels at 224.

    Args:
        landmarks: `(B, N, 2)`, x and y as fractions of the image's width and height,
            0 at the left and upper edge. A landmark with a NaN is left out; so a row
            of NaN says that a face has none. PAL's own choice is the 51 inner ones:
            `landmarks[:, INNER_LANDMARKS]`.
        size: Side of the heatmap, or `(height, width)`.
        sigma: Standard deviation as a fraction of the image's sides.

    Returns:
        `(B, height, width)` float32 in [0, 1]: a maximum of 1, or zeros where no
        landmark lies in the image.

    Raises:
        ValueError: The landmarks have another shape, or `size` or `sigma` is not
            positive.
    """
    landmarks = ops.convert_to_tensor(landmarks)
    if len(landmarks.shape) != 3 or landmarks.shape[-1] != 2:
        raise ValueError(
            "Expected landmarks of shape (batch, points, 2). "
            f"Received: shape={tuple(landmarks.shape)}"
        )
    height, width = (size, size) if np.ndim(size) == 0 else size
    if not (min(height, width) >= 1 and int(height) == height and int(width) == width):
        raise ValueError(
            "`size` should be a positive integer or (height, width). "
            f"Received: size={size!r}"
        )
    if not sigma > 0:
        raise ValueError(f"`sigma` should be positive. Received: sigma={sigma!r}")
    landmarks = ops.cast(landmarks, "float32")
    known = ops.logical_not(ops.any(ops.isnan(landmarks), axis=-1, keepdims=True))
    landmarks = ops.where(known, landmarks, 0.0)
    columns = _share(landmarks[..., 0], width, sigma)
    rows = _share(landmarks[..., 1], height, sigma) * ops.cast(known, "float32")
    heatmap = ops.einsum("bnh,bnw->bhw", rows, columns)
    highest = ops.max(heatmap, axis=(1, 2), keepdims=True)
    # Tails of landmarks outside the image are not landmarks in it.
    seen = highest > 0.01 / (height * width)
    return ops.where(seen, heatmap / ops.where(seen, highest, 1.0), 0.0)


def _share(positions, places, sigma):
    """Share of each Gaussian on each place of an axis, `(B, N, places)`."""
    edges = ops.arange(places + 1, dtype="float32") / places
    below = ops.erf((edges - positions[..., None]) / (sigma * 2**0.5))
    # Rounding makes some differences of nearly equal numbers negative.
    return ops.maximum(below[..., 1:] - below[..., :-1], 0.0) / 2


def check_heatmap(heatmap):
    """Raises where values are at hand and are no heatmap.

    Inside a compiled function there are no values to look at.

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
            "Expected a heatmap of finite values of at least 0. Received: negative or "
            f"not finite values in {len(rows)} of {len(heatmap)} faces, the first at "
            f"index {rows[0]}. For a face without landmarks pass zeros, as "
            "landmark_heatmap makes from NaN."
        )


def _has_values(tensor):
    if isinstance(tensor, np.ndarray):
        return True
    if not ops.is_tensor(tensor):
        return False
    if keras.backend.backend() == "tensorflow":
        return hasattr(tensor, "numpy")
    import jax

    return not isinstance(tensor, jax.core.Tracer)
