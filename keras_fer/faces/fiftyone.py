"""Faces as labels of FiftyOne."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from keras_fer.faces.detect import Face

if TYPE_CHECKING:
    import fiftyone


def to_fiftyone(faces: Iterable[Face], size: tuple[int, int]) -> fiftyone.Detections:
    """The faces of an image as labels of FiftyOne.

    Args:
        faces: From `analyze` or `detect`.
        size: Width and height of the upright image in pixels, since FiftyOne's boxes
            are fractions of them.

    Returns:
        A `fiftyone.Detections`, one `Detection` per face in their order: its box; as
        `label` the expression, or `"face"` before `analyze`; as `confidence` its
        probability, or before `analyze` the detector's score; and the attributes
        `detector`, `score` and `probabilities`.

    Raises:
        ImportError: FiftyOne is not installed.
        ValueError: The size is not positive, or a face lies outside it.
    """
    try:
        import fiftyone
    except ImportError as error:
        raise ImportError(
            "to_fiftyone needs FiftyOne. Install it with: pip install "
            '"keras-fer[fiftyone]"'
        ) from error
    width, height = size
    if width < 1 or height < 1:
        raise ValueError(f"size must be the image's width and height, got {size!r}.")
    detections = []
    for face in faces:
        x, y, across, down = face.box
        if x + across > width or y + down > height:
            raise ValueError(
                f"size must be that of the faces' image, (width, height), got {size!r} "
                f"and a face with the box {face.box}."
            )
        detections.append(
            fiftyone.Detection(
                label=face.label or "face",
                bounding_box=[x / width, y / height, across / width, down / height],
                confidence=face.score if face.label is None else face.confidence,
                detector=face.detector,
                score=face.score,
                probabilities=face.probabilities,
            )
        )
    return fiftyone.Detections(detections=detections)
