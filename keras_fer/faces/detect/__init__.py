"""Face detection: detectors behind one function."""

from __future__ import annotations

import concurrent.futures
import functools
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from keras_fer.faces.detect import haar, mtcnn, yunet
from keras_fer.faces.detect.base import (
    Box,
    Detection,
    Detector,
    Face,
    import_package,
)
from keras_fer.faces.images import ImageError, as_image
from keras_fer.runtime.onnx import thread_count

__all__ = [
    "AnyDetector",
    "DETECTORS",
    "Detector",
    "Face",
    "detect",
    "detect_in",
    "detect_many_in",
    "faces_of_boxes",
    "load_detector",
]

DETECTORS = ("mtcnn", "haar", "yunet")

# Detection runs on a copy of at most this many pixels on the long side, which bounds
# time and memory.
_LONG_SIDE = 1280
# No detector is reliable on smaller faces, in pixels of that copy.
_SMALLEST = 20
# By default, faces are searched for from this share of the longer side.
_SHARE = 1 / 32
# Images of a list that are in memory at once.
_IMAGES = 32

AnyDetector = (
    str
    | os.PathLike[str]
    | Detector
    | Callable[[np.ndarray], Iterable[Face | Sequence[float]]]
    | None
)


@overload
def detect(  # type: ignore[overload-overlap]  # An array is iterable, too.
    image: np.ndarray,
    detector: AnyDetector = "mtcnn",
    min_size: float | None = None,
    min_confidence: float | None = None,
) -> list[Face]: ...


@overload
def detect(
    image: Iterable[np.ndarray],
    detector: AnyDetector = "mtcnn",
    min_size: float | None = None,
    min_confidence: float | None = None,
) -> list[list[Face]]: ...


def detect(
    image: np.ndarray | Iterable[np.ndarray],
    detector: AnyDetector = "mtcnn",
    min_size: float | None = None,
    min_confidence: float | None = None,
) -> list[Face] | list[list[Face]]:
    """Detects the faces in an image, or in each of several images.

    Images of more than 1280 pixels on the long side are scaled down for detection;
    faces of less than 20 pixels after that are not searched for.

    Args:
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, grayscale or RGB, 0–255; or a list
            or an iterator of such images of any sizes. MTCNN takes several images at
            once, one per core; the faces are those of one call per image.
        detector: `"mtcnn"` (on ONNX Runtime; five landmarks), `"haar"` (OpenCV;
            frontal faces, no landmarks), `"yunet"` (OpenCV; fast and accurate; five
            landmarks) or the path of a YuNet `.onnx` file. `"yunet"` is the file that
            the environment variable KERAS_FER_YUNET names, or else the published one,
            which is downloaded on first use and verified. `None` takes each whole
            image as one face. Or what `load_detector` returned, or a function of an
            image `(H, W, 3)` uint8 RGB that returns boxes `(x, y, width, height)` in
            pixels, or `Face`s.
        min_size: Longer side of the smallest face to return, in pixels of the image.
            Default: all faces that are found, where MTCNN and Haar search from 1/32 of
            the image's longer side. A smaller value finds smaller faces and takes more
            time, a larger one less.
        min_confidence: Lowest score to return, 0–1. Default: 0.9 for MTCNN, 0.7 for
            YuNet. The other detectors have no scores.

    Returns:
        A list of `Face`, largest first; empty where there is none. For several images,
        a list of such lists.

    Raises:
        FileNotFoundError: YuNet is to be downloaded and cannot be.
        ImportError: The detector's package is not installed.
        ImageError: An array is not an image.
        ValueError: An unknown detector, a value out of range, or an invalid box from
            your function.
    """
    loaded = load_detector(detector)
    if isinstance(image, np.ndarray) or not isinstance(image, Iterable):
        return detect_in(as_image(image), loaded, min_size, min_confidence)
    several: list[list[Face]] = []
    images = enumerate(image)
    while part := [_numbered(*each) for each in itertools.islice(images, _IMAGES)]:
        several += detect_many_in(part, loaded, min_size, min_confidence)
    return several


def _numbered(index: int, image: np.ndarray) -> np.ndarray:
    try:
        return as_image(image)
    except ImageError as error:
        raise ImageError(f"Image {index} of the list: {error}") from None


def load_detector(detector: AnyDetector) -> Detector:
    """Loads a detector; see `detect` for names and errors.

    A loaded detector stays in memory and is returned again.
    """
    if isinstance(detector, Detector):
        return detector
    if detector is None:
        return _WHOLE_IMAGE
    if callable(detector):
        return _from_function(detector)
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
            f"detector must be one of {', '.join(DETECTORS)}, the path of a YuNet "
            ".onnx file, a function that returns boxes, or None for the whole image, "
            f"got {path!r}."
        )
    return yunet.load(path)


def detect_many_in(
    images: Sequence[np.ndarray],
    detector: Detector,
    min_size: float | None = None,
    min_confidence: float | None = None,
) -> list[list[Face]]:
    """`detect` for images that are known to be `(H, W, 3)` uint8 RGB."""
    if detector.for_threads is None or len(images) < 2:
        return [detect_in(each, detector, min_size, min_confidence) for each in images]
    alone = functools.partial(
        detect_in,
        detector=detector.for_threads(),
        min_size=min_size,
        min_confidence=min_confidence,
    )
    with concurrent.futures.ThreadPoolExecutor(thread_count()) as pool:
        return list(pool.map(alone, images))


