"""The network in which attention layers are compared."""

import os
from collections.abc import Iterable

import keras
from keras import layers

from keras_fer.layers.cbam import CBAM
from keras_fer.layers.efficient_channel_attention import EfficientChannelAttention
from keras_fer.layers.image_normalization import ImageNormalization
from keras_fer.layers.information_reuse_attention import InformationReuseAttention
from keras_fer.layers.lossless_attention import LosslessAttention
from keras_fer.layers.squeeze_excitation import SqueezeExcitation
from keras_fer.models.backbones import (
    InsertedAttention,
    build_backbone,
    last_feature_map,
)
from keras_fer.models.classifier import (
    ExpressionClassifier,
    architecture,
    check_input_size,
    classify,
    resolve_labels,
)

# The attention layers by name.
ATTENTIONS: dict[str, type[keras.layers.Layer] | None] = {
    "none": None,
    "se": SqueezeExcitation,
    "eca": EfficientChannelAttention,
    "cbam": CBAM,
    "llam": LosslessAttention,
    "iram": InformationReuseAttention,
}


@architecture
def AttentionNetwork(
    num_classes: int | None = None,
    labels: Iterable[str] | None = None,
    input_size: int = 224,
    grayscale: bool = False,
    backbone: str = "resnet18",
    attention: str | InsertedAttention = "none",
    backbone_weights: str | os.PathLike[str] | None = None,
    dropout: float = 0.0,
    name: str = "attention_network",
) -> ExpressionClassifier:
    """A backbone with any attention layer at its insertion points, for comparisons.

    SE, ECA, CBAM, LLAM, IRAM or none at the same insertion points of the same network.
    With `"llam"` and `"iram"` it is the network of `LLAM` and `IRAM`. With
    `backbone="vgg16"` or `"resnet50"` and no attention it is the network that PAL was
    evaluated with (Bonnard et al., arXiv 2203.12905; the head is our interpretation).

    Args:
        num_classes: Number of classes, at least 2. Default: the number of `labels`, or
            7.
        labels: Names of the classes. Default: the canonical expressions for 7 and 8
            classes, `"class_0"`, `"class_1"`, … for other numbers.
        input_size: Side in pixels of the square to which images are resized, 48 to
            1024.
        grayscale: Whether to convert images to gray first; see `ImageNormalization`.
        backbone: `"resnet18"`, `"resnet50"`, `"vgg16"`, or `"mobilenet_v1"` (up to
            stride 16, the light backbone that all models share).
        attention: `"none"`, `"se"`, `"eca"`, `"cbam"`, `"llam"`, `"iram"`, or a
            function `(features, previous, name) -> features`; see
            `keras_fer.models.backbones`.
        backbone_weights: Weights file of the backbone, or `None` for random weights.
            `"mobilenet_v1"` and `"vgg16"` also take `"imagenet"`, which Keras downloads
            once. See `keras_fer.models.backbones`.
        dropout: Rate of the dropout before the last layer.
        name: Name of the model.

    Returns:
        An `ExpressionClassifier`.

    Raises:
        ValueError: An argument is out of range.
        FileNotFoundError: The weights file of the backbone does not exist.
    """
    labels = resolve_labels(num_classes, labels)
    check_input_size(input_size, 48)
    if not callable(attention) and attention not in ATTENTIONS:
        raise ValueError(
            f"attention must be one of {', '.join(ATTENTIONS)}, or a function, got "
            f"{attention!r}."
        )

    # === Layers ===
    network = build_backbone(
        backbone,
        input_size,
        weights=backbone_weights,
        attention=attention if callable(attention) else _insert(attention),
    )

    # === Functional model ===
    images = keras.Input((None, None, None), name="image")
    x = ImageNormalization(input_size, grayscale, name="normalization")(images)
    x = last_feature_map(network(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return ExpressionClassifier(images, classify(x, labels), name=name)


def _insert(attention: str) -> InsertedAttention | None:
    """The function that a backbone calls at its insertion points."""
    kind = ATTENTIONS[attention]
    if kind is None:
        return None
    if issubclass(kind, LosslessAttention):
        return lambda features, previous, name: kind(name=name)(features, previous)
    return lambda features, previous, name: kind(name=name)(features)
