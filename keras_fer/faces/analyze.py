"""An image to its faces and what they express."""

from __future__ import annotations

import dataclasses
import functools
import os
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from keras_fer.faces.align import crop, paste_heatmap
from keras_fer.faces.detect import Face, detect
from keras_fer.faces.images import as_image, read_image

if TYPE_CHECKING:
    import keras

# Faces a forward pass, which bounds memory on images of crowds.
_BATCH = 64


def analyze(
    image: str | os.PathLike | np.ndarray,
    model: str | keras.Model = "patt_lite",
    detector: str | os.PathLike = "mtcnn",
    align: bool = True,
) -> list[Face]:
    """Finds the faces in an image and what they express.

    Args:
        image: The path of an image, or an array: `(H, W)`, `(H, W, 1)` or
            `(H, W, 3)`, gray or RGB, 0–255.
        model: A name that `keras_fer.zoo.load` knows (loaded once), or a model with
            `labels`.
        detector: See `detect`.
        align: See `crop`.

    Returns:
        A list of `Face` with probabilities, largest first; empty where there is none.

    Raises:
        ImageError: The file or array is not a usable image.
        ValueError: The model has no labels, or an argument is unknown.
    """
    if isinstance(image, (str, os.PathLike)):
        image = read_image(image)
    else:
        image = as_image(image)
    if isinstance(model, str):
        model = _load(model)
    faces = detect(image, detector)
    if not faces:
        return []
    crops = [crop(image, face, align=align) for face in faces]
    probabilities = predict_crops(model, crops).tolist()
    return [
        dataclasses.replace(
            face, probabilities=dict(zip(model.labels, row, strict=True))
        )
        for face, row in zip(faces, probabilities, strict=True)
    ]


def explain_faces(
    model: keras.Model,
    image: np.ndarray,
    faces: list[Face],
    method: str = "grad_input",
    align: bool = True,
) -> np.ndarray:
    """Where on an image a model looks: `explain` for each face, put on its place.

    Args:
        model: See `keras_fer.explain`.
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, gray or RGB, 0–255.
        faces: The image's faces, from `analyze` or `detect`.
        method: See `keras_fer.explain`.
        align: See `crop`; as it was for `analyze`.

    Returns:
        `(H, W)` float32 in [0, 1], at most 1 on each face, the larger value where
        faces overlap, 0 outside of them.

    Raises:
        ImageError: The array is not an image.
        ValueError: See `keras_fer.explain`.
    """
    from keras_fer.explanation import explain

    image = as_image(image)
    heat = np.zeros(image.shape[:2], np.float32)
    if not faces:
        return heat
    crops = [crop(image, face, align=align) for face in faces]
    maps = explain(model, _as_batch(model, crops), method)
    for face, found in zip(faces, maps, strict=True):
        np.maximum(heat, paste_heatmap(found, heat.shape, face, align=align), out=heat)
    return np.minimum(heat, 1)  # Resampling rounds.


def predict_crops(model: keras.Model, crops: list[np.ndarray]) -> np.ndarray:
    """Predicts crops of different sizes together.

    A crop gives what `model(crop[None])` gives, to rounding.

    Args:
        model: A model with `labels` and perhaps `input_size` (else 224).
        crops: Images `(S, S, 3)`, uint8; at least one.

    Returns:
        `(len(crops), len(model.labels))` probabilities.

    Raises:
        ValueError: The model does not have one label for each output.
    """
    batch = _as_batch(model, crops)
    # Not `predict`, whose bookkeeping costs more than the forward pass of a face.
    probabilities = np.concatenate(
        [
            np.asarray(model.predict_on_batch(batch[start : start + _BATCH]))
            for start in range(0, len(batch), _BATCH)
        ]
    )
    labels = getattr(model, "labels", ())
    if len(labels) != probabilities.shape[-1]:
        raise ValueError(
            f"`model.labels` should name the {probabilities.shape[-1]} outputs of the "
            f"model. Received: labels={labels!r}. Set them in the order of training."
        )
    return probabilities


def _as_batch(model, crops):
    """Crops of different sizes as one batch.

    A batch has one size, so crops are brought to the model's own. Pillow's bilinear
    filter is antialiased like the one in the model's graph, which then has nothing
    left to resize.
    """
    size = getattr(model, "input_size", 224)
    return np.stack(
        [
            np.asarray(
                Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
            )
            for image in crops
        ]
    )


@functools.lru_cache(maxsize=4)
def _load(name):
    from keras_fer import zoo

    return zoo.load(name)
