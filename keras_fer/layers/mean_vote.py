"""The last layer of models with several heads: their logits to one prediction."""

import keras
from keras import ops

from keras_fer.layers.class_probabilities import ClassProbabilities
from keras_fer.layers.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class MeanVote(ClassProbabilities):
    """Softmax over named classes of the mean of several logit vectors.

    In training every logit vector, or vote, has its own loss, so the layer returns the
    softmax of each. The prediction follows from those: `softmax(mean(log(votes)))`.

    Args:
        labels: Names of the classes, in the order of the logits.
        temperature: See `ClassProbabilities`.

    Call arguments:
        logits: `(B, V, len(labels))`, V votes.
        training: Whether to return the votes instead of the prediction.

    Returns:
        Probabilities `(B, len(labels))`; in training `(B, V, len(labels))`.

    Raises:
        ValueError: See `ClassProbabilities`; or the logits have another rank.
    """

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 3:
            raise ValueError(
                "logits must have shape (batch, votes, classes), got "
                f"{tuple(input_shape)}."
            )
        super().build(input_shape)

    def call(self, logits: Tensor, training: bool = False) -> Tensor:
        return super().call(logits if training else ops.mean(logits, axis=1))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], input_shape[-1])
