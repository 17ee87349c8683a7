"""Efficient channel attention: a convolution across neighboring channels."""

import math
from typing import Any

import keras
from keras import layers, ops

from keras_fer.layers.checks import check_kernel_size
from keras_fer.layers.types import Config, Shape, Tensor


def adaptive_kernel_size(channels: int) -> int:
    """Kernel size of ECA-Net for a number of channels.

    Args:
        channels: Number of channels.

    Returns:
        `log2(channels) / 2 + 1 / 2`, rounded down, or the next integer where that is
        even (equation 12 with gamma 2 and b 1).
    """
    size = int(abs(math.log2(channels) / 2 + 1 / 2))
    return size if size % 2 else size + 1


@keras.saving.register_keras_serializable(package="keras_fer")
class EfficientChannelAttention(keras.layers.Layer):
    """Channel attention without a bottleneck (Wang et al., "ECA-Net", CVPR 2020).

    `out = x * sigmoid(Conv1D_k(GAP(x)))`: one convolution across the channels, without
    a bias.

    Args:
        kernel_size: Size of the convolution's kernel in channels, odd. `None` derives
            it from the number of channels; see `adaptive_kernel_size`.

    Call arguments:
        features: `(B, H, W, C)`.
        return_attention: Whether to return the attention map as well.

    Returns:
        A tensor of the input's shape; with `return_attention`, also the attention map
        `(B, 1, 1, C)` in (0, 1).

    Raises:
        ValueError: `kernel_size` is neither `None` nor an odd positive integer.
    """

    def __init__(self, kernel_size: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kernel_size is not None:
            check_kernel_size(kernel_size)
        self.kernel_size = kernel_size

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        self.convolution = layers.Conv1D(
            1,
            self.kernel_size or adaptive_kernel_size(channels),
            padding="same",
            use_bias=False,
            activation="sigmoid",
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.convolution.build((None, channels, 1))

    def call(
        self, features: Tensor, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        pooled = ops.mean(features, axis=(1, 2))
        attention = self.convolution(pooled[..., None])
        attention = ops.transpose(attention, (0, 2, 1))[:, None]
        outputs = features * attention
        return (outputs, attention) if return_attention else outputs

    def get_config(self) -> Config:
        return {**super().get_config(), "kernel_size": self.kernel_size}