def detect_in(
    image: np.ndarray,
    detector: Detector,
    min_size: float | None = None,
    min_confidence: float | None = None,
) -> list[Face]:
    """`detect` for an image that is known to be `(H, W, 3)` uint8 RGB."""
    if min_size is not None and not min_size > 0:
        raise ValueError(f"min_size must be positive, got {min_size!r}.")
    if min_confidence is None:
        min_confidence = detector.min_confidence
    elif detector.min_confidence is None or not 0 <= min_confidence <= 1:
        raise ValueError(
            "min_confidence must be from 0 to 1, and needs a detector with scores, got "
            f"{min_confidence!r} for {detector.name!r}."
        )
    copy = _scaled_down(image, detector.long_side or _LONG_SIDE)
    side = _SHARE * max(image.shape[:2]) if min_size is None else min_size
    side = max(_SMALLEST, side * max(copy.shape[:2]) / max(image.shape[:2]))
    detections = detector.run(copy, side, min_confidence)
    return _in_pixels(image, copy, detections, detector.name, min_size or 0)


def _scaled_down(image: np.ndarray, long_side: float) -> np.ndarray:
    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    if scale >= 1:
        return image
    cv2 = import_package("cv2")
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    copy: np.ndarray = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return copy


def _in_pixels(
    image: np.ndarray,
    copy: np.ndarray,
    detections: Iterable[Detection],
    name: str,
    min_size: float,
) -> list[Face]:
    """What was found in a scaled copy as faces of the image, largest first."""
    height, width = image.shape[:2]
    # Rounding makes the two axes' scales differ a little on long thin images.
    factors = np.array([width / copy.shape[1], height / copy.shape[0]])
    faces = []
    for box, score, points in detections:
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
        faces.append(Face(whole, name, score, landmarks))
    # Haar finds faces in parallel, so faces of the same size would be in any order.
    return sorted(faces, key=lambda face: (-face.box[2] * face.box[3], face.box))


def _whole_image(
    image: np.ndarray, _side: float, _score: float | None
) -> list[Detection]:
    height, width = image.shape[:2]
    return [(np.array([0.0, 0.0, width, height]), None, None)]


_WHOLE_IMAGE: Detector = Detector(
    "none", _whole_image, long_side=math.inf, for_threads=lambda: _WHOLE_IMAGE
)


def _from_function(function: Callable[[np.ndarray], Iterable[Any]]) -> Detector:
    """A detector from a function of the caller."""
    name = getattr(function, "__name__", type(function).__name__)

    def run(
        image: np.ndarray, _side: float, _score: float | None
    ) -> Iterator[Detection]:
        for index, face in enumerate(function(image)):
            box, score, points = face, None, None
            if isinstance(face, Face):
                box, score, points = face.box, face.score, face.landmarks
            values = _box(box, f"Box {index} of the detector {name!r}")
            landmarks = None if points is None else np.array(points, dtype=float)
            yield values, score, landmarks

    return Detector(name, run, long_side=math.inf)


def faces_of_boxes(image: np.ndarray, boxes: Iterable[Sequence[float]]) -> list[Face]:
    """The caller's boxes as faces of an image, in their order.

    Args:
        image: `(H, W, 3)`.
        boxes: `(x, y, width, height)` in pixels. Parts outside the image are cut off,
            and values are rounded.

    Raises:
        ValueError: A box has another length, is not finite, has no area or lies
            outside the image.
    """
    if isinstance(boxes, (str, bytes)) or not isinstance(boxes, Iterable):
        raise ValueError(
            "boxes must be a list of (x, y, width, height), one per face, got "
            f"{boxes!r}."
        )
    height, width = image.shape[:2]
    faces = []
    for index, box in enumerate(boxes):
        x, y, across, down = _box(box, f"boxes[{index}]").tolist()
        left, right = (round(min(max(v, 0), width)) for v in (x, x + across))
        top, bottom = (round(min(max(v, 0), height)) for v in (y, y + down))
        if right <= left or bottom <= top:
            raise ValueError(
                f"boxes[{index}] must overlap the image of {width}x{height} pixels, "
                f"got {tuple(box)!r}. Boxes are (x, y, width, height) in pixels of the "
                "upright image."
            )
        whole: Box = (left, top, right - left, bottom - top)
        faces.append(Face(whole, "boxes"))
    return faces


def _box(box: Any, name: str) -> np.ndarray:
    """A box as four finite floats with an area."""
    try:
        values = np.asarray(box, dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (4,):
        raise ValueError(
            f"{name} must be four numbers (x, y, width, height) in pixels, got {box!r}."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got {box!r}. Leave such boxes out.")
    if not (values[2:] > 0).all():
        raise ValueError(
            f"{name} must have a positive width and height, got {box!r}. Convert "
            "corners (left, top, right, bottom) to (x, y, width, height)."
        )
    return values
