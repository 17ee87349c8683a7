"""The confusion matrix and the reliability diagram as figures of matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn import metrics

from keras_fer.evaluation.metrics import BINS

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase


def draw_confusion(
    figure: FigureBase, scores: dict[str, Any], labels: Sequence[str], title: str
) -> None:
    """Draws a confusion matrix in percent of each true class.

    Args:
        figure: To draw in.
        scores: From `metrics.scores`.
        labels: Names of the classes.
        title: Of the figure.
    """
    confusion = np.array(scores["confusion"])
    share = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes = figure.subplots()
    metrics.ConfusionMatrixDisplay(share, display_labels=labels).plot(
        ax=axes,
        cmap="Blues",
        values_format=".0f",
        xticks_rotation=45,
        im_kw={"vmin": 0, "vmax": 100},
    )
    axes.set(xlabel="predicted", ylabel="true", title=f"{title}, % of a true row")


def draw_reliability(figure: FigureBase, scores: dict[str, Any], title: str) -> None:
    """Draws accuracy against the probability of the predicted class.

    Args:
        figure: To draw in.
        scores: From `metrics.scores`.
        title: Of the figure.
    """
    upper, lower = figure.subplots(2, height_ratios=(4, 1), sharex=True)
    middles, width = 100 * (np.arange(BINS) + 0.5) / BINS, 100 / BINS
    bins = scores["reliability"]
    heights = [accuracy or 0 for accuracy in bins["accuracy"]]
    upper.bar(middles, heights, width, edgecolor="white", label="accuracy")
    upper.plot([0, 100], [0, 100], "k--", linewidth=1, label="calibrated")
    upper.set(
        ylabel="accuracy, %",
        xlim=(0, 100),
        ylim=(0, 100),
        title=f"{title}, ECE {scores['ece']:.2f} %",
    )
    upper.legend(loc="upper left")
    lower.bar(middles, bins["count"], width, edgecolor="white", color="gray")
    lower.set(xlabel="probability of the predicted class, %", ylabel="faces")
