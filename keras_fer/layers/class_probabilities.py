"""The last layer of every model: logits to the probabilities of named classes."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_fer")
class ClassProbabilities(keras.layers.Layer):
    """Softmax whose outputs have names.

    The names live here, in the graph, so that a model that is saved, loaded or
    cloned cannot lose or swap them.

    Args:
        labels: Names of the classes, in the order of the logits.
        temperature: Logits are divided by it (Guo et al., "On Calibration of Modern
            Neural Networks", 2017): above 1 softens, 1 changes nothing.

    Call arguments:
        logits: `(B, len(labels))`.

    Returns:
        Probabilities of the same shape.

    Raises:
        ValueError: The names are fewer than two, not distinct, or not as many as
            the logits, or the temperature is not positive.
    """

    def __init__(self, labels, temperature=1.0, **kwargs):
        super().__init__(**kwargs)
        labels = (labels,) if isinstance(labels, str) else tuple(labels)
        if len(labels) < 2 or len(set(labels)) != len(labels):
            raise ValueError(
                "`labels` should be at least two distinct names. "
                f"Received: labels={labels}"
            )
        if not temperature > 0:
            raise ValueError(
                f"`temperature` should be positive. Received: temperature={temperature}"
            )
        # A dict would be tracked as state; a tuple of names is plain configuration.
        self.labels = labels
        self.temperature = float(temperature)

    def build(self, input_shape):
        """Checks the number of logits; there are no weights."""
        if input_shape[-1] != len(self.labels):
            raise ValueError(
                f"Expected one logit for each of the {len(self.labels)} labels "
                f"{self.labels}. Received: shape={tuple(input_shape)}"
            )

    def call(self, logits):
        """Turns logits into probabilities."""
        return ops.softmax(logits / self.temperature, axis=-1)

    def compute_output_shape(self, input_shape):
        """The input's shape."""
        return input_shape

    def get_config(self):
        """Constructor arguments."""
        return {
            **super().get_config(),
            "labels": list(self.labels),
            "temperature": self.temperature,
        }
