"""Face detection: three detectors behind one function."""

from __future__ import annotations

import os

import numpy as np

from keras_fer.faces.detect import haar, mtcnn, yunet
from keras_fer.faces.detect.base import Detector, Face, import_package
from keras_fer.faces.images import as_image

__all__ = [
    "DETECTORS",
    "Detector",
    "Face",
    "detect",
    "detect_in",
    "load_detector",
]

DETECTORS = ("mtcnn", "haar", "yunet")

# Detection runs on a copy of at most this many pixels on the long side, which bounds
# time and memory (MTCNN on two cores: a second for a portrait; 7 s and 3 GB for a
# thousand faces).
_LONG_SIDE = 1280
# No detector is reliable on smaller faces, in pixels of that copy.
_SMALLEST = 20


def detect(
    image: np.ndarray,
    detector: str | os.PathLike[str] | Detector = "mtcnn",
    min_size: float = 20,
    min_confidence: float | None = None,
) -> list[Face]:
    """Detects the faces in an image.

    Images of more than 1280 pixels on the long side are scaled down for detection;
    faces of less than 20 pixels after that are not searched for.

    Args:
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, grayscale or RGB, 0–255.
        detector: `"mtcnn"` (on ONNX Runtime; five landmarks), `"haar"` (OpenCV; fast,
            frontal faces, no landmarks), `"yunet"` (OpenCV; fast and accurate; five
            landmarks) or the path of a YuNet `.onnx` file. `"yunet"` is the file that
            the environment variable KERAS_FER_YUNET names, or else the published one,
            which is downloaded on first use and verified. Or what `load_detector`
            returned.
        min_size: Longer side of the smallest face to return, in pixels of the image.
        min_confidence: Lowest score to return, 0–1. Default: 0.9 for MTCNN, 0.7 for
            YuNet. Haar has no scores.

    Returns:
        A list of `Face`, largest first; empty where there is none.

    Raises:
        FileNotFoundError: YuNet is to be downloaded and cannot be.
        ImportError: The detector's package is not installed.
        ImageError: The array is not an image.
        ValueError: An unknown detector or a value out of range.
    """
    image = as_image(image)
    return detect_in(image, load_detector(detector), min_size, min_confidence)


def load_detector(detector: str | os.PathLike[str] | Detector) -> Detector:
    """Loads a detector; see `detect` for names and errors.

    A loaded detector stays in memory and is returned again.
    """
    if isinstance(detector, Detector):
        return detector
    if detector == "mtcnn":
        return mtcnn.load()
    if detector == "haar":
        return haar.load()
    path = detector
    if detector == "yunet":
        path = os.environ.get("KERAS_FER_YUNET") or yunet.published()
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str) or not path.lower().endswith(".onnx"):
        raise ValueError(
            f"detector must be one of {', '.join(DETECTORS)}, or the path of a YuNet "
            f".onnx file, got {path!r}."
        )
    return yunet.load(path)


def detect_in(
    image: np.ndarray,
    detector: Detector,
    min_size: float = 20,
    min_confidence: float | None = None,
) -> list[Face]:
    """`detect` for an image that is known to be `(H, W, 3)` uint8 RGB."""
    if not min_size > 0:
        raise ValueError(f"min_size must be positive, got {min_size!r}.")
    if min_confidence is None:
        min_confidence = detector.min_confidence
    elif detector.min_confidence is None or not 0 <= min_confidence <= 1:
        raise ValueError(
            "min_confidence must be from 0 to 1, and needs a detector with scores, got "
            f"{min_confidence!r} for {detector.name!r}."
        )

    height, width = image.shape[:2]
    scale = min(1.0, _LONG_SIDE / max(height, width))
    small = image
    if scale < 1:
        cv2 = import_package("cv2")
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    # Rounding makes the two axes' scales differ a little on long thin images.
    factors = np.array([width / small.shape[1], height / small.shape[0]])

    faces = []
    smallest = max(_SMALLEST, min_size * scale)
    for box, score, points in list(detector.run([small], [smallest], min_confidence))[0]:
        corners = np.reshape(box, (2, 2)) + [[0, 0], box[:2]]
        corners = np.rint(np.clip(corners * factors, 0, (width, height))).astype(int)
        (left, top), (right, bottom) = corners.tolist()
        if right <= left or bottom <= top:
            continue
        if max(right - left, bottom - top) < min_size:
            continue
        landmarks = None
        if points is not None:
            landmarks = tuple((x, y) for x, y in (points * factors).tolist())
        whole = (left, top, right - left, bottom - top)
        faces.append(Face(whole, detector.name, score, landmarks))
    return sorted(faces, key=lambda face: face.box[2] * face.box[3], reverse=True)
