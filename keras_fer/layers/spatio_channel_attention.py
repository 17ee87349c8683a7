"""SCAN: every channel has a spatial mask of its own."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_fer")
class SpatioChannelAttention(keras.layers.Layer):
    """Spatio-channel attention (Gera & Balasubramanian, arXiv 2007.10298).

    `mask = sigmoid(BatchNorm(PReLU(Conv3x3(x))))`, `out = x * mask`: as many masks as
    channels, without pooling and without a bottleneck. PReLU has one slope for each
    channel, 0.25 at first.

    Call arguments:
        features: `(B, H, W, C)`.
        training: Whether BatchNorm uses the batch's statistics.
        return_attention: Also return the mask.

    Returns:
        A tensor of the input's shape, or that and the mask `(B, H, W, C)` in (0, 1).
    """

    def build(self, input_shape):
        """Creates convolution, PReLU and BatchNorm."""
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

    def mask(self, features, training=False):
        """The mask alone, `(B, H, W, C)` in (0, 1)."""
        if not self.built:
            self.build(features.shape)
        x = self.prelu(self.convolution(features))
        return ops.sigmoid(self.norm(x, training=training))

    def call(self, features, training=False, return_attention=False):
        """Weighs every place of every channel."""
        mask = self.mask(features, training=training)
        outputs = features * mask
        return (outputs, mask) if return_attention else outputs
