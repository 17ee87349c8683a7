"""The cascade of Haar features (Viola and Jones, CVPR 2001) that OpenCV comes with."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from keras_fer.faces.detect.base import Detection, Detector, import_package


@functools.lru_cache(maxsize=1)
def load() -> Detector:
    """Loads the cascade for frontal faces.

    Raises:
        ImportError: OpenCV is not installed, or has no Haar cascades.
    """
    cv2 = import_package("cv2")
    try:
        cascade = cv2.CascadeClassifier(
            cv2.data.haarcascades + "haarcascade_frontalface_default.xml"
        )
    except AttributeError:
        cascade = None
    if cascade is None or cascade.empty():
        raise ImportError(
            f"OpenCV {cv2.__version__} has no Haar cascades: version 5 dropped them. "
            'Install version 4 with: pip install "keras-fer[faces]"'
        )
    return Detector("haar", functools.partial(_run, cascade))


def _run(
    cascade: Any,
    image: np.ndarray,
    smallest: float,
    min_confidence: float | None,
) -> list[Detection]:
    import cv2

    boxes = cascade.detectMultiScale(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
        scaleFactor=1.1,
        minNeighbors=5,
        minSize=(round(smallest), round(smallest)),
    )
    return [(np.array(box, dtype=float), None, None) for box in boxes]
