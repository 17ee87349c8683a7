"""An image to its faces, their expressions and saliency maps."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

import numpy as np
from PIL import Image

from keras_fer.faces.align import crop_in, paste_heatmap
from keras_fer.faces.detect import (
    AnyDetector,
    Detector,
    Face,
    detect_in,
    faces_of_boxes,
    load_detector,
)
from keras_fer.faces.detect.base import classified
from keras_fer.faces.images import ImageError, as_image
from keras_fer.faces.inputs import (
    AnyImage,
    check_channel_order,
    open_image,
    several,
)
from keras_fer.faces.show import ShownFaces
from keras_fer.runtime.onnx import thread_count

if TYPE_CHECKING:
    import keras

    from keras_fer.runtime import OnnxModel

# Faces per forward pass, which bounds memory on images of crowds.
_BATCH = 64

_T = TypeVar("_T")
_R = TypeVar("_R")


@overload
def analyze(  # type: ignore[overload-overlap]  # Text and arrays are iterable, too.
    image: AnyImage,
    model: str | os.PathLike[str] | keras.Model | OnnxModel = "patt_lite",
    detector: AnyDetector = "mtcnn",
    align: bool = True,
    *,
    min_size: float | None = None,
    min_confidence: float | None = None,
    max_faces: int | None = None,
    boxes: Sequence[Sequence[float]] | None = None,
    channel_order: Literal["rgb", "bgr"] = "rgb",
    balanced: bool = False,
) -> list[Face]: ...


@overload
def analyze(
    image: Iterable[AnyImage],
    model: str | os.PathLike[str] | keras.Model | OnnxModel = "patt_lite",
    detector: AnyDetector = "mtcnn",
    align: bool = True,
    *,
    min_size: float | None = None,
    min_confidence: float | None = None,
    max_faces: int | None = None,
    boxes: Sequence[Sequence[Sequence[float]]] | None = None,
    channel_order: Literal["rgb", "bgr"] = "rgb",
    balanced: bool = False,
    errors: Literal["raise"] = "raise",
) -> list[list[Face]]: ...


@overload
def analyze(
    image: Iterable[AnyImage],
    model: str | os.PathLike[str] | keras.Model | OnnxModel = "patt_lite",
    detector: AnyDetector = "mtcnn",
    align: bool = True,
    *,
    min_size: float | None = None,
    min_confidence: float | None = None,
    max_faces: int | None = None,
    boxes: Sequence[Sequence[Sequence[float]]] | None = None,
    channel_order: Literal["rgb", "bgr"] = "rgb",
    balanced: bool = False,
    errors: Literal["return"],
) -> list[list[Face] | ImageError]: ...


def analyze(
    image: Any,
    model: str | os.PathLike[str] | keras.Model | OnnxModel = "patt_lite",
    detector: AnyDetector = "mtcnn",
    align: bool = True,
    *,
    min_size: float | None = None,
    min_confidence: float | None = None,
    max_faces: int | None = None,
    boxes: Any = None,
    channel_order: Literal["rgb", "bgr"] = "rgb",
    balanced: bool = False,
    errors: Literal["raise", "return"] = "raise",
) -> Any:
    """Detects the faces in images and classifies their expressions.

    Args:
        image: One image, or a list or an iterator of images, which are analyzed
            together. An image is a path; a URL, `http` or `https`; the bytes of an
            image file or a file object; a PIL image; or an array or tensor, `(H, W)`
            or `(H, W, 1)` grayscale, `(H, W, 3)` RGB, 0–255, or `(H, W, 4)` uint8
            RGBA, which is composited on white.
        model: A name that `keras_fer.zoo.load` knows, which is loaded once, a `.keras`
            file, or a model with `labels`. Presets run on ONNX Runtime, without Keras.
        detector: See `detect`.
        align: See `crop`.
        min_size: See `detect`.
        min_confidence: See `detect`.
        max_faces: How many faces of an image to classify, the largest; `None` for all.
        boxes: The faces' boxes `(x, y, width, height)` in pixels of the upright image,
            if they are known; `detector` is not used then. Parts outside the image are
            cut off. Of several images, a list of boxes for each.
        channel_order: Order of the colors in arrays; `"bgr"` for those of OpenCV.
        balanced: With the name of a model, see `keras_fer.zoo.load`: rare expressions
            are found more often.
        errors: Of several images, what to do with one that cannot be read: `"raise"`
            its error, or `"return"` it in the place of its faces.

    Returns:
        A list of `Face` with probabilities, largest first; empty where there is none.
        With `boxes`, one `Face` per box, in their order. For several images, a list of
        such lists, one for each image in their order. Jupyter shows the faces of an
        image on it, if it is a file, or an array or PIL image that still exists.

    Raises:
        ImageError: An image is not usable.
        ValueError: The model has no labels or returns NaN, an argument is unknown, or
            a box is invalid.
    """
    if boxes is not None and (min_size, min_confidence, max_faces) != (None,) * 3:
        raise ValueError(
            "min_size, min_confidence and max_faces are for detectors, and boxes "
            "replaces the detector. Leave them out, or filter the boxes yourself."
        )
    check_max_faces(max_faces)
    if errors not in ("raise", "return"):
        raise ValueError(f"errors must be 'raise' or 'return', got {errors!r}.")
    check_channel_order(channel_order)
    images = several(image)
    if images is None:
        # Before the model, which takes longer.
        first = open_image(image, channel_order)
    model = named_model(model, balanced)
    loaded = None if boxes is not None else load_detector(detector)
    threads = loaded is None
    if images is not None and loaded is not None and loaded.for_threads is not None:
        threads, loaded = True, loaded.for_threads()

    def find(opened: np.ndarray, given: Any) -> list[Face]:
        if loaded is None:
            return faces_of_boxes(opened, given)
        return detect_in(opened, loaded, min_size, min_confidence)[:max_faces]

    if images is None:
        faces = classify_in(first, model, find(first, boxes), align).faces
        return ShownFaces(faces, image, channel_order)

    def crop(opened: np.ndarray, given: Any) -> _Found:
        faces = find(opened, given)
        return faces, _crops(model, opened, faces, align)

    pairs = _with_boxes(images, boxes)
    with _found_in(pairs, crop, threads, channel_order) as found:
        return _classify_found(model, found, errors == "return")


def check_max_faces(max_faces: int | None) -> None:
    """Raises a `ValueError` unless it is `None` or a positive integer."""
    if max_faces is not None and (not isinstance(max_faces, int) or max_faces < 1):
        raise ValueError(f"max_faces must be 1 or more, or None, got {max_faces!r}.")


# The faces of an image and their crops, as `_crops` returns them.
_Found: TypeAlias = tuple[list[Face], np.ndarray]

# An image as it was given, its pixels, and the boxes of the caller.
_Opened: TypeAlias = tuple[AnyImage, np.ndarray, Any]


@contextlib.contextmanager
def _found_in(
    pairs: Iterator[tuple[AnyImage, Any]],
    crop: Callable[[np.ndarray, Any], _Found],
    threads: bool,
    channel_order: str,
) -> Iterator[Iterator[_Found | ImageError]]:
    """What is found in images, in order, while threads work on the next ones.

    Args:
        pairs: Images and the boxes of the caller.
        crop: From an opened image and its boxes to faces and crops.
        threads: Whether threads may call `crop`; if not, they open images alone.
        channel_order: See `analyze`.
    """
    notices: list[str] = []

    def opened(pair: tuple[AnyImage, Any]) -> _Opened | ImageError:
        image, boxes = pair
        try:
            return image, open_image(image, channel_order, notices.append), boxes
        except ImageError as error:
            return error

    def cropped(each: _Opened | ImageError) -> _Found | ImageError:
        if isinstance(each, ImageError):
            return each
        image, pixels, boxes = each
        faces, crops = crop(pixels, boxes)
        return ShownFaces(faces, image, channel_order), crops

    def both(pair: tuple[AnyImage, Any]) -> _Found | ImageError:
        return cropped(opened(pair))

    if threads:
        with contextlib.closing(_map_ahead(both, pairs)) as found:
            yield found
    else:
        with contextlib.closing(_map_ahead(opened, pairs)) as images:
            yield map(cropped, images)
    for notice in dict.fromkeys(notices):
        warnings.warn(notice, stacklevel=4)


def _map_ahead(
    function: Callable[[_T], _R], items: Iterator[_T]
) -> Generator[_R, None, None]:
    """`map` in threads, whose results wait for at most as many items as threads."""
    threads = thread_count()
    waiting: collections.deque[concurrent.futures.Future[_R]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _classify_found(
    model: keras.Model | OnnxModel,
    found: Iterator[_Found | ImageError],
    keep_errors: bool,
) -> list[list[Face] | ImageError]:
    """The expressions of all faces, a batch at a time; and errors in their places."""
    results: list[list[Face] | ImageError] = []
    part: dict[int, _Found] = {}

    def classify() -> None:
        classified = _classify_parts(model, list(part.values()))
        for (faces, _), known in zip(part.values(), classified, strict=True):
            faces[:] = known  # In place: they know their image.
        part.clear()

    for index, each in enumerate(found):
        if isinstance(each, ImageError):
            if not keep_errors:
                raise ImageError(f"Image {index} of the list: {each}") from each
            results.append(each)
            continue
        results.append(each[0])
        if each[0]:
            part[index] = each
        if sum(len(faces) for faces, _ in part.values()) >= _BATCH:
            classify()
    classify()
    return results


def _with_boxes(
    images: Iterator[AnyImage], boxes: Iterable[Any] | None
) -> Iterator[tuple[AnyImage, Any]]:
    remaining = itertools.repeat(None) if boxes is None else iter(boxes)
    for number, image in enumerate(images):
        try:
            yield image, next(remaining)
        except StopIteration:
            raise ValueError(
                f"boxes must have a list of boxes for each image, got {number} lists "
                "and more images. Pass an empty list for an image without faces."
            ) from None


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
    """The faces of one image and the crops that the model saw.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        faces: With probabilities, largest first.
        crops: `(len(faces), S, S, 3)` uint8 RGB, at the model's input size.
        align: Whether the crops are aligned.
    """

    image: np.ndarray
    faces: list[Face]
    crops: np.ndarray
    align: bool = True

    def explain(self, model: keras.Model, method: str) -> np.ndarray:
        """Computes the saliency map of the image; see `explain_faces`."""
        from keras_fer.saliency import explain

        heat = np.zeros(self.image.shape[:2], np.float32)
        if not self.faces:
            return heat
        maps = explain(model, self.crops, method)
        for face, part in zip(self.faces, maps, strict=True):
            whole = paste_heatmap(part, heat.shape, face, align=self.align)
            np.maximum(heat, whole, out=heat)
        return np.minimum(heat, 1)  # Resampling rounds.


def analyze_in(
    image: np.ndarray,
    model: keras.Model | OnnxModel,
    detector: Detector,
    align: bool = True,
    *,
    min_size: float | None = None,
    min_confidence: float | None = None,
    max_faces: int | None = None,
) -> Analysis:
    """`analyze` for an image that is known to be `(H, W, 3)` uint8 RGB."""
    faces = detect_in(image, detector, min_size, min_confidence)
    return classify_in(image, model, faces[:max_faces], align)


def classify_in(
    image: np.ndarray,
    model: keras.Model | OnnxModel,
    faces: list[Face],
    align: bool = True,
) -> Analysis:
    """The second half of `analyze_in`: the expressions of faces that are known."""
    crops = _crops(model, image, faces, align)
    return Analysis(image, _classified(model, faces, crops), crops, align)


def classify_many_in(
    detected: Iterable[tuple[np.ndarray, list[Face]]],
    model: keras.Model | OnnxModel,
    align: bool = True,
) -> list[list[Face]]:
    """The expressions of the faces of several images, in one batch.

    Args:
        detected: Images, `(H, W, 3)` uint8 RGB, and their faces. Of an image, only the
            crops are kept, at the model's input size.
        model: See `analyze`.
        align: See `crop`.

    Returns:
        For each image its faces, with probabilities.

    Raises:
        ValueError: See `predict_crops`.
    """
    return _classify_parts(
        model,
        [(found, _crops(model, image, found, align)) for image, found in detected],
    )


def _classify_parts(
    model: keras.Model | OnnxModel, parts: Sequence[_Found]
) -> list[list[Face]]:
    every = [face for faces, _ in parts for face in faces]
    batch = np.concatenate([crops for _, crops in parts] or [np.empty(0, np.uint8)])
    classified = iter(_classified(model, every, batch))
    return [list(itertools.islice(classified, len(faces))) for faces, _ in parts]


def _classified(
    model: keras.Model | OnnxModel, faces: list[Face], crops: np.ndarray
) -> list[Face]:
    """Faces with their probabilities."""
    if not faces:
        return []
    rows = _predict(model, crops).tolist()
    return [
        classified(face, dict(zip(model.labels, row, strict=True)), crop, model)
        for face, row, crop in zip(faces, rows, crops, strict=True)
    ]


def explain_faces(
    model: keras.Model,
    image: np.ndarray,
    faces: list[Face],
    method: str = "smooth_grad",
    align: bool = True,
) -> np.ndarray:
    """Computes the saliency maps of an image's faces as one map of the image.

    Args:
        model: See `keras_fer.explain`.
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, grayscale or RGB, 0–255.
        faces: The image's faces, from `analyze` or `detect`.
        method: See `keras_fer.explain`.
        align: See `crop`; as for `analyze`.

    Returns:
        `(H, W)` float32 in [0, 1], 0 outside the crops. Each face's map has a maximum
        of 1; where crops overlap, the larger value is taken.

    Raises:
        ImageError: The array is not an image.
        ValueError: See `keras_fer.explain`.
    """
    image = as_image(image)
    crops = _crops(model, image, faces, align)
    return Analysis(image, faces, crops, align).explain(model, method)


def predict_crops(
    model: keras.Model | OnnxModel, crops: list[np.ndarray]
) -> np.ndarray:
    """Predicts crops of different sizes together.

    The result for a crop is that of `model(crop[None])`, up to rounding.

    Args:
        model: A model with `labels` and perhaps `input_size` (else 224).
        crops: Images `(S, S, 3)`, uint8; at least one.

    Returns:
        `(len(crops), len(model.labels))` probabilities.

    Raises:
        ValueError: The model does not have one label per output, or returns NaN.
    """
    return _predict(model, _as_batch(model, crops))


def _predict(model: keras.Model | OnnxModel, batch: np.ndarray) -> np.ndarray:
    # Not Keras' `predict`, whose overhead is longer than the forward pass of a face.
    predict = getattr(model, "predict_on_batch", model.predict)
    probabilities = np.concatenate(
        [
            np.asarray(predict(batch[start : start + _BATCH]))
            for start in range(0, len(batch), _BATCH)
        ]
    )
    labels = getattr(model, "labels", ())
    if len(labels) != probabilities.shape[-1]:
        raise ValueError(
            f"model.labels must name the {probabilities.shape[-1]} outputs of the "
            f"model, got {labels!r}. Set them in the order of training."
        )
    if not np.isfinite(probabilities).all():
        raise ValueError(
            f"The model {getattr(model, 'name', '')!r} returned NaN or infinity. Its "
            "weights are damaged, or its training diverged."
        )
    return probabilities


def _crops(
    model: keras.Model | OnnxModel, image: np.ndarray, faces: list[Face], align: bool
) -> np.ndarray:
    return _as_batch(model, [crop_in(image, face, align=align) for face in faces])


def _as_batch(model: keras.Model | OnnxModel, crops: list[np.ndarray]) -> np.ndarray:
    """Resizes crops to the model's input size, so that they make one batch.

    Pillow's bilinear filter is antialiased like the resizing in the model's graph,
    which then has nothing left to do.
    """
    return resize_crops(crops, getattr(model, "input_size", 224))


def resize_crops(crops: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Crops `(S, S, 3)` as a batch `(len(crops), size, size, 3)`, uint8."""
    batch = np.empty((len(crops), size, size, 3), np.uint8)
    for row, crop in zip(batch, crops, strict=True):
        resized = Image.fromarray(crop).resize((size, size), Image.Resampling.BILINEAR)
        row[:] = np.asarray(resized)
    return batch


