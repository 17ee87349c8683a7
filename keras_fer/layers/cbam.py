"""CBAM: channel attention, then spatial attention."""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_fer")
class CBAM(keras.layers.Layer):
    """Convolutional block attention module (Woo et al., ECCV 2018).

    Channels first: `x' = x * sigmoid(MLP(GAP(x)) + MLP(GMP(x)))`, with one MLP of a
    hidden layer for both (equation 2). Then places: `out = x' * sigmoid(f([mean(x');
    max(x')]))`, where `f` is a convolution over the mean and the maximum of all
    channels (equation 3). The authors' code puts BatchNorm after `f`; the paper, and
    this layer, do not.

    Args:
        ratio: Channels divided by units of the MLP's hidden layer.
        kernel_size: Side of the spatial convolution, odd.

    Call arguments:
        features: `(B, H, W, C)`.
        return_attention: Also return the attention map.

    Returns:
        A tensor of the input's shape, or that and the map `(B, H, W, C)` in (0, 1),
        the product of both attentions.

    Raises:
        ValueError: `ratio` is under 1 or `kernel_size` is even.
    """

    def __init__(self, ratio=16, kernel_size=7, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(ratio, int) or ratio < 1:
            raise ValueError(
                f"`ratio` should be a positive integer. Received: ratio={ratio!r}"
            )
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                "`kernel_size` should be an odd positive integer. "
                f"Received: kernel_size={kernel_size!r}"
            )
        self.ratio = ratio
        self.kernel_size = kernel_size

    def build(self, input_shape):
        """Creates the MLP and the convolution."""
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

    def call(self, features, return_attention=False):
        """Weighs the channels, then the places."""
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

    def get_config(self):
        """Constructor arguments."""
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "kernel_size": self.kernel_size,
        }
