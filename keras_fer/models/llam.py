"""LLAM: lossless attention in a convolutional network."""

from keras_fer.models.attention_network import AttentionNetwork


def LLAM(
    num_classes=None,
    labels=None,
    input_size=224,
    grayscale=False,
    backbone="resnet18",
    backbone_weights=None,
    dropout=0.0,
    name="llam",
):
    """LLAM (Wang et al., "Lossless Attention in CNNs for FER in the Wild", 2001.11869).

    A `LosslessAttention` in every slot of the backbone: the map of a block is weighed
    with the help of the map that the block received.

    Stated in the abstract: attention from the previous layer's information too, without
    reducing dimensionality, fused with the feature map. Our interpretation, as the full
    text was not available: the layer's form, ResNet-18, and one layer at the end of
    every residual branch.

    Args:
        num_classes: See `AttentionNetwork`.
        labels: See `AttentionNetwork`.
        input_size: See `AttentionNetwork`.
        grayscale: See `AttentionNetwork`.
        backbone: See `AttentionNetwork`.
        backbone_weights: See `AttentionNetwork`.
        dropout: See `AttentionNetwork`.
        name: Name of the model.

    Returns:
        An `ExpressionClassifier`.

    Raises:
        ValueError: An argument is out of range.
        FileNotFoundError: The weights file of the backbone does not exist.
    """
    return AttentionNetwork(
        num_classes,
        labels,
        input_size,
        grayscale,
        backbone=backbone,
        attention="llam",
        backbone_weights=backbone_weights,
        dropout=dropout,
        name=name,
    )
