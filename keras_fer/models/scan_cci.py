"""SCAN-CCI: attention over crops and the whole, and four quadrants in context."""

import keras
from keras import layers, ops

from keras_fer.layers.complementary_context import ComplementaryContext
from keras_fer.layers.image_normalization import ImageNormalization
from keras_fer.layers.local_global_attention import LocalGlobalAttention
from keras_fer.layers.mean_vote import MeanVote
from keras_fer.models.backbones import build_backbone
from keras_fer.models.classifier import (
    ExpressionClassifier,
    check_input_size,
    resolve_labels,
)

# Weights of the five losses: attention, then the four quadrants.
_WEIGHTS = (0.2, 0.8, 0.8, 0.8, 0.8)


def ScanCCI(
    num_classes=None,
    labels=None,
    input_size=224,
    grayscale=False,
    backbone="resnet50",
    shared=False,
    official_bottom_strip=False,
    backbone_weights=None,
    name="scan_cci",
):
    """SCAN-CCI (Gera & Balasubramanian, arXiv 2007.10298, figure 2, and their code).

    The backbone's map at stride 8 goes to the attention branch: `LocalGlobalAttention`
    over 25 crops and the whole, and a dense layer. Its map at stride 16 goes to the
    context branch, `ComplementaryContext`, whose four quadrants vote. In training each
    of the five logit vectors has its own loss, 0.2 times that of the attention branch
    plus 0.8 times the sum of the quadrants'; the prediction is the softmax of their
    mean. `fit` takes plain `(x, y)` and any loss for probabilities.

    Args:
        num_classes: Number of classes; 7 and 8 name themselves. Default: the number
            of `labels`, or 7.
        labels: Names of the classes.
        input_size: Side in pixels to which images are resized, at least 48.
        grayscale: Whether colors are taken away first; see `ImageNormalization`.
        backbone: `"resnet50"` as in the paper, or `"mobilenet_v1"` (the light backbone
            that all models share), `"resnet18"` or `"vgg16"`.
        shared: Whether the 25 crops share one attention instead of one each.
        official_bottom_strip: See `LocalGlobalAttention`.
        backbone_weights: See the backbone's function in `keras_fer.models.backbones`.
        name: Name of the model.

    Returns:
        A `VotingClassifier`.

    Raises:
        ValueError: An argument is out of range.
        FileNotFoundError: The weights file of the backbone does not exist.
    """
    labels = resolve_labels(num_classes, labels)
    check_input_size(input_size, 48)

    # === Layers ===
    backbone = build_backbone(
        backbone, input_size, cut="stride_16", weights=backbone_weights
    )
    attention = LocalGlobalAttention(shared, official_bottom_strip, name="attention")

    # === Functional model ===
    images = keras.Input((None, None, None), name="image")
    x = ImageNormalization(input_size, grayscale, name="normalization")(images)
    maps = backbone(x)
    probabilities = _vote(attention(maps["stride_8"]), maps["stride_16"], labels)
    return VotingClassifier(images, probabilities, name=name)


@keras.saving.register_keras_serializable(package="keras_fer")
class VotingClassifier(ExpressionClassifier):
    """An `ExpressionClassifier` whose branches vote.

    In training it gives the probabilities of all five votes, `(B, 5, n)`, each with its
    loss; the compiled loss should average over the batch, as Keras' losses do. Metrics
    are those of the prediction.
    """

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The weighted sum of the votes' losses."""
        return super().compute_loss(
            x, *self.loss_arguments(y, y_pred, sample_weight), training
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The metrics of the prediction."""
        return super().compute_metrics(x, y, self.prediction(y_pred), sample_weight)

    @staticmethod
    def loss_arguments(y, y_pred, sample_weight=None):
        """Targets, predictions and weights as a batch that holds every vote.

        Args:
            y: Targets `(B,)`, `(B, 1)` or `(B, n)`.
            y_pred: Votes `(B, 5, n)`; or a prediction `(B, n)`, which passes unchanged.
            sample_weight: `(B,)` or `None`.
        """
        if len(y_pred.shape) == 2:
            return y, y_pred, sample_weight
        votes = len(_WEIGHTS)
        # A mean over 5 B votes is a fifth of the sum of their means.
        weights = ops.tile(
            votes * ops.convert_to_tensor(_WEIGHTS, "float32"), [ops.shape(y_pred)[0]]
        )
        if sample_weight is not None:
            sample_weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
            weights = weights * ops.repeat(sample_weight, votes)
        y_pred = ops.reshape(y_pred, (-1, y_pred.shape[-1]))
        return ops.repeat(y, votes, axis=0), y_pred, weights

    @staticmethod
    def prediction(y_pred):
        """Votes `(B, 5, n)` to the prediction `(B, n)`, which passes unchanged."""
        if len(y_pred.shape) == 2:
            return y_pred
        votes = ops.log(ops.maximum(y_pred, keras.config.epsilon()))
        return ops.softmax(ops.mean(votes, axis=1), axis=-1)

    def replace_head(self, labels):
        """The same network with new, untrained last layers for other classes.

        Args:
            labels: Names of the new classes.

        Returns:
            A model of the same class. It shares backbone and attention with this one,
            and the context branch keeps its weights up to its last layer.
        """
        old = self.get_layer("context")
        probabilities = _vote(self.get_layer("logits").input, old.input, labels)
        model = type(self)(self.input, probabilities, name=self.name)
        new = model.get_layer("context")
        new.attention.set_weights(old.attention.get_weights())
        new.hidden.set_weights(old.hidden.get_weights())
        return model


def _vote(descriptor, context, labels):
    """Both branches' last layers: five logit vectors and their vote."""
    classes = len(labels)
    logits = layers.Dense(classes, dtype="float32", name="logits")(descriptor)
    quadrants = ComplementaryContext(classes, name="context")(context)
    votes = layers.Concatenate(axis=1, dtype="float32", name="votes")(
        [layers.Reshape((1, classes), dtype="float32", name="vote")(logits), quadrants]
    )
    return MeanVote(labels, dtype="float32", name="probabilities")(votes)