def named_model(
    model: str | os.PathLike[str] | keras.Model | OnnxModel, balanced: bool = False
) -> keras.Model | OnnxModel:
    """The model that a user means.

    Args:
        model: A name or file, see `load_model`, or a model, which is returned.
        balanced: See `load_model`.

    Raises:
        ValueError: `balanced` is not for models, or see `load_model`.
    """
    if isinstance(model, (str, os.PathLike)):
        return load_model(os.fspath(model), balanced)
    if balanced:
        raise ValueError(
            "balanced=True is for the name of a model. Load yours with "
            "keras_fer.zoo.load(..., balanced=True), or use its scale_odds."
        )
    return model


@functools.lru_cache(maxsize=4)
def load_model(name: str, balanced: bool = False) -> keras.Model | OnnxModel:
    """Loads a model for prediction, once.

    Args:
        name: See `keras_fer.zoo.load`.
        balanced: See `keras_fer.zoo.load`.

    Returns:
        A preset on ONNX Runtime, without Keras; other models in Keras.

    Raises:
        ValueError: See `keras_fer.zoo.load`.
    """
    from keras_fer import zoo

    if name in zoo.list() and zoo.info(name).onnx:
        return zoo.load(name, balanced=balanced, runtime="onnx")
    return zoo.load(name, balanced=balanced)
