"""The last layer of every model: logits to the probabilities of named classes."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from keras_fer.layers.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class ClassProbabilities(keras.layers.Layer):
    """Softmax over named classes.

    The class names are part of the graph, so that saving, loading and cloning a model
    cannot lose or swap them.

    Args:
        labels: Names of the classes, in the order of the logits.
        temperature: Divides the logits (Guo et al., "On Calibration of Modern Neural
            Networks", ICML 2017). Values above 1 soften the probabilities; 1 leaves
            them unchanged.

    Call arguments:
        logits: `(B, len(labels))`.

    Returns:
        Probabilities `(B, len(labels))`, which sum to 1.

    Raises:
        ValueError: There are fewer than two labels, a label occurs twice, their number
            differs from that of the logits, or the temperature is not positive.
    """

    def __init__(
        self, labels: Iterable[str], temperature: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        labels = (labels,) if isinstance(labels, str) else tuple(labels)
        if len(labels) < 2 or len(set(labels)) != len(labels):
            raise ValueError(
                f"labels must be at least two distinct names, got {labels}."
            )
        if not temperature > 0:
            raise ValueError(f"temperature must be positive, got {temperature}.")
        # A dict would be tracked as state; a tuple of names is plain configuration.
        self.labels = labels
        self.temperature = float(temperature)

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1] != len(self.labels):
            raise ValueError(
                f"There must be one logit for each of the {len(self.labels)} labels "
                f"{self.labels}, got shape {tuple(input_shape)}."
            )

    def call(self, logits: Tensor) -> Tensor:
        return ops.softmax(logits / self.temperature, axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> Config:
        return {
            **super().get_config(),
            "labels": list(self.labels),
            "temperature": self.temperature,
        }
