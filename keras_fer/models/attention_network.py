"""One network with any attention in its slots: what LLAM and IRAM are compared in."""

import keras
from keras import layers

from keras_fer.layers.cbam import CBAM
from keras_fer.layers.efficient_channel_attention import EfficientChannelAttention
from keras_fer.layers.image_normalization import ImageNormalization
from keras_fer.layers.information_reuse_attention import InformationReuseAttention
from keras_fer.layers.lossless_attention import LosslessAttention
from keras_fer.layers.squeeze_excitation import SqueezeExcitation
from keras_fer.models.backbones import build_backbone, last_map
from keras_fer.models.classifier import (
    ExpressionClassifier,
    check_input_size,
    classify,
    resolve_labels,
)

ATTENTIONS = {
    "none": None,
    "se": SqueezeExcitation,
    "eca": EfficientChannelAttention,
    "cbam": CBAM,
    "llam": LosslessAttention,
    "iram": InformationReuseAttention,
}


def AttentionNetwork(
    num_classes=None,
    labels=None,
    input_size=224,
    grayscale=False,
    backbone="resnet18",
    attention="none",
    backbone_weights=None,
    dropout=0.0,
    name="attention_network",
):
    """A backbone with an attention layer in each of its slots, averaged and classified.

    The same place in the same network for every attention: none, SE, ECA, CBAM, LLAM
    and IRAM. `LLAM` and `IRAM` are this network with theirs. With `backbone="vgg16"` or
    `"resnet50"` and no attention it is what PAL was tested on (Bonnard et al., arXiv
    2203.12905; the head is our interpretation).

    Args:
        num_classes: Number of classes; 7 and 8 name themselves. Default: the number
            of `labels`, or 7.
        labels: Names of the classes.
        input_size: Side in pixels to which images are resized, at least 48.
        grayscale: Whether colors are taken away first; see `ImageNormalization`.
        backbone: `"mobilenet_v1"` (up to stride 16, the light backbone that all models
            share), `"resnet18"`, `"resnet50"` or `"vgg16"`.
        attention: `"none"`, `"se"`, `"eca"`, `"cbam"`, `"llam"`, `"iram"`, or a
            function `(features, previous, name) -> features` of your own.
        backbone_weights: See the backbone's function in `keras_fer.models.backbones`.
        dropout: Rate of dropout before the last layer.
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
            f"`attention` should be one of {', '.join(ATTENTIONS)}, or a function. "
            f"Received: attention={attention!r}"
        )

    # === Layers ===
    backbone = build_backbone(
        backbone, input_size, weights=backbone_weights, attention=_slot(attention)
    )

    # === Functional model ===
    images = keras.Input((None, None, None), name="image")
    x = ImageNormalization(input_size, grayscale, name="normalization")(images)
    x = last_map(backbone(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return ExpressionClassifier(images, classify(x, labels), name=name)


def _slot(attention):
    """What a backbone calls for each of its slots."""
    if callable(attention):
        return attention
    kind = ATTENTIONS[attention]
    if kind is None:
        return None
    if issubclass(kind, LosslessAttention):
        return lambda features, previous, name: kind(name=name)(features, previous)
    return lambda features, previous, name: kind(name=name)(features)
