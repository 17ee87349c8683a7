"""PAtt-Lite: patches and attention on a truncated MobileNetV1."""

import warnings

import keras
from keras import layers

from keras_fer.layers.image_normalization import ImageNormalization
from keras_fer.layers.patch_extraction import PatchExtraction
from keras_fer.layers.patch_token_attention import PatchTokenAttention
from keras_fer.models import backbones
from keras_fer.models.classifier import (
    ExpressionClassifier,
    check_input_size,
    classify,
    resolve_labels,
)

ATTENTIONS = ("patch_tokens", "none", "batch_legacy")


def PAttLite(
    num_classes=None,
    labels=None,
    input_size=224,
    grayscale=False,
    attention="patch_tokens",
    backbone_weights="imagenet",
    patch_dropout=0.2,
    dropout=0.2,
    name="patt_lite",
):
    """PAtt-Lite (Ngwe et al., arXiv 2306.09626, IEEE Access 2024, figure 2).

    MobileNetV1 up to `conv_dw_9_relu` (stride 16, 512 channels), patch extraction to
    a 2x2 grid of 256 channels, average pooling, a 32-unit bottleneck, a softmax.

    The published attention is a defect: applied to the pooled `(B, 32)` tensor, it
    runs across the batch, so a face's prediction depends on the faces beside it and
    a class-sorted test set leaks its labels. `attention` says what stands there:

    - `"patch_tokens"`: attention over the four patches of one face, before pooling;
      our interpretation of the paper's intent. A prediction never depends on samples of
      the batch.
    - `"none"`: no attention.
    - `"batch_legacy"`: as published, for study only. It warns.

    Args:
        num_classes: Number of classes; 7 and 8 name themselves. Default: the number
            of `labels`, or 7.
        labels: Names of the classes.
        input_size: Side in pixels to which images are resized, 48 to 224.
        grayscale: Whether colors are taken away first; see `ImageNormalization`.
        attention: `"patch_tokens"`, `"none"` or `"batch_legacy"`.
        backbone_weights: `"imagenet"`, a weights file, or `None`; see
            `keras_fer.models.backbones.mobilenet_v1`.
        patch_dropout: Rate of spatial dropout on the patches (paper: 0.2, stage 2).
        dropout: Rate of dropout before the bottleneck (paper: 0.1, then 0.2).
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
            f"`attention` should be one of {', '.join(ATTENTIONS)}. "
            f"Received: attention={attention!r}"
        )
    if attention == "batch_legacy":
        warnings.warn(
            'attention="batch_legacy" attends across the batch: predictions depend on '
            "samples of the batch and labels leak. It is here for study only.",
            stacklevel=2,
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
