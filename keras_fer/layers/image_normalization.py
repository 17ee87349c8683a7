"""Images as people have them to images as backbones want them."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_fer")
class ImageNormalization(keras.layers.Layer):
    """Resizes gray or RGB images and scales them from 0–255 to [-1, 1].

    Standing first in a model, it makes the exact preprocessing part of the graph, so
    that nobody has to know it. Gray becomes RGB by repetition. Shrinking is
    antialiased, since faces come at any size.

    Args:
        size: Side of the square output, in pixels.
        grayscale: Whether RGB loses its colors (luma of ITU-R BT.601) first. For
            models that were trained on gray images only.

    Call arguments:
        images: `(B, H, W, 1)` gray or `(B, H, W, 3)` RGB, 0–255, any H and W.

    Returns:
        `(B, size, size, 3)` in [-1, 1].

    Raises:
        ValueError: `size` is not a positive integer, or the images have another
            rank or channel count.
    """

    def __init__(self, size, grayscale=False, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(size, int) or size < 1:
            raise ValueError(
                f"`size` should be a positive integer. Received: size={size!r}"
            )
        self.size = size
        self.grayscale = grayscale
        # TensorFlow's antialiased resizing has no XLA kernel. Keras chooses XLA on a
        # GPU, and for models that were compiled on JAX, unless a layer objects.
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def build(self, input_shape):
        """Checks rank and channels; there are no weights."""
        self._check(input_shape)

    def call(self, images):
        """Normalises a batch."""
        self._check(images.shape)
        images = ops.cast(images, self.compute_dtype)
        # Broadcasting instead of a branch on the channel count: it also works where
        # that count is unknown when the graph is traced. The weights sum to 1.
        if self.grayscale:
            luma = ops.convert_to_tensor([0.299, 0.587, 0.114], dtype=images.dtype)
            images = ops.sum(images * luma, axis=-1, keepdims=True)
        images = images * ops.ones((1, 1, 1, 3), dtype=images.dtype)
        images = ops.image.resize(
            images,
            (self.size, self.size),
            interpolation="bilinear",
            antialias=True,
            data_format="channels_last",
        )
        return images / 127.5 - 1.0

    def compute_output_shape(self, input_shape):
        """`(B, size, size, 3)`."""
        return (input_shape[0], self.size, self.size, 3)

    def get_config(self):
        """Constructor arguments."""
        return {
            **super().get_config(),
            "size": self.size,
            "grayscale": self.grayscale,
        }

    @staticmethod
    def _check(shape):
        if len(shape) != 4 or shape[-1] not in (None, 1, 3):
            raise ValueError(
                "Expected a batch of images of shape (batch, height, width, 1) or "
                f"(batch, height, width, 3). Received: shape={tuple(shape)}. "
                "Add the batch axis to a single image with image[None]; drop an "
                "alpha channel with image[..., :3]."
            )
