"""What `zoo.evaluate --plots` draws."""

import pathlib

import numpy as np
from sklearn import metrics

from zoo.evaluation.metrics import BINS


def plot(result, folder):
    """Draws the confusion matrix and the reliability diagram of all faces.

    Args:
        result: From `zoo.evaluate.evaluate`.
        folder: Folder for the two PNG files; created if needed.

    Returns:
        Their paths.
    """
    # Without pyplot, a figure is drawn with Agg and needs no display.
    from matplotlib.figure import Figure

    values, labels = result["all"], result["labels"]
    name = [
        word
        for word in (result["model"], result["split"], result["corruption"])
        if word
    ]
    title = f"{' '.join(name)}\n{result['dataset']}, n = {values['n']:,}"
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    matrix = Figure(figsize=(8, 7), layout="constrained")
    confusion = np.array(values["confusion"])
    share = 100 * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes = matrix.subplots()
    metrics.ConfusionMatrixDisplay(share, display_labels=labels).plot(
        ax=axes,
        cmap="Blues",
        values_format=".0f",
        xticks_rotation=45,
        im_kw={"vmin": 0, "vmax": 100},
    )
    axes.set(xlabel="predicted", ylabel="true", title=f"{title}, % of a true row")

    diagram = Figure(figsize=(6, 7), layout="constrained")
    upper, lower = diagram.subplots(2, height_ratios=(4, 1), sharex=True)
    middles, width = 100 * (np.arange(BINS) + 0.5) / BINS, 100 / BINS
    bins = values["reliability"]
    heights = [accuracy or 0 for accuracy in bins["accuracy"]]
    upper.bar(middles, heights, width, edgecolor="white", label="accuracy")
    upper.plot([0, 100], [0, 100], "k--", linewidth=1, label="calibrated")
    upper.set(
        ylabel="accuracy, %",
        xlim=(0, 100),
        ylim=(0, 100),
        title=f"{title}, ECE {values['ece']:.2f} %",
    )
    upper.legend(loc="upper left")
    lower.bar(middles, bins["count"], width, edgecolor="white", color="gray")
    lower.set(xlabel="probability of the predicted class, %", ylabel="faces")

    paths = []
    for kind, figure in (("confusion", matrix), ("reliability", diagram)):
        paths.append(folder / ".".join([*name, kind, "png"]))
        figure.savefig(paths[-1], dpi=120)
    return paths
