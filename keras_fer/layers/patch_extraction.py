"""Patch extraction of PAtt-Lite: a feature map becomes four patch descriptors."""

import math
from typing import Any

import keras
from keras import layers

from keras_fer.layers.checks import check_feature_map, check_positive_integer
from keras_fer.layers.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class PatchExtraction(keras.layers.Layer):
    """Reduces a feature map to a 2x2 grid of patch descriptors.

    Three convolutions as published (Ngwe et al., "PAtt-Lite", IEEE Access 2024,
    section III-B and the authors' notebook): a separable 4x4 and a separable 2x2
    convolution that divide the feature map into patches without overlap, then a
    pointwise one, each with ReLU.

    The paper has one input size, a 14x14 feature map, which strides 4 and 2 reduce to
    4x4 and 2x2. Our interpretation for other sizes: the kernels, and so the weights,
    stay the same, and the first stride is `ceil(side / 4)`, which gives a 2x2 grid for
    every feature map of 3x3 to 16x16.

    Args:
        filters: Channels of a patch descriptor.

    Call arguments:
        features: `(B, H, W, C)` with static H and W of at least 3.

    Returns:
        `(B, 2, 2, filters)`, at least 0.

    Raises:
        ValueError: `filters` is not a positive integer, or H or W is unknown or
            under 3.
    """

    def __init__(self, filters: int = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_positive_integer("filters", filters)
        self.filters = filters

    def build(self, input_shape: Shape) -> None:
        check_feature_map(input_shape, least=3)
        stride = math.ceil(max(input_shape[1:3]) / 4)
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

    def call(self, features: Tensor) -> Tensor:
        return self.pointwise(self.fine(self.coarse(features)))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        stride = math.ceil(max(input_shape[1:3]) / 4)
        sides = (math.ceil(math.ceil(side / stride) / 2) for side in input_shape[1:3])
        return (input_shape[0], *sides, self.filters)

    def get_config(self) -> Config:
        return {**super().get_config(), "filters": self.filters}
