"""CBAM: channel attention, then spatial attention."""

from typing import Any

import keras
from keras import layers, ops

from keras_fer.layers.checks import check_kernel_size, check_positive_integer
from keras_fer.layers.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class CBAM(keras.layers.Layer):
    """Convolutional block attention module (Woo et al., ECCV 2018).

    Channel attention comes first: `x' = x * sigmoid(MLP(GAP(x)) + MLP(GMP(x)))`, where
    both terms share one MLP with one hidden layer (equation 2). Spatial attention
    follows: `out = x' * sigmoid(f([mean(x'); max(x')]))`, where `f` is a convolution
    over the mean and the maximum of the channels (equation 3). The authors' code adds
    BatchNorm after `f`; the paper, and this layer, do not.

    Args:
        ratio: Reduction ratio of the MLP: channels divided by hidden units. There is
            at least one hidden unit.
        kernel_size: Side of the spatial convolution's kernel, odd.

    Call arguments:
        features: `(B, H, W, C)`.
        return_attention: Whether to return the attention map as well.

    Returns:
        A tensor of the input's shape; with `return_attention`, also the attention map
        `(B, H, W, C)` in (0, 1), the product of both attentions.

    Raises:
        ValueError: `ratio` is not a positive integer, or `kernel_size` is not an odd
            one.
    """

    def __init__(self, ratio: int = 16, kernel_size: int = 7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive_integer("ratio", ratio)
        check_kernel_size(kernel_size)
        self.ratio = ratio
        self.kernel_size = kernel_size

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        units = max(1, channels // self.ratio)
        dtype = {"dtype": self.dtype_policy}
        self.hidden = layers.Dense(units, activation="relu", name="hidden", **dtype)
        self.output_layer = layers.Dense(channels, name="output", **dtype)
        self.spatial = layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            use_bias=False,
            activation="sigmoid",
            name="spatial",
            **dtype,
        )
        self.hidden.build((None, channels))
        self.output_layer.build((None, units))
        self.spatial.build((None, None, None, 2))

    def call(
        self, features: Tensor, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        pooled = (
            ops.mean(features, axis=(1, 2), keepdims=True),
            ops.max(features, axis=(1, 2), keepdims=True),
        )
        channel = ops.sigmoid(sum(self.output_layer(self.hidden(x)) for x in pooled))
        refined = features * channel
        spatial = self.spatial(
            ops.concatenate(
                [
                    ops.mean(refined, axis=-1, keepdims=True),
                    ops.max(refined, axis=-1, keepdims=True),
                ],
                axis=-1,
            )
        )
        outputs = refined * spatial
        return (outputs, channel * spatial) if return_attention else outputs

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "kernel_size": self.kernel_size,
        }
