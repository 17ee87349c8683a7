"""Logit adjustment for rare classes.

Menon et al., "Long-tail Learning via Logit Adjustment", ICLR 2021: the logits minus
`tau` times the logarithm of the classes' frequencies in training. With the true
frequencies and `tau = 1` the best guess is then that for classes of equal frequency.
"""

import numpy as np
from sklearn import metrics

from keras_fer.evaluation.metrics import check_predictions

TAUS = np.round(np.arange(0, 2.01, 0.05), 2)
"""The values of `tau` that are tried."""


def class_prior(targets):
    """Frequency of each class in training; at least that of one image.

    Args:
        targets: `(N, classes)`, the training targets, such as shares of votes.

    Returns:
        float64 `(classes,)`, which sum to 1.
    """
    counts = np.maximum(np.asarray(targets, "float64").sum(axis=0), 1)
    return counts / counts.sum()


def rebalance(probabilities, prior, tau):
    """Probabilities as the adjusted model gives them.

    Args:
        probabilities: `(N, classes)`.
        prior: `(classes,)`, from `class_prior`.
        tau: 0 changes nothing.

    Returns:
        float64 `(N, classes)`.
    """
    odds = np.asarray(probabilities, "float64") * np.asarray(prior) ** -tau
    return odds / odds.sum(axis=1, keepdims=True)


def choose_tau(truth, probabilities, prior):
    """The `tau` with the highest mean recall; the smallest of several.

    Args:
        truth: int `(N,)`, classes of held-out faces.
        probabilities: `(N, classes)`, with the temperature that the model has.
        prior: `(classes,)`, from `class_prior`.

    Returns:
        One of `TAUS`.
    """
    truth, probabilities = check_predictions(truth, probabilities, range(len(prior)))
    recalls = [
        metrics.recall_score(
            truth,
            rebalance(probabilities, prior, tau).argmax(axis=1),
            labels=range(len(prior)),
            average="macro",
            zero_division=0,
        )
        for tau in TAUS
    ]
    return float(TAUS[int(np.argmax(recalls))])
