"""Patch extraction of PAtt-Lite: a feature map becomes four patch descriptors."""

import math

import keras
from keras import layers


@keras.saving.register_keras_serializable(package="keras_fer")
class PatchExtraction(keras.layers.Layer):
    """Summarises a feature map as a 2x2 grid of patches.

    Three convolutions as published (Ngwe et al., "PAtt-Lite", IEEE Access 2024,
    section III-B and the authors' notebook): a separable 4x4 and a separable 2x2
    that divide the map into patches without overlap, then a pointwise one, each
    with ReLU.

    The paper knows one input, a 14x14 map, which strides 4 and 2 turn into 4x4 and
    2x2. Our interpretation for other sizes: kernels (and so the weights) stay, the
    first stride is `ceil(side / 4)`, and the grid is 2x2 for every map of 3x3 to 16x16.

    Args:
        filters: Channels of every patch descriptor.

    Call arguments:
        features: `(B, H, W, C)` with static H and W of at least 3.

    Returns:
        `(B, 2, 2, filters)`, not negative.

    Raises:
        ValueError: `filters` is not a positive integer, or H or W is unknown or
            under 3.
    """

    def __init__(self, filters=256, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(filters, int) or filters < 1:
            raise ValueError(
                f"`filters` should be a positive integer. Received: filters={filters!r}"
            )
        self.filters = filters

    def build(self, input_shape):
        """Chooses the strides from the map's size."""
        sides = input_shape[1:3]
        if len(input_shape) != 4 or None in sides or min(sides) < 3:
            raise ValueError(
                "Expected a feature map of shape (batch, height, width, channels) with "
                "static height and width of at least 3. "
                f"Received: shape={tuple(input_shape)}"
            )
        stride = math.ceil(max(sides) / 4)
        convolution = {"padding": "same", "activation": "relu"}
        self.coarse = layers.SeparableConv2D(
            self.filters,
            4,
            strides=stride,
            dtype=self.dtype_policy,
            name="coarse",
            **convolution,
        )
        # "same" equals the published "valid" on the even 4x4 grid, and keeps the
        # last row and column of the 3x3 grids that small inputs give.
        self.fine = layers.SeparableConv2D(
            self.filters,
            2,
            strides=2,
            dtype=self.dtype_policy,
            name="fine",
            **convolution,
        )
        self.pointwise = layers.Conv2D(
            self.filters, 1, dtype=self.dtype_policy, name="pointwise", **convolution
        )
        shape = tuple(input_shape)
        for layer in (self.coarse, self.fine, self.pointwise):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, features):
        """Extracts the patches."""
        return self.pointwise(self.fine(self.coarse(features)))

    def compute_output_shape(self, input_shape):
        """`(B, 2, 2, filters)` for maps up to 16x16."""
        stride = math.ceil(max(input_shape[1:3]) / 4)
        sides = (math.ceil(math.ceil(side / stride) / 2) for side in input_shape[1:3])
        return (input_shape[0], *sides, self.filters)

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "filters": self.filters}
