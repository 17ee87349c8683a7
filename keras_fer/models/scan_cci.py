"""SCAN-CCI: attention over crops and the whole, and context of four quadrants."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import keras
from keras import layers, ops

from keras_fer.layers.complementary_context import ComplementaryContext
from keras_fer.layers.image_normalization import ImageNormalization
from keras_fer.layers.local_global_attention import LocalGlobalAttention
from keras_fer.layers.mean_vote import MeanVote
from keras_fer.layers.precision import full_precision
from keras_fer.layers.types import Tensor
from keras_fer.models.backbones import build_backbone
from keras_fer.models.classifier import (
    ExpressionClassifier,
    architecture,
    check_input_size,
    resolve_labels,
)

# Weights of the five losses: attention, then the four quadrants.
_WEIGHTS = (0.2, 0.8, 0.8, 0.8, 0.8)


@architecture
def ScanCCI(
    num_classes: int | None = None,
    labels: Iterable[str] | None = None,
    input_size: int = 224,
    grayscale: bool = False,
    backbone: str = "resnet50",
    shared: bool = False,
    official_bottom_strip: bool = False,
    backbone_weights: str | os.PathLike[str] | None = None,
    name: str = "scan_cci",
) -> "VotingClassifier":
    """SCAN-CCI (Gera & Balasubramanian, arXiv 2007.10298, figure 2, and their code).

    The attention branch takes the backbone's feature map at stride 8:
    `LocalGlobalAttention` over 25 crops and the whole, and a dense layer. The context
    branch takes the feature map at stride 16: `ComplementaryContext`, which classifies
    four quadrants. In training each of the five logit vectors has its own loss; the
    total is 0.2 times that of the attention branch plus 0.8 times the sum over the
    quadrants. The prediction is the softmax of the mean of the logits. `fit` takes
    plain `(x, y)` and any loss for probabilities.

    Args:
        num_classes: Number of classes, at least 2. Default: the number of `labels`, or
            7.
        labels: Names of the classes. Default: the canonical expressions for 7 and 8
            classes, `"class_0"`, `"class_1"`, … for other numbers.
        input_size: Side in pixels of the square to which images are resized, 48 to
            1024.
        grayscale: Whether to convert images to gray first; see `ImageNormalization`.
        backbone: `"resnet50"` as in the paper, or `"mobilenet_v1"` (the light backbone
            that all models share), `"resnet18"` or `"vgg16"`.
        shared: Whether the 25 crops share one attention instead of having one each.
        official_bottom_strip: See `LocalGlobalAttention`.
        backbone_weights: Weights file of the backbone, or `None` for random weights.
            `"mobilenet_v1"` and `"vgg16"` also take `"imagenet"`, which Keras downloads
            once. See `keras_fer.models.backbones`.
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
    network = build_backbone(
        backbone, input_size, cut="stride_16", weights=backbone_weights
    )
    attention = LocalGlobalAttention(shared, official_bottom_strip, name="attention")
    context = ComplementaryContext(len(labels), name="context")

    # === Functional model ===
    images = keras.Input((None, None, None), name="image")
    x = ImageNormalization(input_size, grayscale, name="normalization")(images)
    maps = network(x)
    descriptor = attention(maps["stride_8"])
    probabilities = _vote(descriptor, maps["stride_16"], labels, context)
    return VotingClassifier(images, probabilities, name=name)


@keras.saving.register_keras_serializable(package="keras_fer")
class VotingClassifier(ExpressionClassifier):
    """An `ExpressionClassifier` that averages the logits of five heads, the votes.

    In training its output is the probabilities of all votes, `(B, 5, n)`, each with its
    own loss; the compiled loss should average over the batch, as Keras' losses do.
    Metrics are those of the prediction.
    """

    def compute_loss(
        self,
        x: Any = None,
        y: Tensor = None,
        y_pred: Tensor = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        return super().compute_loss(
            x, *self.loss_arguments(y, y_pred, sample_weight), training
        )

    def compute_metrics(
        self, x: Any, y: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> dict[str, Any]:
        return super().compute_metrics(x, y, self.prediction(y_pred), sample_weight)

    @staticmethod
    def loss_arguments(
        y: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Flattens the votes to a batch on which the compiled loss is the paper's.

        Args:
            y: Targets `(B,)`, `(B, 1)` or `(B, n)`.
            y_pred: Votes `(B, 5, n)`, or a prediction `(B, n)`.
            sample_weight: `(B,)` or `None`.

        Returns:
            Targets, votes and sample weights of `5 * B` rows; for a prediction, the
            arguments unchanged.
        """
        if len(y_pred.shape) == 2:
            return y, y_pred, sample_weight
        votes = len(_WEIGHTS)
        # A mean over 5 B votes is a fifth of the sum of their means.
        weights = ops.tile(
            votes * ops.convert_to_tensor(_WEIGHTS, y_pred.dtype),
            [ops.shape(y_pred)[0]],
        )
        if sample_weight is not None:
            sample_weight = ops.reshape(ops.cast(sample_weight, y_pred.dtype), (-1,))
            weights = weights * ops.repeat(sample_weight, votes)
        y_pred = ops.reshape(y_pred, (-1, y_pred.shape[-1]))
        return ops.repeat(y, votes, axis=0), y_pred, weights

    @staticmethod
    def prediction(y_pred: Tensor) -> Tensor:
        """Combines votes to a prediction.

        Args:
            y_pred: Votes `(B, 5, n)`, or a prediction `(B, n)`.

        Returns:
            The prediction `(B, n)`; one that is passed in is returned unchanged.
        """
        if len(y_pred.shape) == 2:
            return y_pred
        votes = ops.log(ops.maximum(y_pred, keras.config.epsilon()))
        return ops.softmax(ops.mean(votes, axis=1), axis=-1)

    def _heads(self) -> list[keras.layers.Dense]:
        return [*super()._heads(), self.get_layer("context").head]

    def _build_head(self, labels: Sequence[str], temperature: float) -> Tensor:
        """Applies new last layers; the context branch gets a copy of the other ones."""
        descriptor, old = self.get_layer("logits").input, self.get_layer("context")
        new = type(old).from_config({**old.get_config(), "num_classes": len(labels)})
        probabilities = _vote(descriptor, old.input, labels, new, temperature)
        new.attention.set_weights(old.attention.get_weights())
        new.hidden.set_weights(old.hidden.get_weights())
        return probabilities


def _vote(
    descriptor: Tensor,
    maps: Tensor,
    labels: Sequence[str],
    context: ComplementaryContext,
    temperature: float = 1.0,
) -> Tensor:
    """Applies the last layers of both branches, and averages the five logit vectors."""
    classes, dtype = len(labels), full_precision()
    logits = layers.Dense(classes, dtype=dtype, name="logits")(descriptor)
    logits = layers.Reshape((1, classes), dtype=dtype, name="vote")(logits)
    votes = layers.Concatenate(axis=1, dtype=dtype, name="votes")(
        [logits, context(maps)]
    )
    return MeanVote(labels, temperature, dtype=dtype, name="probabilities")(votes)
