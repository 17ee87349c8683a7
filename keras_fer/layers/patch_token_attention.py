"""Self-attention over the patches of each image."""

import math
from typing import Any

import keras
from keras import ops

from keras_fer.layers.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class PatchTokenAttention(keras.layers.Layer):
    """Scaled dot-product self-attention over the patches of each image.

    PAtt-Lite (Ngwe et al., IEEE Access 2024) describes attention over patches, but its
    published code passes a `(B, 32)` tensor to `Attention(use_scale=True)`, which
    attends across the **batch**. This layer is our interpretation of the intent: the
    same attention, without projections and with one learned scale, over the patch
    tokens of each image, added to its input:

    `out = x + softmax(scale * x x^T) x`

    The scale is initialized to `1 / sqrt(C)`.

    Args:
        residual: Whether to add the input to the output of the attention.

    Call arguments:
        tokens: `(B, H, W, C)` or `(B, N, C)`.
        return_attention: Whether to return the attention map as well.

    Returns:
        A tensor of the input's shape; with `return_attention`, also the attention map
        `(B, N, N)`, whose row `i` holds the weights of all tokens in the output of
        token `i` and sums to 1.

    Raises:
        ValueError: The input has another rank. Two axes, `(B, C)`, are refused because
            the only axis left to attend over is that of the batch.
    """

    def __init__(self, residual: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.residual = residual

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) not in (3, 4):
            raise ValueError(
                "tokens must have shape (batch, tokens, channels) or (batch, height, "
                f"width, channels), got {tuple(input_shape)}."
            )
        self.scale = self.add_weight(
            name="scale",
            shape=(),
            initializer=keras.initializers.Constant(input_shape[-1] ** -0.5),
        )

    def call(
        self, tokens: Tensor, return_attention: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        shape = ops.shape(tokens)
        grid = tokens.shape[1:-1]
        number = -1 if None in grid else math.prod(grid)
        sequence = ops.reshape(tokens, (shape[0], number, shape[-1]))
        # Keras casts weights only inside `__call__`, not in `compute_output_spec`.
        scale = ops.cast(self.scale, tokens.dtype)
        scores = scale * ops.matmul(sequence, ops.transpose(sequence, (0, 2, 1)))
        attention = ops.softmax(scores, axis=-1)
        attended = ops.reshape(ops.matmul(attention, sequence), shape)
        outputs = tokens + attended if self.residual else attended
        return (outputs, attention) if return_attention else outputs

    def get_config(self) -> Config:
        return {**super().get_config(), "residual": self.residual}
