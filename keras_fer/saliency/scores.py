"""How well a saliency map finds what a model uses: insertion and deletion."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from keras_fer.models.classifier import check_images, check_outputs

# Standard deviation of the filter that blurs an image, as a share of its side. A face
# has no expression then.
_BLUR = 0.1

# Images per forward pass.
_BATCH = 64


@dataclasses.dataclass(frozen=True, eq=False)
class InsertionDeletion:
    """Probability of a class while the pixels of an image come or go.

    Attributes:
        inserted: `(B, steps + 1)`, as pixels of the image replace those of a blurred
            copy, from none to all, the most salient first.
        deleted: `(B, steps + 1)`, as pixels become the image's mean color, from none
            to all, the most salient first.
    """

    inserted: np.ndarray
    deleted: np.ndarray

    @property
    def insertion(self) -> np.ndarray:
        """Mean height of each curve of `inserted`, `(B,)` in [0, 1]; higher is better.

        The area under the curve, by trapezoids.
        """
        return _area(self.inserted)

    @property
    def deletion(self) -> np.ndarray:
        """Mean height of each curve of `deleted`, `(B,)` in [0, 1]; lower is better."""
        return _area(self.deleted)


def insertion_deletion(
    model: Any,
    images: Any,
    maps: Any,
    *,
    classes: Any = None,
    steps: int = 16,
) -> InsertionDeletion:
    """Scores saliency maps by what happens without the pixels that they name.

    Insertion and deletion of Petsiuk et al., "RISE", arXiv 1806.07421: a map that finds
    what a model uses makes the probability of its class rise early when the most
    salient pixels are inserted first, and fall early when they are deleted first.
    Compare with a random map and with one that favors the center, which faces are in.

    Args:
        model: A model of this package, or any with `predict` from such images to
            probabilities, such as `keras_fer.runtime.OnnxModel`, which is faster.
        images: `(B, H, W, 1)` or `(B, H, W, 3)`, 0–255, as the model takes them; at
            least one. They are rounded.
        maps: `(B, H, W)` finite numbers, as `explain` returns them. Pixels of equal
            saliency come in an order that is random but always the same.
        classes: `(B,)` integers, the classes to follow; `None` for the predicted ones.
        steps: How many times pixels are inserted or deleted.

    Returns:
        An `InsertionDeletion`.

    Raises:
        ValueError: An argument has another shape or range, or the model returns NaN.
    """
    images = np.asarray(images)
    check_images("images", images)
    images = np.rint(images).clip(0, 255).astype(np.uint8)
    maps = np.asarray(maps, dtype="float64")
    if maps.shape != images.shape[:3] or not np.isfinite(maps).all():
        raise ValueError(
            f"maps must be finite and have the shape {images.shape[:3]} of the images, "
            f"got {maps.shape}. Pass what keras_fer.explain returns for them."
        )
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a positive integer, got {steps!r}.")
    whole = _predict(model, images)
    classes = whole.argmax(axis=1) if classes is None else np.asarray(classes)
    if (
        classes.shape != (len(images),)
        or not np.isin(classes, range(whole.shape[1])).all()
    ):
        raise ValueError(
            f"classes must be {len(images)} integers from 0 to {whole.shape[1] - 1}, "
            f"got {classes!r}."
        )
    ranks = _ranks(maps)[..., None]
    gone = np.rint(images.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
    curves = [
        [
            _predict(model, step)[np.arange(len(images)), classes]
            for step in _replaced(start, end, ranks, steps)
        ]
        for start, end in ((_blurred(images), images), (images, gone))
    ]
    inserted, deleted = (np.stack(curve, axis=1) for curve in curves)
    return InsertionDeletion(inserted, deleted)


def _replaced(
    start: np.ndarray, end: np.ndarray, ranks: np.ndarray, steps: int
) -> Iterator[np.ndarray]:
    """Images on the way from one to another, pixel by pixel."""
    pixels = ranks.shape[1] * ranks.shape[2]
    for step in range(steps + 1):
        yield np.where(ranks < round(step / steps * pixels), end, start)


def _ranks(maps: np.ndarray) -> np.ndarray:
    """The place of each pixel in descending order of saliency, `(B, H, W)`."""
    rows = maps.reshape(len(maps), -1)
    ties = np.random.default_rng(0).permutation(rows.shape[1])
    order = np.stack([np.lexsort((ties, -row)) for row in rows])
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(rows.shape[1])[None], axis=1)
    return ranks.reshape(maps.shape)


def _blurred(images: np.ndarray) -> np.ndarray:
    radius = _BLUR * min(images.shape[1:3])
    blur = ImageFilter.GaussianBlur(radius)
    channels = np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3])
    blurred = [np.asarray(Image.fromarray(each).filter(blur)) for each in channels]
    shape = (len(images), images.shape[-1], *images.shape[1:3])
    return np.moveaxis(np.stack(blurred).reshape(shape), 1, -1)


def _predict(model: Any, images: np.ndarray) -> np.ndarray:
    # Not Keras' `predict`, whose overhead is longer than a forward pass.
    predict = getattr(model, "predict_on_batch", model.predict)
    batches = range(0, len(images), _BATCH)
    outputs = [np.asarray(predict(images[at : at + _BATCH])) for at in batches]
    probabilities = np.concatenate(outputs)
    check_outputs(model, probabilities)
    return probabilities


def _area(curves: np.ndarray) -> np.ndarray:
    area: np.ndarray = np.trapezoid(curves, axis=1) / (curves.shape[1] - 1)
    return area
