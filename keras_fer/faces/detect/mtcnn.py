"""MTCNN (Zhang et al., IEEE SPL 23(10), 2016) on ONNX Runtime.

The weights are those of the package mtcnn. Its networks are converted to ONNX once and
kept in the user's cache.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_fer.faces.detect.base import Detection, Detector, import_package
from keras_fer.runtime.onnx import start_session

# Side of the area that the first network sees, the distance between two such areas, and
# the factor between two scales.
_CELL = 12
_STRIDE = 2
_FACTOR = 0.709
# Lowest scores of the first two networks, as published, and the overlap from which the
# first one's weaker proposals are dropped.
_SCORES = (0.6, 0.7)
_OVERLAP = 0.5
# Faces larger than this share of the image's shorter side are found badly: the first
# network knows only a few places and sizes for them. So more of their boxes, which are
# few, are left to the last network to decide; and the image is extended on every side
# by a share of its longer side. On 300 training faces of FER2013 this finds 98 %
# instead of 90 % (`benchmarks/crop_margin.py`).
_LARGE = 0.3
_LARGE_SCORES = (0.1, 0.1)
_LARGE_OVERLAP = 0.7
_BORDER = 0.25
# Proposals kept per scale, which bounds time and memory; a face takes about ten.
_PROPOSALS = 500
# Boxes per forward pass of the second and third network. The activations of more do not
# stay in the caches: 512 take a fifth more time per box.
_BATCH = 32
NETWORKS = ("pnet", "rnet", "onet")
# Of the conversion, as part of the names in the cache: raise it with every change.
_VERSION = 2


@functools.lru_cache(maxsize=2)
def load(threads: int | None = None) -> Detector:
    """Loads MTCNN.

    Args:
        threads: See `keras_fer.runtime.OnnxModel`.

    Raises:
        ImportError: mtcnn or ONNX Runtime is not installed.
    """
    sessions = tuple(load_network(name, threads) for name in NETWORKS)
    return Detector(
        "mtcnn",
        functools.partial(_run, sessions),
        min_confidence=0.9,
        # Threads of their own gain these small networks little.
        for_threads=functools.partial(load, threads=1),
    )


def _run(
    sessions: tuple[Any, Any, Any],
    image: np.ndarray,
    smallest: float,
    min_confidence: float | None,
) -> Iterator[Detection]:
    pnet, rnet, onet = sessions
    boxes = _propose(pnet, image, smallest)
    offsets, scores = _refine(rnet, image, boxes, 24)
    boxes = _select(image, boxes, offsets, scores)
    offsets, points, scores = _refine(onet, image, boxes, 48)
    return _faces(boxes, offsets, points, scores, min_confidence or 0)


def _propose(pnet: Any, image: np.ndarray, smallest: float) -> np.ndarray:
    """Squares that may hold a face.

    Returns:
        `(N, 4)`, left, top, right, bottom.
    """
    boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
    for level, border, factors in _pyramid(image, smallest):
        *offsets, logits = pnet.run(None, {"images": level[None]})[0][0]
        large = _is_large(_CELL * factors.max(), image)
        least = (_LARGE_SCORES if large else _SCORES)[0]
        rows, columns = np.nonzero(logits > math.log(least / (1 - least)))
        if len(rows) > _PROPOSALS:
            strongest = np.argpartition(-logits[rows, columns], _PROPOSALS)[:_PROPOSALS]
            rows, columns = rows[strongest], columns[strongest]
        offset = np.stack([each[rows, columns] for each in offsets], axis=1)
        corner = _STRIDE * np.stack([columns, rows], axis=1)
        box = np.concatenate([corner + 1, corner + _CELL], axis=1)
        box = (box + offset * (_CELL - 1) - border) * np.tile(factors, 2)
        score = logits[rows, columns]
        kept = _suppress(box, score, _LARGE_OVERLAP if large else _OVERLAP)
        boxes.append(box[kept])
        scores.append(score[kept])
    every, score = np.concatenate(boxes), np.concatenate(scores)
    return _squares(every[_suppress(every, score, 0.7)])


def _pyramid(
    image: np.ndarray, smallest: float
) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
    """Scales of an image at which its faces, from the smallest, have the size _CELL.

    Yields:
        The image at that scale, with a border on each side; the width of the border;
        and the factors from its pixels to those of the image, `(2,)`.
    """
    cv2 = import_package("cv2")
    sides = np.array(image.shape[1::-1])
    scale, level = _CELL / smallest, image
    while True:
        size = np.maximum(1, (sides * scale).astype(int))
        # From scale to scale, which is faster than from the whole image.
        level = cv2.resize(level, size.tolist(), interpolation=cv2.INTER_AREA)
        large = _is_large(_CELL / scale, image)
        border = round(_BORDER * max(size)) if large else 0
        if min(size) + 2 * border < _CELL:
            return
        extended = cv2.copyMakeBorder(level, *[border] * 4, cv2.BORDER_REPLICATE)
        yield extended, border, sides / size
        scale *= _FACTOR


def _is_large(sides: Any, image: np.ndarray) -> Any:
    """Whether boxes of these sides are large for an image."""
    return sides > _LARGE * min(image.shape[:2])


def _refine(
    network: Any, image: np.ndarray, boxes: np.ndarray, size: int
) -> list[np.ndarray]:
    """What a network says about the boxes of an image.

    Returns:
        The outputs of the network: offsets, perhaps landmarks, and scores.
    """
    parts = []
    # Also without boxes: the outputs have their shapes.
    for start in range(0, max(len(boxes), 1), _BATCH):
        crops = _sample(image, boxes[start : start + _BATCH], size)
        parts.append(network.run(None, {"images": crops}))
    *others, scores = map(np.concatenate, zip(*parts, strict=True))
    return [*others, scores[:, 0]]


def _sample(image: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """Crops of an image, `(N, size, size, 3)`; outside, its border is repeated."""
    if not len(boxes):
        return np.zeros((0, size, size, 3), np.uint8)
    cv2 = import_package("cv2")
    steps = np.linspace(0, 1, size, dtype=np.float32)
    boxes = boxes.astype(np.float32)
    # All boxes are sampled by one call: one above the other in a tall image.
    columns, rows = (
        boxes[:, axis, None] + (boxes[:, axis + 2] - boxes[:, axis])[:, None] * steps
        for axis in (0, 1)
    )
    crops: np.ndarray = cv2.remap(
        image,
        np.repeat(columns, size, axis=0),
        np.repeat(rows.reshape(-1, 1), size, axis=1),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return crops.reshape(-1, size, size, 3)


def _select(
    image: np.ndarray, boxes: np.ndarray, offsets: np.ndarray, scores: np.ndarray
) -> np.ndarray:
    """The boxes that the second network takes for faces, moved and made square."""
    large = _is_large(boxes[:, 2] - boxes[:, 0], image)
    kept = np.flatnonzero(scores > np.where(large, _LARGE_SCORES[1], _SCORES[1]))
    moved = _moved(boxes[kept], offsets[kept])
    return _squares(moved[_suppress(moved, scores[kept], 0.7)])


def _faces(
    boxes: np.ndarray,
    offsets: np.ndarray,
    points: np.ndarray,
    scores: np.ndarray,
    min_confidence: float,
) -> Iterator[Detection]:
    """The faces that the third network finds in boxes, best first."""
    sides = (boxes[:, 2:] - boxes[:, :2] + 1)[:, :, None]
    landmarks = points.reshape(-1, 2, 5) * sides + boxes[:, :2, None] - 1
    boxes = _moved(boxes, offsets)
    found: list[np.ndarray] = []
    for index in np.argsort(-scores):
        if scores[index] < min_confidence:
            break
        box = boxes[index]
        if any(_overlap(box, other) > 0.6 for other in found):
            continue
        found.append(box)
        whole = np.concatenate([box[:2], box[2:] - box[:2]])
        yield whole, float(scores[index]), landmarks[index].T


def _moved(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Boxes, moved by offsets in units of their sides."""
    return boxes + offsets * np.tile(boxes[:, 2:] - boxes[:, :2] + 1, 2)


