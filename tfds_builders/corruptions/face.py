"""Positions of facial parts, from landmarks or from the proportions of a face box."""

import numpy as np

# Typical proportions of a face: fractions of the box's width and height.
_EYES = np.array([[0.30, 0.38], [0.70, 0.38]])
_NOSE = np.array([[0.50, 0.60]])
_MOUTH = np.array([[0.35, 0.78], [0.65, 0.78]])
_LIPS = np.array([[0.50, 0.72], [0.50, 0.86]])
_BRIDGE = np.array([[0.50, 0.46]])
# From the left cheek over the chin to the right cheek.
_JAW = np.array(
    [
        [0.05, 0.52],
        [0.08, 0.66],
        [0.15, 0.80],
        [0.29, 0.92],
        [0.50, 0.98],
        [0.71, 0.92],
        [0.85, 0.80],
        [0.92, 0.66],
        [0.95, 0.52],
    ]
)
_EARS = np.array([[-0.01, 0.38], [1.01, 0.38]])


class Face:
    """Facial parts as points, in fractions of the image's width and height.

    Args:
        landmarks: `(68, 2)` in iBUG's order or `(5, 2)` (eyes, nose, mouth corners), or
            `None`. Arrays of another shape, with values that are not finite, or without
            extent along an axis are treated as `None`.
        bbox: A `tfds.features.BBox` in fractions, or `None` for the whole image.

    Attributes:
        box: The box's upper left and lower right corner, each `(2,)`.
        eyes: Their centers, `(2, 2)`.
        bridge: Of the nose, `(2,)`.
        mouth: Points on the lips, `(n, 2)`.
        jaw: From the left cheek over the chin to the right cheek, `(n, 2)`.
        ears: Their upper ends, `(2, 2)`.
    """

    def __init__(self, landmarks, bbox):
        low, high = np.zeros(2), np.ones(2)
        if bbox is not None:
            low = np.array([bbox.xmin, bbox.ymin], float)
            high = np.array([bbox.xmax, bbox.ymax], float)
        self.box = low, high

        points = None if landmarks is None else np.asarray(landmarks, float)
        if points is not None and not (
            points.shape in ((68, 2), (5, 2))
            and np.isfinite(points).all()
            and (np.ptp(points, axis=0) > 0).all()
        ):
            points = None

        if points is not None and len(points) == 68:
            self.eyes = points[36:48].reshape(2, 6, 2).mean(axis=1)
            self.bridge = points[28:30].mean(axis=0)
            self.mouth = points[48:]
            self.jaw, self.ears = points[2:15], points[[0, 16]]
            return
        if points is None:
            corners = np.array([[0, 0], [1, 0], [0, 1]])
            template, points = corners, low + corners * (high - low)
        else:
            template = np.concatenate([_EYES, _NOSE, _MOUTH])
        # The affine map, by least squares, from the typical points to this face's.
        template = np.insert(template, 2, 1, axis=1)
        matrix = np.linalg.lstsq(template, points, rcond=None)[0]
        self.eyes, self.bridge, self.mouth, self.jaw, self.ears = (
            np.insert(part, 2, 1, axis=1) @ matrix
            for part in (_EYES, _BRIDGE, np.concatenate([_MOUTH, _LIPS]), _JAW, _EARS)
        )
        self.bridge = self.bridge[0]

    @property
    def width(self):
        """Distance between the cheeks."""
        return np.linalg.norm(self.jaw[-1] - self.jaw[0])
