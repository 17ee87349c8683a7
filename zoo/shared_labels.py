"""A model on a dataset with other labels: scored on those that both have."""

import dataclasses

import numpy as np

from keras_fer.labels import canonical_name


@dataclasses.dataclass(frozen=True)
class SharedLabels:
    """Labels of a model and of a dataset, matched by name; from `match`.

    Attributes:
        labels: Those that both have, in the order of the model.
        columns: int `(len(labels),)`, their places among those of the model.
        index: int, for each label of the dataset its place in `labels`, or -1.
        model_only: Labels of the model that the dataset does not have.
        dataset_only: Labels of the dataset that the model does not have.
    """

    labels: tuple
    columns: np.ndarray
    index: np.ndarray
    model_only: tuple
    dataset_only: tuple

    @property
    def same(self):
        """Whether both have the same labels, in whatever order."""
        return not (self.model_only or self.dataset_only)

    def restrict(self, probabilities):
        """Probabilities of the shared labels, which sum to 1 again.

        Args:
            probabilities: `(N, labels of the model)`.

        Returns:
            `(N, len(labels))`; uniform where the shared labels have no probability.
        """
        if len(self.columns) == probabilities.shape[1]:
            return probabilities[:, self.columns]
        kept = probabilities[:, self.columns].astype("float64")
        total = kept.sum(axis=1, keepdims=True)
        uniform = np.full_like(kept, 1 / len(self.columns))
        return np.divide(kept, total, out=uniform, where=total > 0)

    def facts(self, classes, probabilities, excluded):
        """What was left out, as values for JSON.

        Args:
            classes: int `(N,)`, indices into `labels`.
            probabilities: `(N, labels of the model)`, before `restrict`.
            excluded: Number of images whose label the model does not have.
        """
        right = probabilities.argmax(axis=1) == self.columns[classes]
        other = np.delete(probabilities, self.columns, axis=1).sum(axis=1)
        return {
            "model_only": list(self.model_only),
            "dataset_only": list(self.dataset_only),
            "excluded": excluded,
            "removed_probability": 100 * float(other.mean()),
            "accuracy_of_all_labels": 100 * float(right.mean()),
        }


def match(model_labels, dataset_labels):
    """Matches labels by name, in whatever spelling and order.

    Args:
        model_labels: Names.
        dataset_labels: Names.

    Returns:
        `SharedLabels`.

    Raises:
        ValueError: They have none in common.
    """
    names = [_canonical(label) for label in dataset_labels]
    of_model = [_canonical(label) for label in model_labels]
    columns = [place for place, label in enumerate(of_model) if label in names]
    if not columns:
        raise ValueError(
            f"The model and the dataset have no label in common: {tuple(model_labels)} "
            f"and {tuple(dataset_labels)}. Choose a dataset of the same expressions."
        )
    shared = [of_model[place] for place in columns]
    return SharedLabels(
        tuple(model_labels[place] for place in columns),
        np.array(columns),
        np.array([shared.index(name) if name in shared else -1 for name in names]),
        tuple(label for label in model_labels if _canonical(label) not in names),
        tuple(label for label in dataset_labels if _canonical(label) not in of_model),
    )


def _canonical(label):
    try:
        return canonical_name(label)
    except ValueError:
        return label.strip().lower()