def _squares(boxes: np.ndarray) -> np.ndarray:
    """The squares around boxes."""
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0) / 2
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.concatenate([center - half, center + half], axis=1)


def _suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Indices that non-maximum suppression keeps, best first."""
    if not len(boxes):
        return np.zeros(0, int)
    cv2 = import_package("cv2")
    sides = boxes[:, 2:] - boxes[:, :2]
    corners = np.concatenate([boxes[:, :2], sides], axis=1)
    # OpenCV drops what is not positive.
    positive = (scores - scores.min() + 1).astype(np.float32)
    kept = cv2.dnn.NMSBoxes(corners, positive, 0.0, overlap)
    return np.array(kept, dtype=int).reshape(-1)


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection of two boxes as a share of the smaller one."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    areas = [np.prod(each[2:] - each[:2]) for each in (box, other)]
    return float(np.prod(np.maximum(high - low, 0)) / min(areas))


def load_network(name: str, threads: int | None = None) -> Any:
    """Loads one of `NETWORKS` as an ONNX Runtime session, from the cache if possible.

    The cache is the folder that KERAS_FER_CACHE names, by default `~/.cache/keras_fer`.

    Args:
        name: One of `NETWORKS`.
        threads: See `keras_fer.runtime.OnnxModel`.
    """
    import_package("onnxruntime")
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        import_package("mtcnn")
    assert spec is not None and spec.submodule_search_locations
    (package,) = spec.submodule_search_locations
    source = pathlib.Path(package) / "assets" / "weights" / f"{name}.lz4"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    cache = os.environ.get("KERAS_FER_CACHE", "~/.cache/keras_fer")
    file = (
        pathlib.Path(cache).expanduser() / f"mtcnn_{name}_{digest[:16]}_{_VERSION}.onnx"
    )
    try:
        return start_session(file.read_bytes(), threads)
    except Exception:  # Not there, or damaged: ONNX Runtime has no common error.
        model = _convert(name, source)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=file.parent) as folder:
                partial = pathlib.Path(folder) / file.name
                partial.write_bytes(model)
                os.replace(partial, file)
        except OSError:
            pass  # A cache that cannot be written costs time alone.
        return start_session(model, threads)


def _convert(name: str, source: pathlib.Path) -> bytes:
    """An ONNX file from the arrays of one network of the package mtcnn."""
    joblib = import_package("joblib")
    network = _Network(joblib.load(source))
    x = network.channels_first("images")
    if name == "pnet":
        x = network.pool(network.convolution(x), 2, "SAME_UPPER")
        x = network.convolution(network.convolution(x))
        return network.to_bytes([network.heads(x)])
    x = network.pool(network.convolution(x), 3, "SAME_UPPER")
    x = network.pool(network.convolution(x), 3, "VALID")
    if name == "onet":
        x = network.pool(network.convolution(x), 2, "SAME_UPPER")
    x = network.dense(network.flattened(network.convolution(x)))
    heads = [network.dense(x, last=True) for _ in range(2 if name == "onet" else 1)]
    return network.to_bytes([*heads, network.probability(x)])


class _Network:
    """An ONNX graph, built layer by layer from arrays in Keras' layout and order."""

    def __init__(self, arrays: list[np.ndarray]):
        self._arrays = iter(arrays)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._normalized = False

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node and returns the name of its output."""
        from onnx import helper

        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def _constant(self, value: Any) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self._constants)}"
        array = np.ascontiguousarray(value, dtype=np.float32)
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def channels_first(self, images: str) -> str:
        """uint8 `(B, H, W, 3)` to float32 `(B, 3, H, W)`, 0–255."""
        return self.add("Cast", self.add("Transpose", images, perm=[0, 3, 1, 2]), to=1)

    def convolution(self, x: str) -> str:
        """A convolution and PReLU; the first one normalizes the image, too."""
        kernel, bias = next(self._arrays), next(self._arrays)
        if not self._normalized:
            # (x - 127.5) / 128, as part of the weights.
            kernel = kernel / 128
            bias = bias - 127.5 * kernel.sum(axis=(0, 1, 2))
            self._normalized = True
        return self._prelu(self._convolve(x, kernel, bias))

    def _convolve(self, x: str, kernel: np.ndarray, bias: np.ndarray) -> str:
        weights = self._constant(kernel.transpose(3, 2, 0, 1))
        return self.add("Conv", x, weights, self._constant(bias))

    def dense(self, x: str, last: bool = False) -> str:
        """A dense layer, and PReLU unless it is the last layer."""
        kernel, bias = (self._constant(next(self._arrays)) for _ in range(2))
        x = self.add("Gemm", x, kernel, bias)
        return x if last else self._prelu(x)

    def _prelu(self, x: str) -> str:
        # x + (slope - 1) min(x, 0): ONNX Runtime's own PRelu takes five times longer.
        slope = next(self._arrays)
        slope = slope.reshape(-1, 1, 1) if slope.ndim == 3 else slope
        negative = self.add("Min", x, self._constant(0))
        return self.add("Add", x, self.add("Mul", negative, self._constant(slope - 1)))

    def heads(self, x: str) -> str:
        """The offsets and the logit of the score, in one convolution."""
        offsets, bias, classes, class_bias = self._arrays
        kernel = np.concatenate([offsets, np.diff(classes)], axis=-1)
        return self._convolve(x, kernel, np.append(bias, np.diff(class_bias)))

    def probability(self, x: str) -> str:
        """The probability of a face, `(B, 1)`."""
        classes, bias = next(self._arrays), next(self._arrays)
        kernel, difference = map(self._constant, (np.diff(classes), np.diff(bias)))
        logit = self.add("Gemm", x, kernel, difference)
        return self.add("Sigmoid", logit)

    def pool(self, x: str, size: int, padding: str) -> str:
        """Maximum pooling with stride 2."""
        options = {"kernel_shape": [size, size], "strides": [2, 2], "auto_pad": padding}
        return self.add("MaxPool", x, **options)

    def flattened(self, x: str) -> str:
        """Features in the order that the weights expect: column, row, channel."""
        return self.add("Flatten", self.add("Transpose", x, perm=[0, 3, 2, 1]))

    def to_bytes(self, outputs: list[str]) -> bytes:
        """The file, with `images` as input."""
        from onnx import TensorProto, helper

        assert next(self._arrays, None) is None
        shape = [None, None, None, 3]
        images = helper.make_tensor_value_info("images", TensorProto.UINT8, shape)
        graph = helper.make_graph(
            self._nodes,
            "mtcnn",
            [images],
            [
                helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
                for output in outputs
            ],
            self._constants,
        )
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=9)
        content: bytes = model.SerializeToString()
        return content
