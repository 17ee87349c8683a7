"""Where the faces are: three detectors behind one function."""

import dataclasses
import functools
import importlib
import importlib.util
import os

import numpy as np

from keras_fer.faces.images import as_image

DETECTORS = ("mtcnn", "haar", "yunet")

# Detection runs on a copy of at most this many pixels on the long side, so that time
# and memory stay bounded (MTCNN on two cores: a second for a portrait; 7 s and 3 GB
# for a thousand faces).
_LONG_SIDE = 1280
# No detector is reliable on smaller faces, in pixels of that copy.
_SMALLEST = 20
# MTCNN's proposals for each scale of the image; a face takes about ten.
_PROPOSALS = 2000
_MIN_CONFIDENCE = {"mtcnn": 0.9, "yunet": 0.7}


@dataclasses.dataclass(frozen=True)
class Face:
    """One face of an image.

    Attributes:
        box: `(x, y, width, height)` in whole pixels, inside the image.
        detector: `"mtcnn"`, `"haar"` or `"yunet"`.
        score: The detector's confidence, 0–1; `None` for `"haar"`, which has none.
        landmarks: Five points `(x, y)` in pixels: left eye, right eye, nose, left and
            right corner of the mouth, left and right as seen on an upright face in
            the image. `None` for `"haar"`.
        probabilities: Label to probability, from `analyze`; `None` before.
    """

    box: tuple
    detector: str
    score: float | None = None
    landmarks: tuple | None = None
    probabilities: dict | None = None

    @property
    def label(self):
        """The most probable label, or `None` before `analyze`."""
        return self.probabilities and max(
            self.probabilities, key=self.probabilities.get
        )

    @property
    def confidence(self):
        """The probability of `label`, or `None` before `analyze`."""
        return self.probabilities and self.probabilities[self.label]


def detect(
    image: np.ndarray,
    detector: str | os.PathLike = "mtcnn",
    min_size: float = 20,
    min_confidence: float | None = None,
) -> list[Face]:
    """Finds the faces in an image.

    Images of more than 1280 pixels on the long side are scaled down for detection;
    faces of less than 20 pixels after that are not searched for.

    Args:
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, gray or RGB, 0–255.
        detector: `"mtcnn"` (Keras on the TensorFlow backend; five landmarks),
            `"haar"` (OpenCV; fast, frontal faces, no landmarks), or the path of a
            YuNet `.onnx` file for OpenCV (fast and accurate; five landmarks).
            `"yunet"` takes that path from the environment variable KERAS_FER_YUNET.
        min_size: Longer side of the smallest face to return, in pixels of the image.
        min_confidence: Lowest score to return, 0–1. Default: 0.9 for MTCNN, 0.7 for
            YuNet. Haar has no scores.

    Returns:
        A list of `Face`, largest first; empty where there is none.

    Raises:
        ImportError: The detector's package is not installed.
        ImageError: The array is not an image.
        RuntimeError: `"mtcnn"` on a Keras backend other than TensorFlow.
        ValueError: An unknown detector or a value out of range.
    """
    image = as_image(image)
    name, find = _detector(detector)
    if not min_size > 0:
        raise ValueError(
            f"`min_size` should be positive. Received: min_size={min_size!r}"
        )
    if min_confidence is None:
        min_confidence = _MIN_CONFIDENCE.get(name)
    elif name == "haar" or not 0 <= min_confidence <= 1:
        raise ValueError(
            "`min_confidence` should be from 0 to 1, for a detector with scores (not "
            f"haar). Received: min_confidence={min_confidence!r}, detector={name!r}"
        )

    height, width = image.shape[:2]
    scale = min(1.0, _LONG_SIDE / max(height, width))
    if scale < 1:
        cv2 = _import("cv2")
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    else:
        small = image
    # Rounding makes the two axes' scales differ a little on long thin images.
    factors = np.array([width / small.shape[1], height / small.shape[0]])

    faces = []
    smallest = max(_SMALLEST, min_size * scale)
    for box, score, landmarks in find(small, smallest, min_confidence):
        corners = np.reshape(box, (2, 2)) + [[0, 0], box[:2]]
        corners = np.rint(np.clip(corners * factors, 0, (width, height))).astype(int)
        (left, top), (right, bottom) = corners.tolist()
        if right <= left or bottom <= top:
            continue
        if max(right - left, bottom - top) < min_size:
            continue
        if landmarks is not None:
            landmarks = tuple(map(tuple, (landmarks * factors).tolist()))
        box = (left, top, right - left, bottom - top)
        faces.append(Face(box, name, score, landmarks))
    return sorted(faces, key=lambda face: face.box[2] * face.box[3], reverse=True)


# A detector is a function of (image, smallest face in pixels, lowest score) to
# tuples of (x, y, width, height), score and landmarks (5, 2), floats in pixels.


