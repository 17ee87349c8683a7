"""PAtt-Lite: patch extraction and attention on a truncated MobileNetV1."""

import os
import warnings
from collections.abc import Iterable

import keras
from keras import layers

from keras_fer.layers.image_normalization import ImageNormalization
from keras_fer.layers.patch_extraction import PatchExtraction
from keras_fer.layers.patch_token_attention import PatchTokenAttention
from keras_fer.models import backbones
from keras_fer.models.classifier import (
    ExpressionClassifier,
    architecture,
    check_input_size,
    classify,
    resolve_labels,
)

ATTENTIONS = ("patch_tokens", "none", "batch_legacy")


@architecture
def PAttLite(
    num_classes: int | None = None,
    labels: Iterable[str] | None = None,
    input_size: int = 224,
    grayscale: bool = False,
    attention: str = "patch_tokens",
    backbone_weights: str | os.PathLike[str] | None = None,
    patch_dropout: float = 0.2,
    dropout: float = 0.2,
    name: str = "patt_lite",
) -> ExpressionClassifier:
    """PAtt-Lite (Ngwe et al., arXiv 2306.09626, IEEE Access 2024, figure 2).

    MobileNetV1 up to `conv_dw_9_relu` (stride 16, 512 channels), patch extraction to
    a 2x2 grid of 256 channels, average pooling, a 32-unit bottleneck, a softmax.

    The published attention is a defect: applied to the pooled `(B, 32)` tensor, it
    attends across the batch, so that the prediction for a face depends on the other
    samples of the batch, and a test set sorted by class leaks its labels. `attention`
    chooses what replaces it:

    - `"patch_tokens"`: attention over the four patches of each face, before pooling;
      our interpretation of the paper's intent. A prediction does not depend on the
      other samples of the batch.
    - `"none"`: no attention.
    - `"batch_legacy"`: as published, for study only, with a warning.

    Args:
        num_classes: Number of classes, at least 2. Default: the number of `labels`, or
            7.
        labels: Names of the classes. Default: the canonical expressions for 7 and 8
            classes, `"class_0"`, `"class_1"`, … for other numbers.
        input_size: Side in pixels of the square to which images are resized, 48 to 224.
        grayscale: Whether to convert images to gray first; see `ImageNormalization`.
        attention: `"patch_tokens"`, `"none"` or `"batch_legacy"`.
        backbone_weights: `"imagenet"`, which Keras downloads once and the paper starts
            from, a weights file, or `None` for random weights; see
            `keras_fer.models.backbones.mobilenet_v1`.
        patch_dropout: Rate of the spatial dropout on the patches (paper: 0.2, in stage
            2).
        dropout: Rate of the dropout before the bottleneck (paper: 0.1, then 0.2).
        name: Name of the model.

    Returns:
        An `ExpressionClassifier`.

    Raises:
        ValueError: An argument is out of range.
        FileNotFoundError: The weights file of the backbone does not exist.
    """
    labels = resolve_labels(num_classes, labels)
    check_input_size(input_size, 48, 224)
    if attention not in ATTENTIONS:
        raise ValueError(
            f"attention must be one of {', '.join(ATTENTIONS)}, got {attention!r}."
        )
    if attention == "batch_legacy":
        warnings.warn(
            'attention="batch_legacy" attends across the batch: predictions depend on '
            "the other samples of the batch, and labels leak. Use it for study only.",
            stacklevel=3,
        )

    # === Layers ===
    backbone = backbones.mobilenet_v1(
        input_size, cut="conv_dw_9_relu", weights=backbone_weights, name="backbone"
    )

    # === Functional model ===
    images = keras.Input((None, None, None), name="image")
    x = ImageNormalization(input_size, grayscale, name="normalization")(images)
    x = backbone(x)["stride_16"]
    x = PatchExtraction(256, name="patches")(x)
    if attention == "patch_tokens":
        x = PatchTokenAttention(name="attention")(x)
    x = layers.SpatialDropout2D(patch_dropout, name="patch_dropout")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    x = layers.Dense(32, activation="relu", name="bottleneck")(x)
    x = layers.BatchNormalization(name="bottleneck_norm")(x)
    if attention == "batch_legacy":
        x = layers.Attention(use_scale=True, name="attention")([x, x])
    return ExpressionClassifier(images, classify(x, labels), name=name)
