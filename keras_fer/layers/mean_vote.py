"""The last layer of models that vote: several logit vectors to one prediction."""

import keras
from keras import ops

from keras_fer.layers.class_probabilities import ClassProbabilities


@keras.saving.register_keras_serializable(package="keras_fer")
class MeanVote(ClassProbabilities):
    """Softmax of the mean of several logit vectors, whose outputs have names.

    While a model is trained, every vote has a loss of its own; so in training this
    gives the softmax of each vote. Both are the same function of the logits:
    `softmax(mean(log(votes)))` is the prediction.

    Args:
        labels: Names of the classes, in the order of the logits.
        temperature: See `ClassProbabilities`.

    Call arguments:
        logits: `(B, V, len(labels))`, V votes.
        training: Whether to give the votes or their mean.

    Returns:
        Probabilities: `(B, len(labels))`, in training `(B, V, len(labels))`.

    Raises:
        ValueError: See `ClassProbabilities`; or the logits have another rank.
    """

    def build(self, input_shape):
        """Checks the number of logits; there are no weights."""
        if len(input_shape) != 3:
            raise ValueError(
                "Expected logits of shape (batch, votes, classes). "
                f"Received: shape={tuple(input_shape)}"
            )
        super().build(input_shape)

    def call(self, logits, training=False):
        """Turns votes into probabilities."""
        return super().call(logits if training else ops.mean(logits, axis=1))

    def compute_output_shape(self, input_shape):
        """That of a prediction."""
        return (input_shape[0], input_shape[-1])
