"""LLAM: lossless attention in a convolutional network."""

import os
from collections.abc import Iterable

import keras
from keras import layers

from keras_fer.layers.image_normalization import ImageNormalization
from keras_fer.layers.lossless_attention import LosslessAttention
from keras_fer.layers.types import Tensor
from keras_fer.models.backbones import build_backbone, last_feature_map
from keras_fer.models.classifier import (
    ExpressionClassifier,
    architecture,
    check_input_size,
    classify,
    resolve_labels,
)


@architecture
def LLAM(
    num_classes: int | None = None,
    labels: Iterable[str] | None = None,
    input_size: int = 224,
    grayscale: bool = False,
    backbone: str = "resnet18",
    backbone_weights: str | os.PathLike[str] | None = None,
    dropout: float = 0.0,
    name: str = "llam",
) -> ExpressionClassifier:
    """LLAM (Wang et al., "Lossless Attention in CNNs for FER in the Wild", 2001.11869).

    A convolutional network with a `LosslessAttention` at every insertion point of its
    backbone: the feature map of a block is weighted by channel attention over that map
    and the one that the block received.

    Stated in the abstract: attention that also uses the information of the previous
    layer, does not reduce dimensionality, and is fused with the feature map. Our
    interpretation, as the full text was not available: the form of the layer, ResNet-18
    as the backbone, and one layer at the end of every residual branch.

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

    # === Layers ===
    def attention(features: Tensor, previous: Tensor, name: str) -> Tensor:
        """Applies channel attention at an insertion point of the backbone."""
        return LosslessAttention(name=name)(features, previous)

    network = build_backbone(
        backbone, input_size, weights=backbone_weights, attention=attention
    )

    # === Functional model ===
    images = keras.Input((None, None, None), name="image")
    x = ImageNormalization(input_size, grayscale, name="normalization")(images)
    x = last_feature_map(network(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    return ExpressionClassifier(images, classify(x, labels), name=name)
