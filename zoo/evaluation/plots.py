"""What `zoo.evaluate --plots` draws."""

import pathlib

from keras_fer.evaluation.plots import draw_confusion, draw_reliability


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
    draw_confusion(matrix, values, labels, title)
    diagram = Figure(figsize=(6, 7), layout="constrained")
    draw_reliability(diagram, values, title)

    paths = []
    for kind, figure in (("confusion", matrix), ("reliability", diagram)):
        paths.append(folder / ".".join([*name, kind, "png"]))
        figure.savefig(paths[-1], dpi=120)
    return paths
