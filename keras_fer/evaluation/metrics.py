"""Metrics of one set of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import metrics

BINS = 15
RESAMPLES = 1000


def check_predictions(
    truth: Any, probabilities: Any, labels: Sequence[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Checks classes and probabilities; returns them as arrays.

    Args:
        truth: int `(N,)`, indices into `labels`.
        probabilities: `(N, len(labels))`.
        labels: Names of the classes.

    Raises:
        ValueError: There are no faces, shapes differ, a class is not an index into
            `labels`, or a row of `probabilities` is not a distribution.
    """
    truth, probabilities = np.asarray(truth), np.asarray(probabilities)
    if not len(truth):
        raise ValueError(
            "There are no faces to evaluate on. Choose a split that has some."
        )
    if probabilities.shape != (len(truth), len(labels)):
        raise ValueError(
            f"probabilities must have one row per face and one column per label, "
            f"{(len(truth), len(labels))}, got {probabilities.shape}."
        )
    if truth.min() < 0 or truth.max() >= len(labels):
        raise ValueError(
            f"truth must hold indices into {tuple(labels)}, 0 to {len(labels) - 1}, "
            f"got {truth.min()} to {truth.max()}."
        )
    wrong = ~(np.abs(probabilities.sum(axis=1) - 1) < 1e-3)  # True for NaN, too.
    wrong |= (probabilities < 0).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            "probabilities must be finite, 0 or more and sum to 1, got "
            f"{probabilities[row].tolist()} in row {row}, and {wrong.sum()} such rows "
            f"of {len(wrong)}. Check the model's weights and its last layer."
        )
    return truth, probabilities


def scores(
    truth: Any,
    probabilities: Any,
    labels: Sequence[str],
    only_present: bool = False,
) -> dict[str, Any]:
    """All metrics of one set of predictions.

    Args:
        truth: int `(N,)`, indices into `labels`.
        probabilities: `(N, len(labels))`, rows summing to 1.
        labels: Names of the classes.
        only_present: Whether the averages are over the classes that have faces.
            Otherwise a class without faces counts as 0 in them (scikit-learn's
            `zero_division=0`); `per_class` shows its support of 0.

    Returns:
        A dictionary of values for JSON. In percent: `accuracy`, `macro_f1`, `uar`
        (unweighted average recall), `abaw` (0.67 macro-F1 + 0.33 accuracy, as in the
        first ABAW competition, Kollias et al., 2020), `ece` and, for each class in
        `per_class`, `precision`, `recall` and `f1`. `nll` is in nats; `brier` is the
        sum over the classes, 0 to 2. `confusion` has one row per true class,
        `reliability` is as from `reliability`, `intervals` as from `bootstrap`.

    Raises:
        ValueError: As from `check_predictions`.
    """
    truth, probabilities = check_predictions(truth, probabilities, labels)
    predicted = probabilities.argmax(axis=1)
    classes = np.arange(len(labels))
    averaged = np.unique(truth) if only_present else classes
    options = {"labels": averaged, "average": "macro", "zero_division": 0}
    accuracy = 100 * metrics.accuracy_score(truth, predicted)
    macro_f1 = 100 * metrics.f1_score(truth, predicted, **options)
    uar = 100 * metrics.recall_score(truth, predicted, **options)
    columns = metrics.precision_recall_fscore_support(
        truth, predicted, labels=classes, zero_division=0
    )
    confusion = metrics.confusion_matrix(truth, predicted, labels=classes)
    ece, bins = reliability(truth, probabilities)
    return {
        "n": len(truth),
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "uar": uar,
        "abaw": 0.67 * macro_f1 + 0.33 * accuracy,
        "nll": metrics.log_loss(truth, probabilities, labels=classes),
        "brier": metrics.brier_score_loss(
            truth, probabilities, labels=classes, scale_by_half=False
        ),
        "ece": ece,
        "intervals": bootstrap(confusion, averaged=averaged),
        "per_class": {
            label: {
                "precision": 100 * float(precision),
                "recall": 100 * float(recall),
                "f1": 100 * float(f1),
                "support": int(support),
            }
            for label, precision, recall, f1, support in zip(
                labels, *columns, strict=True
            )
        },
        "confusion": confusion.tolist(),
        "reliability": bins,
    }


def reliability(
    truth: np.ndarray, probabilities: np.ndarray
) -> tuple[float, dict[str, list[Any]]]:
    """Expected calibration error (ECE) and the bins it is computed from.

    Faces are sorted into 15 bins of equal width by their confidence, the probability of
    the predicted class; a bin includes its upper edge. The error is the difference
    between accuracy and confidence, averaged over the faces (Guo et al., "On
    Calibration of Modern Neural Networks", 2017, equation 3).

    Args:
        truth: int `(N,)`.
        probabilities: `(N, classes)`.

    Returns:
        The error in percent, and a dictionary of lists over the bins, in order of
        confidence: `count`, and the mean `confidence` and `accuracy` in percent, `None`
        for an empty bin.
    """
    confidence = probabilities.max(axis=1).astype("float64")
    hits = probabilities.argmax(axis=1) == truth
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    bins = np.digitize(confidence, edges, right=True)
    count, confident, correct = (
        np.bincount(bins, weights, minlength=BINS)
        for weights in (None, confidence, hits)
    )
    error = 100 * np.abs(correct - confident).sum() / len(truth)

    def means(sums: np.ndarray) -> list[float | None]:
        pairs = zip(sums, count, strict=True)
        return [100 * float(total / n) if n else None for total, n in pairs]

    return float(error), {
        "count": count.tolist(),
        "confidence": means(confident),
        "accuracy": means(correct),
    }


def bootstrap(
    confusion: Any, seed: int = 0, averaged: np.ndarray | None = None
) -> dict[str, Any]:
    """95 % bootstrap intervals of accuracy, macro-F1 and UAR.

    Resampling faces with replacement draws the cells of the confusion matrix from a
    multinomial distribution; 1,000 such draws give percentile intervals. They measure
    the uncertainty from the choice of faces, not from the training's seed.

    Args:
        confusion: int `(C, C)`, one row per true class.
        seed: Seed of the draws.
        averaged: Indices of the classes over which macro-F1 and UAR are averaged;
            `None` for all.

    Returns:
        A dictionary: `accuracy`, `macro_f1` and `uar`, each `[low, high]` in percent,
        and `resamples`, `seed` and `level`, in percent.
    """
    confusion = np.asarray(confusion)
    n = confusion.sum()
    drawn = np.random.default_rng(seed).multinomial(
        n, confusion.ravel() / n, size=RESAMPLES
    )
    drawn = drawn.reshape(RESAMPLES, *confusion.shape)
    hits = drawn.diagonal(axis1=1, axis2=2)
    true, predicted = drawn.sum(axis=2), drawn.sum(axis=1)

    def mean(values: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = values if averaged is None else values[:, averaged]
        return chosen.mean(axis=1)

    # Where a denominator is 0 there are no hits: 0, as in `scores`.
    values = {
        "accuracy": hits.sum(axis=1) / n,
        "macro_f1": mean(2 * hits / np.maximum(true + predicted, 1)),
        "uar": mean(hits / np.maximum(true, 1)),
    }
    ends = {
        metric: (100 * np.percentile(each, [2.5, 97.5])).tolist()
        for metric, each in values.items()
    }
    return {**ends, "resamples": RESAMPLES, "seed": seed, "level": 95}
