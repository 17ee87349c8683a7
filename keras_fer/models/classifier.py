"""What every model of the package has in common: its classes have names."""

import keras

from keras_fer.labels import LABELS
from keras_fer.layers.class_probabilities import ClassProbabilities


@keras.saving.register_keras_serializable(package="keras_fer")
class ExpressionClassifier(keras.Model):
    """A functional model from images to the probabilities of named classes.

    In: gray or RGB images `(B, H, W, 1 or 3)`, uint8 or float, 0–255, of any height
    and width. Out: probabilities `(B, num_classes)`, float32.

    Its first layer is an `ImageNormalization` named `"normalization"`, then comes a
    nested model named `"backbone"`; a `Dense` is named `"logits"`, and the last layer,
    a `ClassProbabilities`, `"probabilities"`.
    """

    @property
    def labels(self):
        """Names of the outputs, in order."""
        return self.get_layer("probabilities").labels

    @property
    def input_size(self):
        """Side in pixels to which the model resizes its images."""
        return self.get_layer("normalization").size

    def replace_head(self, labels):
        """The same network with a new, untrained last layer for other classes.

        Args:
            labels: Names of the new classes.

        Returns:
            A model of the same class; it shares all but the last layer with this one.
        """
        features = self.get_layer("logits").input
        return type(self)(self.input, classify(features, labels), name=self.name)


def classify(features, labels):
    """The common head: features `(B, C)` to the probabilities of `labels`.

    Logits stay float32 under mixed precision.
    """
    logits = keras.layers.Dense(len(labels), dtype="float32", name="logits")(features)
    return ClassProbabilities(labels, dtype="float32", name="probabilities")(logits)


def check_input_size(size, least, most=None):
    """Raises a `ValueError` unless a size is an integer in a range."""
    if not isinstance(size, int) or size < least or (most and size > most):
        limit = f"from {least} to {most}" if most else f"of at least {least}"
        raise ValueError(
            f"`input_size` should be an integer {limit}. Received: input_size={size!r}"
        )


def resolve_labels(num_classes, labels):
    """Checks the number of classes against their names, filling in what is missing.

    Args:
        num_classes: Number of classes, at least 2, or `None` to count `labels`; 7
            where those are `None` too.
        labels: Their names, or `None`: then 7 and 8 classes take the canonical
            expressions, and other numbers `"class_0"`, `"class_1"`, ….

    Returns:
        A tuple of distinct names.

    Raises:
        ValueError: Too few classes, a wrong number of names, or a name twice.
    """
    if labels is None:
        num_classes = 7 if num_classes is None else num_classes
        if (
            not isinstance(num_classes, int)
            or isinstance(num_classes, bool)
            or num_classes < 2
        ):
            raise ValueError(
                "`num_classes` should be an integer of at least 2. "
                f"Received: num_classes={num_classes!r}"
            )
        if num_classes in (7, 8):
            return LABELS[:num_classes]
        return tuple(f"class_{index}" for index in range(num_classes))
    if isinstance(labels, str):
        raise ValueError(
            f"`labels` should be a list of names. Received: labels={labels!r}"
        )
    labels = tuple(labels)
    if num_classes is not None and num_classes != len(labels):
        raise ValueError(
            "`labels` should have one name for each class. "
            f"Received: num_classes={num_classes!r} and {len(labels)} labels: {labels}"
        )
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ValueError(
            f"`labels` should be at least two distinct names. Received: labels={labels}"
        )
    return labels
