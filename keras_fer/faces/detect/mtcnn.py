"""MTCNN (Zhang et al., IEEE SPL 23(10), 2016) on ONNX Runtime.

The weights are those of the package mtcnn. Its networks are converted to ONNX once and
kept in the user's cache.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_fer.faces.detect.base import Detection, Detector, import_package

# Side of the area that the first network sees, and the factor between two scales.
_CELL = 12
_FACTOR = 0.709
# Lowest scores of the first two networks, as published.
_SCORES = (0.6, 0.7)
# Proposals kept per scale, which bounds time and memory; a face takes about ten.
_PROPOSALS = 500
# Faces that fill the image are missed without a border around it. So it is extended on
# every side by a share of its longer side where the searched faces are larger than
# another share.
_BORDER = 0.25
_LARGE = 0.3
# Boxes per forward pass of the second and third network.
_BATCH = 512
NETWORKS = ("pnet", "rnet", "onet")


@functools.lru_cache(maxsize=1)
def load() -> Detector:
    """Loads MTCNN.

    Raises:
        ImportError: mtcnn or ONNX Runtime is not installed.
    """
    sessions = tuple(load_network(name) for name in NETWORKS)
    return Detector("mtcnn", functools.partial(_run, sessions), min_confidence=0.9)


def _run(
    sessions: tuple[Any, Any, Any],
    image: np.ndarray,
    smallest: float,
    min_confidence: float | None,
) -> Iterator[Detection]:
    cv2 = import_package("cv2")
    pnet, rnet, onet = sessions
    border = round(_BORDER * max(image.shape[:2]))
    extended = cv2.copyMakeBorder(image, *[border] * 4, cv2.BORDER_REPLICATE)

    boxes = _propose(pnet, image, extended, border, smallest)
    image = extended

    offsets, scores = _refine(rnet, image, boxes, 24)
    kept = np.flatnonzero(scores > _SCORES[1])
    boxes, scores = _moved(boxes[kept], offsets[kept]), scores[kept]
    boxes = _squares(boxes[_suppress(boxes, scores, 0.7)])

    offsets, points, scores = _refine(onet, image, boxes, 48)
    sides = (boxes[:, 2:] - boxes[:, :2] + 1)[:, :, None]
    landmarks = points.reshape(-1, 2, 5) * sides + boxes[:, :2, None] - 1
    boxes = _moved(boxes, offsets)
    found: list[np.ndarray] = []
    for index in np.argsort(-scores):
        if scores[index] < (min_confidence or 0):
            break
        box = boxes[index]
        if any(_overlap(box, other) > 0.7 for other in found):
            continue
        found.append(box)
        yield (
            np.concatenate([box[:2] - border, box[2:] - box[:2]]),
            float(scores[index]),
            landmarks[index].T - border,
        )


def _propose(
    pnet: Any, image: np.ndarray, extended: np.ndarray, border: int, smallest: float
) -> np.ndarray:
    """Squares of the extended image that may hold a face.

    Returns:
        `(N, 4)`, left, top, right, bottom.
    """
    cv2 = import_package("cv2")
    boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
    scale = _CELL / smallest
    while min(extended.shape[:2]) * scale >= _CELL:
        large = _CELL / scale > _LARGE * min(image.shape[:2])
        source, shift = (extended, 0) if large else (image, border)
        size = [max(_CELL, int(side * scale)) for side in source.shape[1::-1]]
        level = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
        offsets, maps = pnet.run(None, {"images": level[None]})
        found = maps[0, 1] > _SCORES[0]
        score, offset = maps[0, 1][found], offsets[0][:, found].T
        corner = 2.0 * np.argwhere(found)[:, ::-1]
        if len(score) > _PROPOSALS:
            strongest = np.argpartition(-score, _PROPOSALS)[:_PROPOSALS]
            score, offset = score[strongest], offset[strongest]
            corner = corner[strongest]
        box = np.concatenate([corner + 1, corner + _CELL], axis=1)
        box = (box + offset * (_CELL - 1)) / scale + shift
        kept = _suppress(box, score, 0.5)
        boxes.append(box[kept])
        scores.append(score[kept])
        scale *= _FACTOR
    every, score = np.concatenate(boxes), np.concatenate(scores)
    return _squares(every[_suppress(every, score, 0.7)])


def _refine(network: Any, image: np.ndarray, boxes: np.ndarray, size: int) -> list[Any]:
    """What a network says about boxes: offsets, perhaps landmarks, and scores."""
    cv2 = import_package("cv2")
    steps = np.linspace(0, 1, size, dtype=np.float32)
    parts = []
    for start in range(0, max(len(boxes), 1), _BATCH):
        part = boxes[start : start + _BATCH].astype(np.float32)
        # All boxes are sampled by one call: one above the other in a tall image.
        columns, rows = (
            part[:, axis, None] + (part[:, axis + 2] - part[:, axis])[:, None] * steps
            for axis in (0, 1)
        )
        crops = np.zeros((0, size, size, 3), np.uint8)
        if len(part):
            crops = cv2.remap(
                image,
                np.repeat(columns, size, axis=0),
                np.repeat(rows.reshape(-1, 1), size, axis=1),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(128, 128, 128),
            ).reshape(-1, size, size, 3)
        parts.append(network.run(None, {"images": crops}))
    *others, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
    return [*others, scores[:, 1]]


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
    cv2 = import_package("cv2")
    sides = boxes[:, 2:] - boxes[:, :2]
    corners = np.concatenate([boxes[:, :2], sides], axis=1)
    kept = cv2.dnn.NMSBoxes(corners, scores.astype(np.float32), 0.0, overlap)
    return np.array(kept, dtype=int).reshape(-1)


def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    """Intersection of two boxes as a share of the smaller one."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    areas = [np.prod(each[2:] - each[:2]) for each in (box, other)]
    return float(np.prod(np.maximum(high - low, 0)) / min(areas))


