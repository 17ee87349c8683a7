"""Resizing and normalization as part of a model's graph."""

from typing import Any

import keras
from keras import ops

from keras_fer.layers.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class ImageNormalization(keras.layers.Layer):
    """Resizes gray or RGB images and scales them from 0–255 to [-1, 1].

    As the first layer of a model it makes the preprocessing part of the graph. Gray
    becomes RGB by repetition. Resizing is bilinear and antialiased, as
    `ops.image.resize(..., antialias=True)` is, but consists of two matrix products, so
    that the graph compiles with XLA and exports to ONNX and LiteRT with any image size.
    It is computed in float32 under every dtype policy.

    Args:
        size: Side of the square output, in pixels.
        grayscale: Whether to convert RGB to luma (ITU-R BT.601) first. For models that
            were trained on gray images only.

    Call arguments:
        images: `(B, H, W, 1)` gray or `(B, H, W, 3)` RGB, 0–255, any H and W.

    Returns:
        `(B, size, size, 3)` in [-1, 1].

    Raises:
        ValueError: `size` is not a positive integer, or the images have another
            rank or number of channels.
    """

    def __init__(self, size: int, grayscale: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"size must be a positive integer, got {size!r}.")
        self.size = size
        self.grayscale = grayscale

    def build(self, input_shape: Shape) -> None:
        self._check(input_shape)

    def call(self, images: Tensor) -> Tensor:
        self._check(images.shape)
        images = ops.cast(images, "float32")
        if self.grayscale:
            # A gray image is broadcast: the weights sum to 1.
            luma = ops.convert_to_tensor([0.299, 0.587, 0.114], dtype="float32")
            images = ops.sum(images * luma, axis=-1, keepdims=True)
        _, height, width, _ = ops.shape(images)
        # (size, H) @ (B, H, W, C) @ (W, size), channels moved out of the way.
        images = ops.transpose(images, (0, 3, 1, 2))
        images = ops.matmul(_filter(height, self.size), images)
        images = ops.matmul(images, ops.transpose(_filter(width, self.size)))
        images = ops.transpose(images, (0, 2, 3, 1))
        # Broadcasting instead of a branch on the number of channels, which may be
        # unknown when the graph is traced.
        images = images * ops.ones((1, 1, 1, 3), dtype="float32")
        return ops.cast(images / 127.5 - 1.0, self.compute_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], self.size, self.size, 3)

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "size": self.size,
            "grayscale": self.grayscale,
        }

    @staticmethod
    def _check(shape: Shape) -> None:
        if len(shape) != 4 or shape[-1] not in (None, 1, 3):
            raise ValueError(
                "images must have shape (batch, height, width, 1) or (batch, height, "
                f"width, 3), got {tuple(shape)}. Add the batch axis to a single image "
                "with image[None]; drop an alpha channel with image[..., :3]."
            )


def _filter(length: int | Tensor, size: int) -> Tensor:
    """Weights of bilinear resizing along one axis, `(size, length)`.

    Each output pixel is a triangle around its center in the input, one input pixel
    wide on each side, or wider where the image shrinks. Distances are counted in
    halves of `1 / size` of an input pixel, which makes them whole numbers.
    """
    pixels = ops.cast(2 * ops.arange(length, dtype="int32") + 1, "float32") * size
    centers = ops.arange(size, dtype="float32") * 2 + 1
    length = ops.cast(length, "float32")
    distance = ops.abs(pixels[None, :] - centers[:, None] * length)
    weights = ops.maximum(1.0 - distance / (2 * ops.maximum(length, size)), 0.0)
    return weights / ops.sum(weights, axis=1, keepdims=True)
