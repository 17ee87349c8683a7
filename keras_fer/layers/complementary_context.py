"""Complementary context information of SCAN-CCI: logits of four quadrants."""

from typing import Any

import keras
from keras import layers, ops

from keras_fer.layers.checks import (
    check_feature_map,
    check_kernel_size,
    check_positive_integer,
)
from keras_fer.layers.efficient_channel_attention import EfficientChannelAttention
from keras_fer.layers.precision import full_precision
from keras_fer.layers.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class ComplementaryContext(keras.layers.Layer):
    """Logits of four quadrants (Gera & Balasubramanian, arXiv 2007.10298, CCI branch).

    `EfficientChannelAttention` refines the feature map; each quadrant of the result is
    averaged and classified by `Dense(units, ReLU)` and `Dense(num_classes)`, which all
    quadrants share. With an odd height or width the lower and right quadrants are the
    larger ones (our interpretation; the paper's feature map is 14x14).

    Args:
        num_classes: Number of logits.
        units: Units of the hidden layer.
        kernel_size: Kernel size of the channel attention, odd; 5 in the authors' code.
            `None` derives it from the number of channels; see
            `EfficientChannelAttention`.

    Call arguments:
        features: `(B, H, W, C)` with static H and W of at least 2.
        return_attention: Whether to return the channel attention as well.

    Returns:
        Logits `(B, 4, num_classes)`, in full precision, of the upper left, upper right,
        lower left and lower right quadrant; with `return_attention`, also the channel
        attention `(B, 1, 1, C)` in (0, 1).

    Raises:
        ValueError: `num_classes` or `units` is not a positive integer, `kernel_size`
            is not an odd one, or H or W is unknown or under 2.
    """

    def __init__(
        self,
        num_classes: int,
        units: int = 256,
        kernel_size: int | None = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_integer("num_classes", num_classes)
        check_positive_integer("units", units)
        if kernel_size is not None:
            check_kernel_size(kernel_size)
        self.num_classes = num_classes
        self.units = units
        self.kernel_size = kernel_size

    def build(self, input_shape: Shape) -> None:
        check_feature_map(input_shape, least=2)
        channels = input_shape[-1]
        dtype = {"dtype": self.dtype_policy}
        self.attention = EfficientChannelAttention(
            self.kernel_size, name="attention", **dtype
        )
        self.hidden = layers.Dense(self.units, "relu", name="hidden", **dtype)
        self.head = layers.Dense(
            self.num_classes, dtype=full_precision(self.dtype_policy), name="head"
        )
        self.attention.build(input_shape)
        self.hidden.build((None, 4, channels))
        self.head.build((None, 4, self.units))

    def call(
        self, features: Tensor, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        refined, attention = self.attention(features, return_attention=True)
        middle, center = features.shape[1] // 2, features.shape[2] // 2
        quadrants = [
            ops.mean(refined[:, rows, columns], axis=(1, 2))
            for rows in (slice(middle), slice(middle, None))
            for columns in (slice(center), slice(center, None))
        ]
        logits = self.head(self.hidden(ops.stack(quadrants, axis=1)))
        return (logits, attention) if return_attention else logits

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "units": self.units,
            "kernel_size": self.kernel_size,
        }
