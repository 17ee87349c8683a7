"""PAL: a loss that guides the attribution of a model to the landmarks of a face."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_fer._compat import is_validation_of_fit
from keras_fer.models.classifier import (
    ExpressionClassifier,
    check_images,
    warn_if_scaled,
    warn_of_replicas,
)
from keras_fer.saliency.probe import Probe
from keras_fer.training.heatmaps import average_heatmap, check_heatmap

CHANNELS = ("all", "mean", "half")
SCORES = ("abs_logits", "true_class")
METHODS = ("grad_input", "grad")


def privileged_attribution_loss(
    attribution: Any, heatmap: Any, channels: str = "half"
) -> Any:
    """Privileged attribution loss (Bonnard et al., arXiv 2203.12905).

    `L = - sum_ijc (a - mean(a)) / std(a) * a*`, with `std(a)^2 = sum (a - mean(a))^2`:
    the standardized attribution `a` against the heatmap `a*`, which is not
    standardized. It is lowest, minus the norm of the centered heatmap, where the
    attribution is the heatmap times any positive number plus any number.

    Args:
        attribution: `(B, H, W, C)`, of any range.
        heatmap: `(B, H, W)`, at least 0. A heatmap that is zero everywhere belongs to
            a face without landmarks, whose loss is 0.
        channels: What is compared with the heatmap: `"all"` channels, one by one;
            their `"mean"`; or the mean of the first `"half"` of them, which does not
            constrain the others.

    Returns:
        `(B,)`, one loss per face; float64 for a float64 attribution, otherwise float32.

    Raises:
        ValueError: The shapes do not agree, `channels` is unknown, or the heatmap has
            negative or non-finite values (not checked inside compiled functions).
    """
    _check_choice("channels", channels, CHANNELS)
    attribution = ops.convert_to_tensor(attribution)
    check_heatmap(heatmap)
    # Half precision is too coarse for sums over a feature map.
    if keras.backend.standardize_dtype(attribution.dtype) != "float64":
        attribution = ops.cast(attribution, "float32")
    heatmap = ops.cast(heatmap, attribution.dtype)
    if len(attribution.shape) != 4:
        raise ValueError(
            "attribution must have the shape (batch, height, width, channels), got "
            f"{tuple(attribution.shape)}."
        )
    if not _agree(heatmap.shape, attribution.shape[:3]):
        raise ValueError(
            "heatmap must have the batch, height and width of the attribution, got "
            f"heatmap {tuple(heatmap.shape)} and attribution "
            f"{tuple(attribution.shape)}."
        )
    if channels == "half":
        attribution = attribution[..., : max(1, attribution.shape[-1] // 2)]
    if channels != "all":
        attribution = ops.mean(attribution, axis=-1, keepdims=True)
    axes = (1, 2, 3)
    centered = attribution - ops.mean(attribution, axis=axes, keepdims=True)
    # Attributions are often tiny: dividing by the largest keeps the squares in range.
    # The loss does not depend on that factor, so it needs no gradient.
    largest = ops.stop_gradient(ops.max(ops.abs(centered), axis=axes, keepdims=True))
    seen = ops.logical_and(
        largest > 0, ops.any(heatmap > 0, axis=(1, 2))[:, None, None, None]
    )
    # Both branches of a `where` are differentiated: none may divide by zero.
    centered = ops.where(seen, centered / ops.where(largest > 0, largest, 1.0), 1.0)
    variance = ops.sum(ops.square(centered), axis=axes)
    agreement = ops.sum(centered * heatmap[..., None], axis=axes) / ops.sqrt(variance)
    return ops.where(seen[:, 0, 0, 0], -agreement, 0.0)


@keras.saving.register_keras_serializable(package="keras_fer")
class PrivilegedAttribution(keras.Model):
    """Trains a model with PAL and its own loss (Bonnard et al., arXiv 2203.12905).

    Compile and fit it on `({"image": ..., "heatmap": ...}, y)`, with any loss for
    probabilities; `weight` times the privileged attribution loss is added. Deploy
    `.model`, which takes images alone and is as fast as before. Keras' own training
    step is used, so sample weights, averaged weights, mixed precision and
    `tf.distribute` are supported.

    Stated in the paper: the loss, Grad·Input, the channel strategies, weight 1. Our
    interpretation: the layer, and the 51 inner landmarks, drawn with a standard
    deviation of 3 pixels at 224.

    Args:
        model: A functional model that ends in a softmax or in logits, such as any of
            `keras_fer.models`.
        layer: Name of the layer whose attribution is guided, also inside a nested
            model. Default: the last one on every path to the logits whose feature map
            has at least 14x14 spatial positions, or 6x6 where the model resizes images
            to less than 112 pixels.
        channels: See `privileged_attribution_loss`.
        weight: Weight of the privileged attribution loss, at least 0.
        score: The score that is attributed: the sum of `"abs_logits"`, as in the
            paper, or the logit of the `"true_class"` (for soft labels, the mean logit
            under them).
        method: `"grad_input"`, the magnitude of the gradient times the layer's output,
            as in the paper; or `"grad"`, the magnitude alone.
        augmentation: A layer that transforms the dictionary of images and heatmaps in
            training, such as `JointAugmentation`.

    Call arguments:
        inputs: `{"image": (B, H, W, 1 or 3), "heatmap": (B, h, w)}`, where `(h, w)` is
            `heatmap_size`, or the height and width of the images: then the heatmap is
            averaged over each position of the feature map. Or images alone.
        training: Whether to run in training mode.

    Raises:
        ValueError: An argument is out of range, the layer is unknown or not on the
            path to the logits, or the heatmaps do not fit the images.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: str | None = None,
        channels: str = "half",
        weight: float = 1.0,
        score: str = "abs_logits",
        method: str = "grad_input",
        augmentation: keras.layers.Layer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_choice("channels", channels, CHANNELS)
        _check_choice("score", score, SCORES)
        _check_choice("method", method, METHODS)
        if not weight >= 0:
            raise ValueError(f"weight must be at least 0, got {weight!r}.")
        self.model = model
        self.layer = layer
        self.channels = channels
        self.weight = weight
        self.score = score
        self.method = method
        self.augmentation = augmentation
        self.attribution_tracker = keras.metrics.Mean("attribution_loss")
        self._probe = Probe(model, layer)
        self.built = True

    @property
    def heatmap_size(self) -> tuple[int, int]:
        """`(height, width)` of the layer's feature map."""
        return self._probe.map_shape[:2]

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not isinstance(inputs, dict):
            return self.model(inputs, training=training)
        if "truth" not in inputs:
            return self.model(inputs["image"], training=training)
        # A step of `fit` or `evaluate`, whose loss needs attribution and heatmap.
        if training and self.augmentation is not None:
            inputs = self.augmentation(inputs, training=True)
        images = inputs["image"]
        heatmap = _fit_heatmap(inputs["heatmap"], images, self.heatmap_size)
        return (*self._attribute(images, inputs["truth"], training), heatmap)

    def attribute(self, images: Any, y: Any = None) -> Any:
        """Computes attribution maps at the layer, in inference mode.

        Args:
            images: `(B, H, W, 1)` or `(B, H, W, 3)`, 0–255, as the model takes them.
            y: Tensor of true classes, `(B,)` or one-hot; only for
                `score="true_class"`.

        Returns:
            `(B, H, W, C)`, of the shape of the layer's feature map.
        """
        return self._attribute(images, y, training=False)[1]

    def _attribute(self, images: Any, truth: Any, training: bool) -> tuple[Any, Any]:
        def score(logits: Any) -> Any:
            if self.score == "abs_logits":
                return ops.sum(ops.abs(logits), axis=-1)
            return ops.sum(logits * _one_hot(truth, logits), axis=-1)

        values = self._probe(images, score, training)
        attribution = ops.abs(values["gradient"])
        if self.method == "grad_input":
            attribution = attribution * values["features"]
        return values["outputs"], attribution

    # Keras passes `y` to the loss, but `call` needs it for the score of the true class.

    def train_step(self, *args: Any) -> Any:
        *state, data = args
        return super().train_step(*state, _with_truth(data))

    def test_step(self, *args: Any) -> Any:
        *state, data = args
        return super().test_step(*state, _with_truth(data))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Adds the weighted privileged attribution loss to the compiled loss."""
        if not isinstance(y_pred, tuple):  # Keras' symbolic build, on images.
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        outputs, attribution, heatmap = y_pred
        # A model that votes has one loss per vote.
        arguments = (y, outputs, sample_weight)
        if hasattr(self.model, "loss_arguments"):
            arguments = self.model.loss_arguments(*arguments)
        loss = super().compute_loss(x, *arguments, training)
        losses = privileged_attribution_loss(attribution, heatmap, self.channels)
        if sample_weight is not None:
            losses = losses * ops.reshape(ops.cast(sample_weight, losses.dtype), (-1,))
        self.attribution_tracker.update_state(losses)
        if not self.weight:  # It would be differentiated in vain.
            return loss
        return loss + self.weight * ops.mean(losses) / _replicas()

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Computes the compiled metrics on the outputs of the model."""
        outputs = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        if hasattr(self.model, "prediction"):
            outputs = self.model.prediction(outputs)
        return super().compute_metrics(x, y, outputs, sample_weight)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains as `keras.Model.fit` does; arrays are checked beforehand.

        See `keras_fer.models.ExpressionClassifier.fit`.
        """
        given = inspect.signature(keras.Model.fit).bind(self, x, *args, **kwargs)
        held_out = given.arguments.get("validation_data")
        held_out, _, _ = keras.utils.unpack_x_y_sample_weight(held_out)
        warn_if_scaled(
            *self._check_arrays("x", x, resized=self.augmentation is not None),
            *self._check_arrays("validation_data", held_out),
        )
        warn_of_replicas(self)
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluates as `keras.Model.evaluate` does; `x` is checked as in `fit`."""
        if not is_validation_of_fit(kwargs):
            warn_if_scaled(*self._check_arrays("x", x))
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Predicts as `keras.Model.predict` does; the images are checked as in `fit`.

        `x` is the images alone, or a dictionary of which `"image"` is used.
        """
        if isinstance(x, dict) and "image" in x:
            warn_if_scaled(*self._check_images('x["image"]', x["image"]))
        else:
            warn_if_scaled(*self._check_images("x", x))
        return super().predict(x, *args, **kwargs)

    def _check_arrays(self, name: str, x: Any, resized: bool = False) -> list[Any]:
        """Checks images and heatmaps; returns what `warn_if_scaled` is to see.

        With `resized`, an augmentation may change the size of the heatmaps.
        """
        if not isinstance(x, dict) and not hasattr(x, "shape"):
            return []
        _check_entries(x)
        images = self._check_images(f'{name}["image"]', x["image"])
        if not resized:
            _check_size(x["heatmap"], x["image"], self.heatmap_size)
        check_heatmap(x["heatmap"])
        return images

    def _check_images(self, name: str, images: Any) -> list[Any]:
        channels = self.model.input_shape[-1]
        check_images(name, images, (channels,) if channels else (1, 3))
        # Other models may well take images in 0–1.
        return [images] if isinstance(self.model, ExpressionClassifier) else []

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "layer": self.layer,
            "channels": self.channels,
            "weight": self.weight,
            "score": self.score,
            "method": self.method,
            "augmentation": keras.saving.serialize_keras_object(self.augmentation),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> PrivilegedAttribution:
        nested = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("model", "augmentation")
        }
        return cls(**{**config, **nested})


def _check_entries(x: Any) -> None:
    if not isinstance(x, dict) or not {"image", "heatmap"} <= set(x):
        raise ValueError(
            'x must have images and heatmaps, {"image": ..., "heatmap": ...}, got '
            f"{sorted(x) if isinstance(x, dict) else type(x).__name__}. To fit or "
            "evaluate on images alone, use `.model`."
        )


def _with_truth(data: Any) -> Any:
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    _check_entries(x)
    return keras.utils.pack_x_y_sample_weight({**x, "truth": y}, y, sample_weight)


def _check_size(heatmap: Any, image: Any, size: tuple[int, int]) -> None:
    """Raises unless a heatmap has the size of the image or of the feature map."""
    if (
        len(heatmap.shape) != 3
        or not _agree(heatmap.shape[:1], image.shape[:1])
        or not (
            _agree(heatmap.shape[1:], size)
            or _agree(heatmap.shape[1:], image.shape[1:3])
        )
    ):
        raise ValueError(
            "heatmap must have one entry per image, of the size of the image or of the "
            f"layer's feature map, {size}, got heatmap {tuple(heatmap.shape)} and "
            f"image {tuple(image.shape)}. Draw it with "
            "keras_fer.training.landmark_heatmap."
        )


def _fit_heatmap(heatmap: Any, image: Any, size: tuple[int, int]) -> Any:
    """A heatmap of the size of the feature map, with a maximum of 1."""
    _check_size(heatmap, image, size)
    if tuple(heatmap.shape[1:]) == tuple(size):
        return heatmap
    small = average_heatmap(heatmap, size)
    highest = ops.max(small, axis=(1, 2), keepdims=True)
    return small / ops.where(highest > 0, highest, 1.0)


def _one_hot(truth: Any, logits: Any) -> Any:
    classes = logits.shape[-1]
    if len(truth.shape) == 2 and truth.shape[-1] == classes:
        return ops.cast(truth, logits.dtype)
    return ops.one_hot(ops.reshape(truth, (-1,)), classes, dtype=logits.dtype)


def _replicas() -> int:
    """Number of replicas whose gradients `tf.distribute` sums.

    Keras divides its own losses by it.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def _agree(shape: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Whether two shapes are equal, as far as they are known."""
    return len(shape) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(shape, other, strict=True)
    )


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")
