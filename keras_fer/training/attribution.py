"""PAL: a model learns to look where the landmarks of a face are."""

import keras
from keras import ops

from keras_fer.saliency.probe import Probe
from keras_fer.training.heatmaps import check_heatmap

CHANNELS = ("all", "mean", "half")
SCORES = ("abs_logits", "true_class")
METHODS = ("grad_input", "grad")


def privileged_attribution_loss(attribution, heatmap, channels="half"):
    """Privileged attribution loss (Bonnard et al., arXiv 2203.12905).

    `L = - sum_ijc (a - mean(a)) / std(a) * a*`, with `std(a)^2 = sum (a - mean(a))^2`:
    the standardized attribution `a` against the heatmap `a*`, which is not
    standardized. It is lowest, minus the norm of the centered heatmap, where the
    attribution is the heatmap times any positive number plus any number.

    Args:
        attribution: `(B, H, W, C)`, of any range.
        heatmap: `(B, H, W)`, at least 0. A face whose heatmap is zero everywhere has
            no landmarks, and no loss.
        channels: What of the attribution counts: `"all"` channels, each against the
            heatmap; their `"mean"`; or the mean of the first `"half"` of them, which
            leaves the others free.

    Returns:
        `(B,)`, a loss for each face.

    Raises:
        ValueError: The shapes do not agree, `channels` is unknown, or, where there are
            values to look at, the heatmap has negative or not finite ones.
    """
    _check_choice("channels", channels, CHANNELS)
    attribution = ops.convert_to_tensor(attribution)
    check_heatmap(heatmap)
    # Half precision is too coarse for sums over a map.
    if keras.backend.standardize_dtype(attribution.dtype) != "float64":
        attribution = ops.cast(attribution, "float32")
    heatmap = ops.cast(heatmap, attribution.dtype)
    if len(attribution.shape) != 4:
        raise ValueError(
            "Expected an attribution of shape (batch, height, width, channels). "
            f"Received: shape={tuple(attribution.shape)}"
        )
    if not _agree(heatmap.shape, attribution.shape[:3]):
        raise ValueError(
            "Expected a heatmap with the attribution's batch, height and width. "
            f"Received: heatmap {tuple(heatmap.shape)} and attribution "
            f"{tuple(attribution.shape)}."
        )
    if channels == "half":
        attribution = attribution[..., : max(1, attribution.shape[-1] // 2)]
    if channels != "all":
        attribution = ops.mean(attribution, axis=-1, keepdims=True)
    axes = (1, 2, 3)
    centered = attribution - ops.mean(attribution, axis=axes, keepdims=True)
    # Attributions are often small; their own size keeps the squares in range. It is a
    # constant here: the loss does not depend on it.
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
    """Trains a model with PAL beside its own loss (Bonnard et al., arXiv 2203.12905).

    Compile and fit it on `({"image": ..., "heatmap": ...}, y)`, with any loss for
    probabilities; `weight` times the privileged attribution loss is added. `.model` is
    what ships: it takes images alone, and costs what it cost before. Keras' own
    training step is used, so sample weights, averaged weights, mixed precision and
    `tf.distribute` work as ever.

    Stated in the paper: the loss, Grad·Input, the channel strategies, weight 1. Our
    reading: the layer, and the 51 inner landmarks, drawn 3 pixels wide at 224.

    Args:
        model: A functional model that ends in a softmax or in logits, such as any of
            `keras_fer.models`.
        layer: Name of the layer whose attribution is guided, also inside a nested
            model. Default: the last one that all paths to the logits pass and whose
            map is at least 14x14, or 6x6 where the model sees images smaller than
            112 pixels.
        channels: See `privileged_attribution_loss`.
        weight: Weight of the privileged attribution loss.
        score: What is attributed: the sum of `"abs_logits"`, as in the paper, or the
            logit of the `"true_class"` (with soft labels, their mean logit).
        method: `"grad_input"`: the gradient's magnitude times the layer's output, as
            in the paper; or the magnitude alone, `"grad"`.
        augmentation: A layer that changes the dictionary of images and heatmaps in
            training, such as `JointAugmentation`.

    Call arguments:
        inputs: `{"image": (B, H, W, 1 or 3), "heatmap": (B, h, w)}`, where `h, w` is
            either the image's height and width (the heatmap is then averaged down
            to the layer's map) or the map's own, `heatmap_size`. Or images alone.

    Raises:
        ValueError: An argument is out of range, the layer is unknown or not in the
            path to the logits, or the heatmaps do not fit.
    """

    def __init__(
        self,
        model,
        layer=None,
        channels="half",
        weight=1.0,
        score="abs_logits",
        method="grad_input",
        augmentation=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        _check_choice("channels", channels, CHANNELS)
        _check_choice("score", score, SCORES)
        _check_choice("method", method, METHODS)
        if not weight >= 0:
            raise ValueError(
                f"`weight` should be at least 0. Received: weight={weight!r}"
            )
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
    def heatmap_size(self):
        """`(height, width)` of the layer's map."""
        return self._probe.map_shape[:2]

    def call(self, inputs, training=False):
        """Images to what the model gives; in a step, attribution and heatmap too."""
        if not isinstance(inputs, dict):
            return self.model(inputs, training=training)
        if "truth" not in inputs:
            return self.model(inputs["image"], training=training)
        if training and self.augmentation is not None:
            inputs = self.augmentation(inputs, training=True)
        images = inputs["image"]
        heatmap = _fit_heatmap(inputs["heatmap"], images, self.heatmap_size)
        return (*self._attribute(images, inputs["truth"], training), heatmap)

    def attribute(self, images, y=None):
        """Attribution maps `(B, H, W, C)` at the layer, in inference mode.

        Args:
            images: Images, as the model takes them.
            y: True classes, `(B,)` or one-hot; only for `score="true_class"`.
        """
        return self._attribute(images, y, training=False)[1]

    def _attribute(self, images, truth, training):
        def score(logits):
            if self.score == "abs_logits":
                return ops.sum(ops.abs(logits), axis=-1)
            return ops.sum(logits * _one_hot(truth, logits), axis=-1)

        values = self._probe(images, score, training)
        attribution = ops.abs(values["gradient"])
        if self.method == "grad_input":
            attribution = attribution * values["features"]
        return values["outputs"], attribution

    # Keras' own steps, which know the truth only when the loss is due.

    def train_step(self, *args):
        """Keras' training step, with the truth at hand in `call`."""
        *state, data = args
        return super().train_step(*state, _with_truth(data))

    def test_step(self, *args):
        """Keras' test step, with the truth at hand in `call`."""
        *state, data = args
        return super().test_step(*state, _with_truth(data))

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The compiled loss and the weighted privileged attribution loss."""
        if not isinstance(y_pred, tuple):  # Keras tries the loss on symbols first.
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        outputs, attribution, heatmap = y_pred
        # A model that votes has a loss for every vote.
        arguments = (y, outputs, sample_weight)
        if hasattr(self.model, "loss_arguments"):
            arguments = self.model.loss_arguments(*arguments)
        loss = super().compute_loss(x, *arguments, training)
        losses = privileged_attribution_loss(attribution, heatmap, self.channels)
        if sample_weight is not None:
            losses = losses * ops.reshape(ops.cast(sample_weight, losses.dtype), (-1,))
        self.attribution_tracker.update_state(losses)
        return loss + self.weight * ops.mean(losses) / _replicas()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The compiled metrics, on what the model gives."""
        outputs = y_pred[0] if isinstance(y_pred, tuple) else y_pred
        if hasattr(self.model, "prediction"):
            outputs = self.model.prediction(outputs)
        return super().compute_metrics(x, y, outputs, sample_weight)

    def fit(self, x=None, *args, **kwargs):
        """As `keras.Model.fit`; arrays are checked before anything is trained."""
        if isinstance(x, dict) or hasattr(x, "shape"):
            _check_entries(x)
            if self.augmentation is None:
                _check_size(x["heatmap"], x["image"], self.heatmap_size)
            check_heatmap(x["heatmap"])
        return super().fit(x, *args, **kwargs)

    def get_config(self):
        """Constructor arguments."""
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
    def from_config(cls, config, custom_objects=None):
        """Rebuilds the model and the augmentation too."""
        nested = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("model", "augmentation")
        }
        return cls(**{**config, **nested})


def _check_entries(x):
    if not isinstance(x, dict) or not {"image", "heatmap"} <= set(x):
        raise ValueError(
            'Expected images and heatmaps, {"image": ..., "heatmap": ...}. Received: '
            f"{sorted(x) if isinstance(x, dict) else type(x).__name__}. To fit or "
            "evaluate on images alone, use `.model`."
        )


def _with_truth(data):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    _check_entries(x)
    return keras.utils.pack_x_y_sample_weight({**x, "truth": y}, y, sample_weight)


def _check_size(heatmap, image, size):
    """Raises unless a heatmap has the size of the image, or of the map."""
    if (
        len(heatmap.shape) != 3
        or not _agree(heatmap.shape[:1], image.shape[:1])
        or not (
            _agree(heatmap.shape[1:], size)
            or _agree(heatmap.shape[1:], image.shape[1:3])
        )
    ):
        raise ValueError(
            "Expected a heatmap for each image, as large as the image or as the "
            f"layer's map, {size}. Received: heatmap {tuple(heatmap.shape)} and image "
            f"{tuple(image.shape)}. See keras_fer.training.landmark_heatmap."
        )


def _fit_heatmap(heatmap, image, size):
    """A heatmap at the size of the map."""
    _check_size(heatmap, image, size)
    if tuple(heatmap.shape[1:]) == tuple(size):
        return heatmap
    small = ops.image.resize(
        ops.cast(heatmap, "float32")[..., None],
        size,
        antialias=True,
        data_format="channels_last",
    )[..., 0]
    highest = ops.max(small, axis=(1, 2), keepdims=True)
    return small / ops.where(highest > 0, highest, 1.0)


def _one_hot(truth, logits):
    classes = logits.shape[-1]
    if len(truth.shape) == 2 and truth.shape[-1] == classes:
        return ops.cast(truth, logits.dtype)
    return ops.one_hot(ops.reshape(truth, (-1,)), classes, dtype=logits.dtype)


def _replicas():
    """Replicas whose gradients `tf.distribute` sums; Keras scales its own losses."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def _agree(shape, other):
    """Whether two shapes may be the same, as far as they are known."""
    return len(shape) == len(other) and all(
        a is None or b is None or a == b for a, b in zip(shape, other, strict=True)
    )


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(
            f"`{name}` should be one of {', '.join(choices)}. "
            f"Received: {name}={value!r}"
        )
