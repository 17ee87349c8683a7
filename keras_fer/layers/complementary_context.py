"""Complementary context information of SCAN-CCI: four quadrants vote."""

import keras
from keras import layers, ops

from keras_fer.layers.efficient_channel_attention import EfficientChannelAttention


@keras.saving.register_keras_serializable(package="keras_fer")
class ComplementaryContext(keras.layers.Layer):
    """Logits of four quadrants (Gera & Balasubramanian, arXiv 2007.10298, CCI branch).

    ECA over the map, then each quadrant is averaged and goes through
    `Dense(units, ReLU)` and `Dense(num_classes)`, which the quadrants share. For odd
    sides the lower and right quadrants are the larger ones (our interpretation; the
    paper's map is 14x14).

    Args:
        num_classes: Number of logits.
        units: Units of the hidden layer.

    Call arguments:
        features: `(B, H, W, C)` with static H and W of at least 2.
        return_attention: Also return the map of the channel attention.

    Returns:
        `(B, 4, num_classes)` logits, float32: upper left, upper right, lower left,
        lower right; or that and the map `(B, 1, 1, C)` in (0, 1).

    Raises:
        ValueError: An argument is under 1, or H or W is unknown or under 2.
    """

    def __init__(self, num_classes, units=256, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("num_classes", num_classes), ("units", units)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` should be a positive integer. Received: {name}={value!r}"
                )
        self.num_classes = num_classes
        self.units = units

    def build(self, input_shape):
        """Creates ECA and the shared head."""
        sides = tuple(input_shape[1:3])
        if len(input_shape) != 4 or None in sides or min(sides) < 2:
            raise ValueError(
                "Expected a feature map of shape (batch, height, width, channels) with "
                "static height and width of at least 2. "
                f"Received: shape={tuple(input_shape)}. Use a larger input or an "
                "earlier map."
            )
        channels = input_shape[-1]
        dtype = {"dtype": self.dtype_policy}
        self.attention = EfficientChannelAttention(name="attention", **dtype)
        self.hidden = layers.Dense(self.units, "relu", name="hidden", **dtype)
        self.head = layers.Dense(self.num_classes, dtype="float32", name="head")
        self.attention.build(input_shape)
        self.hidden.build((None, 4, channels))
        self.head.build((None, 4, self.units))

    def call(self, features, return_attention=False):
        """Lets the quadrants vote."""
        refined, attention = self.attention(features, return_attention=True)
        middle, center = features.shape[1] // 2, features.shape[2] // 2
        quadrants = [
            ops.mean(refined[:, rows, columns], axis=(1, 2))
            for rows in (slice(middle), slice(middle, None))
            for columns in (slice(center), slice(center, None))
        ]
        logits = self.head(self.hidden(ops.stack(quadrants, axis=1)))
        return (logits, attention) if return_attention else logits

    def get_config(self):
        """Constructor arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "units": self.units,
        }
