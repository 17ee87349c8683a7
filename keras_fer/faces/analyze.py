"""An image to its faces, their expressions and saliency maps."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

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
from keras_fer.faces.images import as_image, read_image

if TYPE_CHECKING:
    import keras

    from keras_fer.runtime import OnnxModel

# Faces per forward pass, which bounds memory on images of crowds.
_BATCH = 64


def analyze(
    image: str | os.PathLike[str] | np.ndarray,
    model: str | keras.Model | OnnxModel = "patt_lite",
    detector: AnyDetector = "mtcnn",
    align: bool = True,
    *,
    min_size: float | None = None,
    min_confidence: float | None = None,
    boxes: Sequence[Sequence[float]] | None = None,
    balanced: bool = False,
) -> list[Face]:
    """Detects the faces in an image and classifies their expressions.

    Args:
        image: The path of an image, or an array: `(H, W)`, `(H, W, 1)` or
            `(H, W, 3)`, grayscale or RGB, 0–255.
        model: A name that `keras_fer.zoo.load` knows, which is loaded once, or a model
            with `labels`. Presets run on ONNX Runtime, without Keras.
        detector: See `detect`.
        align: See `crop`.
        min_size: See `detect`.
        min_confidence: See `detect`.
        boxes: The faces' boxes `(x, y, width, height)` in pixels of the upright image,
            if they are known; `detector` is not used then. Parts outside the image are
            cut off.
        balanced: With the name of a model, see `keras_fer.zoo.load`: rare expressions
            are found more often.

    Returns:
        A list of `Face` with probabilities, largest first; empty where there is none.
        With `boxes`, one `Face` per box, in their order.

    Raises:
        ImageError: The file or array is not a usable image.
        ValueError: The model has no labels or returns NaN, an argument is unknown, or
            a box is invalid.
    """
    if boxes is not None and (min_size, min_confidence) != (None, None):
        raise ValueError(
            "min_size and min_confidence are for detectors, and boxes replaces the "
            "detector. Leave them out, or filter the boxes yourself."
        )
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image)
    else:
        image = as_image(image)
    model = named_model(model, balanced)
    if boxes is None:
        loaded = load_detector(detector)
        faces = detect_in(image, loaded, min_size, min_confidence)
    else:
        faces = faces_of_boxes(image, boxes)
    return classify_in(image, model, faces, align).faces


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
) -> Analysis:
    """`analyze` for an image that is known to be `(H, W, 3)` uint8 RGB."""
    return classify_in(image, model, detect_in(image, detector), align)


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
    faces, crops = [], []
    for image, found in detected:
        faces.append(found)
        crops.append(_crops(model, image, found, align))
    every = [face for found in faces for face in found]
    batch = np.concatenate(crops) if crops else np.empty(0, np.uint8)
    classified = iter(_classified(model, every, batch))
    return [list(itertools.islice(classified, len(found))) for found in faces]


def _classified(
    model: keras.Model | OnnxModel, faces: list[Face], crops: np.ndarray
) -> list[Face]:
    """Faces with their probabilities."""
    if not faces:
        return []
    return [
        dataclasses.replace(
            face, probabilities=dict(zip(model.labels, row, strict=True))
        )
        for face, row in zip(faces, _predict(model, crops).tolist(), strict=True)
    ]


def explain_faces(
    model: keras.Model,
    image: np.ndarray,
    faces: list[Face],
    method: str = "grad_input",
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
    size = getattr(model, "input_size", 224)
    batch = np.empty((len(crops), size, size, 3), np.uint8)
    for row, crop in zip(batch, crops, strict=True):
        resized = Image.fromarray(crop).resize((size, size), Image.Resampling.BILINEAR)
        row[:] = np.asarray(resized)
    return batch


def named_model(
    model: str | keras.Model | OnnxModel, balanced: bool = False
) -> keras.Model | OnnxModel:
    """The model that a user means.

    Args:
        model: A name, see `load_model`, or a model, which is returned.
        balanced: See `load_model`.

    Raises:
        ValueError: `balanced` is not for models, or see `load_model`.
    """
    if isinstance(model, str):
        return load_model(model, balanced)
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
