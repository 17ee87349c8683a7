"""Squeeze and excitation: channel attention through a bottleneck."""

from typing import Any

import keras
from keras import layers, ops

from keras_fer.layers.checks import check_positive_integer
from keras_fer.layers.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class SqueezeExcitation(keras.layers.Layer):
    """Channel attention (Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018).

    `out = x * sigmoid(W2 relu(W1 GAP(x) + b1) + b2)` (equations 2 to 4). `W1` reduces
    the number of channels by `ratio`, the loss of information that LLAM and IRAM avoid.

    Args:
        ratio: Reduction ratio: channels divided by units of the bottleneck, which has
            at least one unit.

    Call arguments:
        features: `(B, H, W, C)`.
        return_attention: Whether to return the attention map as well.

    Returns:
        A tensor of the input's shape; with `return_attention`, also the attention map
        `(B, 1, 1, C)` in (0, 1).

    Raises:
        ValueError: `ratio` is not a positive integer.
    """

    def __init__(self, ratio: int = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive_integer("ratio", ratio)
        self.ratio = ratio

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        units = max(1, channels // self.ratio)
        dtype = {"dtype": self.dtype_policy}
        self.squeeze = layers.Dense(units, activation="relu", name="squeeze", **dtype)
        self.excite = layers.Dense(channels, "sigmoid", name="excite", **dtype)
        self.squeeze.build((None, channels))
        self.excite.build((None, units))

    def call(
        self, features: Tensor, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        pooled = ops.mean(features, axis=(1, 2), keepdims=True)
        attention = self.excite(self.squeeze(pooled))
        outputs = features * attention
        return (outputs, attention) if return_attention else outputs

    def get_config(self) -> Config:
        return {**super().get_config(), "ratio": self.ratio}
