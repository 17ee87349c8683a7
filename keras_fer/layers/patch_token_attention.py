"""Attention among the patches of one face."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_fer")
class PatchTokenAttention(keras.layers.Layer):
    """Scaled dot-product self-attention over the patches of each image.

    PAtt-Lite (Ngwe et al., IEEE Access 2024) means to weigh patches by attention,
    but its published code hands `Attention(use_scale=True)` a `(B, 32)` tensor, and
    that attends across the **batch**. This layer is our interpretation of the intent:
    the same attention, without projections and with one learned scale, over the patch
    tokens of one image, added to its input:

    `out = x + softmax(scale * x x^T) x`

    The scale starts at `1 / sqrt(C)`.

    Args:
        residual: Whether the input is added to what was attended to.

    Call arguments:
        tokens: `(B, H, W, C)` or `(B, N, C)`.
        return_attention: Also return the `(B, N, N)` attention map; row `i` says how
            much token `i` draws from every token and sums to 1.

    Returns:
        A tensor of the input's shape, or that and the attention map.

    Raises:
        ValueError: The input has another rank. Two axes, `(B, C)`, are refused
            because they can only be attended over across the batch.
    """

    def __init__(self, residual=True, **kwargs):
        super().__init__(**kwargs)
        self.residual = residual

    def build(self, input_shape):
        """Creates the scale."""
        if len(input_shape) not in (3, 4):
            raise ValueError(
                "Expected tokens of shape (batch, tokens, channels) or (batch, height, "
                f"width, channels). Received: shape={tuple(input_shape)}"
            )
        self.scale = self.add_weight(
            name="scale",
            shape=(),
            initializer=keras.initializers.Constant(input_shape[-1] ** -0.5),
        )

    def call(self, tokens, return_attention=False):
        """Attends."""
        shape = ops.shape(tokens)
        places = tokens.shape[1:-1]
        number = -1 if None in places else math.prod(places)
        sequence = ops.reshape(tokens, (shape[0], number, shape[-1]))
        scores = self.scale * ops.matmul(
            sequence, ops.transpose(sequence, axes=(0, 2, 1))
        )
        attention = ops.softmax(scores, axis=-1)
        attended = ops.reshape(ops.matmul(attention, sequence), shape)
        outputs = tokens + attended if self.residual else attended
        return (outputs, attention) if return_attention else outputs

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "residual": self.residual}
