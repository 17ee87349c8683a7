"""Squeeze and excitation: channel attention through a bottleneck."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_fer")
class SqueezeExcitation(keras.layers.Layer):
    """Channel attention (Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018).

    `out = x * sigmoid(W2 relu(W1 GAP(x) + b1) + b2)` (equations 2 to 4). `W1` divides
    the number of channels by `ratio`, which is the loss of information that LLAM and
    IRAM avoid.

    Args:
        ratio: Channels divided by units of the bottleneck, which has at least one.

    Call arguments:
        features: `(B, H, W, C)`.
        return_attention: Also return the attention map.

    Returns:
        A tensor of the input's shape, or that and the map, `(B, 1, 1, C)` in (0, 1).

    Raises:
        ValueError: `ratio` is under 1.
    """

    def __init__(self, ratio=16, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(ratio, int) or ratio < 1:
            raise ValueError(
                f"`ratio` should be a positive integer. Received: ratio={ratio!r}"
            )
        self.ratio = ratio

    def build(self, input_shape):
        """Creates the two dense layers."""
        channels = input_shape[-1]
        units = max(1, channels // self.ratio)
        dtype = {"dtype": self.dtype_policy}
        self.squeeze = layers.Dense(units, activation="relu", name="squeeze", **dtype)
        self.excite = layers.Dense(channels, "sigmoid", name="excite", **dtype)
        self.squeeze.build((None, channels))
        self.excite.build((None, units))

    def call(self, features, return_attention=False):
        """Weighs the channels."""
        pooled = ops.mean(features, axis=(1, 2), keepdims=True)
        attention = self.excite(self.squeeze(pooled))
        outputs = features * attention
        return (outputs, attention) if return_attention else outputs

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "ratio": self.ratio}
