"""Efficient channel attention: no bottleneck, channels look at their neighbors."""

import math

import keras
from keras import layers, ops


def adaptive_kernel_size(channels):
    """Kernel that ECA gives to a number of channels (equation 12, gamma 2, b 1)."""
    size = int(abs(math.log2(channels) / 2 + 1 / 2))
    return size if size % 2 else size + 1


def check_kernel_size(size):
    """Raises a `ValueError` unless a size is `None` or odd and positive."""
    if size is not None and not (isinstance(size, int) and size > 0 and size % 2):
        raise ValueError(
            "`kernel_size` should be an odd positive integer, or None for one that "
            f"fits the number of channels. Received: kernel_size={size!r}"
        )


@keras.saving.register_keras_serializable(package="keras_fer")
class EfficientChannelAttention(keras.layers.Layer):
    """Channel attention (Wang et al., "ECA-Net", CVPR 2020).

    `out = x * sigmoid(Conv1D_k(GAP(x)))`: one convolution across the channels, without
    bias and without a bottleneck.

    Args:
        kernel_size: Neighbouring channels that a channel looks at, odd. `None`: the
            odd number next to `log2(C) / 2 + 1 / 2`.

    Call arguments:
        features: `(B, H, W, C)`.
        return_attention: Also return the attention map.

    Returns:
        A tensor of the input's shape, or that and the map, `(B, 1, 1, C)` in (0, 1).

    Raises:
        ValueError: `kernel_size` is even or not positive.
    """

    def __init__(self, kernel_size=None, **kwargs):
        super().__init__(**kwargs)
        check_kernel_size(kernel_size)
        self.kernel_size = kernel_size

    def build(self, input_shape):
        """Creates the convolution."""
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

    def call(self, features, return_attention=False):
        """Weighs the channels."""
        pooled = ops.mean(features, axis=(1, 2))
        attention = self.convolution(pooled[..., None])
        attention = ops.transpose(attention, (0, 2, 1))[:, None]
        outputs = features * attention
        return (outputs, attention) if return_attention else outputs

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "kernel_size": self.kernel_size}