def load_network(name: str) -> Any:
    """Loads one of `NETWORKS` as an ONNX Runtime session, from the cache if possible.

    The cache is the folder that KERAS_FER_CACHE names, by default `~/.cache/keras_fer`.
    """
    onnxruntime = import_package("onnxruntime")
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        import_package("mtcnn")
    assert spec is not None and spec.submodule_search_locations
    (package,) = spec.submodule_search_locations
    source = pathlib.Path(package) / "assets" / "weights" / f"{name}.lz4"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    cache = os.environ.get("KERAS_FER_CACHE", "~/.cache/keras_fer")
    file = pathlib.Path(cache).expanduser() / f"mtcnn_{name}_{digest[:16]}.onnx"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4

    def session(model: bytes) -> Any:
        return onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )

    try:
        return session(file.read_bytes())
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
        return session(model)


def _convert(name: str, source: pathlib.Path) -> bytes:
    """An ONNX file from the arrays of one network of the package mtcnn."""
    joblib = import_package("joblib")
    network = _Network(joblib.load(source))
    x = network.normalized("images")
    if name == "pnet":
        x = network.pool(network.convolution(x), 2, "SAME_UPPER")
        x = network.convolution(network.convolution(x))
        outputs = [network.convolution(x, last=True)]
        scores = network.convolution(x, last=True)
    elif name == "rnet":
        x = network.pool(network.convolution(x), 3, "SAME_UPPER")
        x = network.pool(network.convolution(x), 3, "VALID")
        x = network.dense(network.flattened(network.convolution(x)))
        outputs = [network.dense(x, last=True)]
        scores = network.dense(x, last=True)
    else:
        x = network.pool(network.convolution(x), 3, "SAME_UPPER")
        x = network.pool(network.convolution(x), 3, "VALID")
        x = network.pool(network.convolution(x), 2, "SAME_UPPER")
        x = network.dense(network.flattened(network.convolution(x)))
        outputs = [network.dense(x, last=True), network.dense(x, last=True)]
        scores = network.dense(x, last=True)
    return network.to_bytes([*outputs, network.add("Softmax", scores, axis=1)])


class _Network:
    """An ONNX graph, built layer by layer from arrays in Keras' layout and order."""

    def __init__(self, arrays: list[np.ndarray]):
        self._arrays = iter(arrays)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

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

    def normalized(self, images: str) -> str:
        """uint8 `(B, H, W, 3)` to float32 `(B, 3, H, W)` in [-1, 1]."""
        x = self.add("Cast", images, to=1)
        x = self.add("Sub", x, self._constant(127.5))
        x = self.add("Mul", x, self._constant(1 / 128))
        return self.add("Transpose", x, perm=[0, 3, 1, 2])

    def convolution(self, x: str, last: bool = False) -> str:
        """A convolution, and PReLU unless it is the last layer."""
        kernel, bias = next(self._arrays), next(self._arrays)
        weights = self._constant(kernel.transpose(3, 2, 0, 1))
        return self._activated(self.add("Conv", x, weights, self._constant(bias)), last)

    def dense(self, x: str, last: bool = False) -> str:
        """A dense layer, and PReLU unless it is the last layer."""
        kernel, bias = (self._constant(next(self._arrays)) for _ in range(2))
        return self._activated(self.add("Gemm", x, kernel, bias), last)

    def _activated(self, x: str, last: bool) -> str:
        if last:
            return x
        slope = next(self._arrays)
        slope = slope.reshape(-1, 1, 1) if slope.ndim == 3 else slope
        return self.add("PRelu", x, self._constant(slope))

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