def _detector(detector):
    if isinstance(detector, os.PathLike):
        detector = os.fspath(detector)
    if detector == "mtcnn":
        return "mtcnn", functools.partial(_find_mtcnn, _mtcnn())
    if detector == "haar":
        return "haar", functools.partial(_find_haar, _haar())
    path = os.environ.get("KERAS_FER_YUNET") if detector == "yunet" else detector
    if detector == "yunet" and not path:
        raise ValueError(
            "YuNet needs its model file. Received: detector='yunet'. Expected the path "
            "of a YuNet .onnx file, here or in the environment variable "
            "KERAS_FER_YUNET. The OpenCV Zoo has one: face_detection_yunet_2023mar.onnx"
        )
    if not isinstance(path, str) or not path.lower().endswith(".onnx"):
        raise ValueError(
            f"Unknown detector. Received: {path!r}. Expected one of "
            f"{', '.join(DETECTORS)}, or the path of a YuNet .onnx file."
        )
    return "yunet", functools.partial(_find_yunet, _yunet(path))


def _import(package):
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"Faces are found with the package {package!r}, which cannot be imported "
            f'({error}). Install it with: pip install "keras-fer[faces]"'
        ) from error


@functools.lru_cache(maxsize=1)
def _mtcnn():
    import keras

    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            "MTCNN runs on the TensorFlow backend of Keras only. Received: backend="
            f"{keras.config.backend()!r}. Set KERAS_BACKEND=tensorflow, or pass "
            "detector='haar' or the path of a YuNet .onnx file."
        )
    mtcnn = _import("mtcnn")
    from mtcnn.stages import StageONet, StagePNet, StageRNet

    class BoundedStagePNet(StagePNet):
        """Passes on the strongest proposals of each scale only.

        mtcnn compares all proposals with each other, in memory that grows with the
        square of their number: 22 GB for a thousand faces without this.
        """

        def __init__(self):
            super().__init__()
            network = self._model
            self._model = lambda images: _strongest(*network(images))

    return mtcnn.MTCNN(stages=[BoundedStagePNet, StageRNet, StageONet])


def _strongest(offsets, scores):
    from keras import ops

    faces = ops.reshape(scores[..., 1], (-1,))
    weakest = ops.top_k(faces, min(_PROPOSALS, faces.shape[0]))[0][-1]
    return offsets, ops.where(scores[..., 1:] >= weakest, scores, 0.0)


def _find_mtcnn(network, image, smallest, min_confidence):
    # `min_face_size` keeps its default, 20: mtcnn 1.0.0 sizes its pyramid for that, and
    # finds nothing at all with a larger value. `detect` drops smaller faces itself.
    rows = network.detect_faces(
        image, output_type="numpy", fit_to_image=False, threshold_onet=min_confidence
    )
    # Image number, box, score, five x, five y.
    for row in rows.astype(float):
        yield row[1:5], float(row[5]), row[6:16].reshape(2, 5).T


@functools.lru_cache(maxsize=1)
def _haar():
    cv2 = _import("cv2")
    try:
        cascade = cv2.CascadeClassifier(
            cv2.data.haarcascades + "haarcascade_frontalface_default.xml"
        )
    except AttributeError:
        cascade = None
    if cascade is None or cascade.empty():
        raise ImportError(
            "OpenCV has no Haar cascades: version 5 dropped them. Received: version "
            f'{cv2.__version__}. Install 4.x with: pip install "keras-fer[faces]"'
        )
    return cascade


def _find_haar(cascade, image, smallest, min_confidence):
    cv2 = _import("cv2")
    boxes = cascade.detectMultiScale(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY),
        scaleFactor=1.1,
        minNeighbors=5,
        minSize=(round(smallest), round(smallest)),
    )
    for box in boxes:
        yield np.array(box, dtype=float), None, None


@functools.lru_cache(maxsize=4)
def _yunet(path):
    cv2 = _import("cv2")
    if not os.path.isfile(path):
        raise ValueError(
            f"No YuNet file. Received: {path!r}. Expected an existing .onnx file, such "
            "as face_detection_yunet_2023mar.onnx of the OpenCV Zoo."
        )
    with open(path, "rb") as file:
        model = file.read()
    try:
        # YuNet's authors publish it with a dynamic input, which OpenCV 4 refuses. Its
        # graph only looks at the batch size: pinned, it takes images of any size.
        if importlib.util.find_spec("onnx"):
            onnx = _import("onnx")
            network = onnx.load_from_string(model)
            sides = network.graph.input[0].type.tensor_type.shape.dim
            for side, value in zip(sides, (1, 3, 640, 640), strict=True):
                side.dim_value = value
            model = network.SerializeToString()
        return cv2.FaceDetectorYN.create(
            "onnx", np.frombuffer(model, np.uint8), np.empty(0, np.uint8), (640, 640)
        )
    except Exception as error:  # Of OpenCV, protobuf or onnx.
        raise ValueError(
            f"OpenCV cannot read the file as YuNet. Received: {path!r}. Expected a "
            "YuNet .onnx file; one with a dynamic input also needs: pip install onnx"
        ) from error


def _find_yunet(network, image, smallest, min_confidence):
    network.setInputSize(image.shape[1::-1])
    network.setScoreThreshold(min_confidence)
    _, rows = network.detect(np.ascontiguousarray(image[..., ::-1]))
    # Box, five points, score.
    for row in [] if rows is None else rows.astype(float):
        yield row[:4], float(row[14]), row[4:14].reshape(5, 2)
