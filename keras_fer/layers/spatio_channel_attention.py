"""SCAN: one spatial mask per channel."""

import keras
from keras import layers, ops

from keras_fer.layers.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class SpatioChannelAttention(keras.layers.Layer):
    """Spatio-channel attention (Gera & Balasubramanian, arXiv 2007.10298).

    `mask = sigmoid(BatchNorm(PReLU(Conv3x3(x))))`, `out = x * mask`: one mask per
    channel, without pooling and without a bottleneck. PReLU has one slope per channel,
    initialized to 0.25.

    Call arguments:
        features: `(B, H, W, C)`.
        training: Whether BatchNorm uses the statistics of the batch.
        return_attention: Whether to return the mask as well.

    Returns:
        A tensor of the input's shape; with `return_attention`, also the mask
        `(B, H, W, C)` in (0, 1).
    """

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        dtype = {"dtype": self.dtype_policy}
        self.convolution = layers.Conv2D(
            channels, 3, padding="same", use_bias=False, name="convolution", **dtype
        )
        self.prelu = layers.PReLU(
            alpha_initializer=keras.initializers.Constant(0.25),
            shared_axes=(1, 2),
            name="prelu",
            **dtype,
        )
        self.norm = layers.BatchNormalization(epsilon=1e-5, name="norm", **dtype)
        shape = (None, None, None, channels)
        for layer in (self.convolution, self.prelu, self.norm):
            layer.build(shape)

    def mask(self, features: Tensor, training: bool = False) -> Tensor:
        """Computes the mask alone.

        Args:
            features: `(B, H, W, C)`.
            training: Whether BatchNorm uses the statistics of the batch.

        Returns:
            `(B, H, W, C)` in (0, 1).
        """
        if not self.built:
            self.build(features.shape)
        x = self.prelu(self.convolution(features))
        return ops.sigmoid(self.norm(x, training=training))

    def call(
        self, features: Tensor, training: bool = False, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        mask = self.mask(features, training=training)
        outputs = features * mask
        return (outputs, mask) if return_attention else outputs
