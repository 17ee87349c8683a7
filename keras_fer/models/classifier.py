"""The class of all models, and what their functions share."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import keras

from keras_fer.labels import LABELS
from keras_fer.layers.class_probabilities import ClassProbabilities
from keras_fer.layers.types import Tensor


@keras.saving.register_keras_serializable(package="keras_fer")
class ExpressionClassifier(keras.Model):
    """A functional model from images to the probabilities of named classes.

    Inputs are gray or RGB images `(B, H, W, 1)` or `(B, H, W, 3)`, uint8 or float,
    0–255, of any height and width. Outputs are probabilities `(B, num_classes)`,
    float32, in the order of `labels`.

    Every model has these layers: an `ImageNormalization` named `"normalization"`
    comes first, then a nested model named `"backbone"`; a `Dense` layer is named
    `"logits"`, and a `ClassProbabilities`, the last layer, `"probabilities"`.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the outputs."""
        return self.get_layer("probabilities").labels

    @property
    def input_size(self) -> int:
        """Side in pixels of the square to which the model resizes images."""
        return self.get_layer("normalization").size

    def replace_head(self, labels: Sequence[str]) -> Self:
        """Builds a model for other classes on the layers of this one.

        Args:
            labels: Names of the new classes, at least two.

        Returns:
            A model of the same class with a new, untrained last layer. It shares all
            other layers, and their weights, with this one.

        Raises:
            ValueError: There are fewer than two labels, or a label occurs twice.
        """
        features = self.get_layer("logits").input
        return type(self)(self.input, classify(features, labels), name=self.name)


def classify(features: Tensor, labels: Sequence[str]) -> Tensor:
    """Applies the head that models share: a dense layer and a softmax.

    The logits are float32 under mixed precision, too.

    Args:
        features: `(B, C)`.
        labels: Names of the classes.

    Returns:
        Probabilities `(B, len(labels))`, float32.
    """
    logits = keras.layers.Dense(len(labels), dtype="float32", name="logits")(features)
    return ClassProbabilities(labels, dtype="float32", name="probabilities")(logits)


def check_input_size(size: Any, least: int, most: int | None = None) -> None:
    """Raises a `ValueError` unless `input_size` is an integer in a range.

    Args:
        size: The input size.
        least: Smallest input size, in pixels.
        most: Largest input size, or `None` for no limit.
    """
    if not isinstance(size, int) or size < least or (most and size > most):
        limit = f"from {least} to {most}" if most else f"of at least {least}"
        raise ValueError(f"input_size must be an integer {limit}, got {size!r}.")


def resolve_labels(
    num_classes: int | None, labels: Iterable[str] | None
) -> tuple[str, ...]:
    """Derives the class names from the arguments of a model's function.

    Args:
        num_classes: Number of classes, at least 2. `None` means the number of `labels`,
            or 7 if those are `None` as well.
        labels: Names of the classes. `None` means the canonical expressions for 7 and 8
            classes, and `"class_0"`, `"class_1"`, … for other numbers.

    Returns:
        Distinct names, at least two.

    Raises:
        ValueError: There are fewer than two classes, the number of names differs from
            `num_classes`, or a name occurs twice.
    """
    if labels is None:
        num_classes = 7 if num_classes is None else num_classes
        if (
            not isinstance(num_classes, int)
            or isinstance(num_classes, bool)
            or num_classes < 2
        ):
            raise ValueError(
                f"num_classes must be an integer of at least 2, got {num_classes!r}."
            )
        if num_classes in (7, 8):
            return LABELS[:num_classes]
        return tuple(f"class_{index}" for index in range(num_classes))
    if isinstance(labels, str):
        raise ValueError(f"labels must be a list of names, got {labels!r}.")
    labels = tuple(labels)
    if num_classes is not None and num_classes != len(labels):
        raise ValueError(
            "labels must have one name per class, got "
            f"num_classes={num_classes!r} and {len(labels)} labels: {labels}."
        )
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ValueError(f"labels must be at least two distinct names, got {labels}.")
    return labels
