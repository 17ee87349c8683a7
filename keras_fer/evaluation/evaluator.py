"""A model and labeled images to scores."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fer.console import printable
from keras_fer.faces import load_detector
from keras_fer.faces.analyze import named_model, predict_crops
from keras_fer.faces.detect import AnyDetector
from keras_fer.files import replacing
from keras_fer.labeled import (
    Crop,
    in_order,
    known_names,
    read_crops,
    read_source,
    rename,
    select_split,
)

if TYPE_CHECKING:
    import keras

    from keras_fer.runtime import OnnxModel

_BATCH = 64

# Names in a message.
_MOST_NAMED = 20


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        model: Name of the model.
        source: The folder or file of the images.
        split: Name of the split; `None` where there are none.
        labels: Of the model.
        scores: From `keras_fer.evaluation.metrics.scores`; averages are over the labels
            that have images.
        unreadable: Path to error of the images that could not be read.
        without_face: Paths of the images in which no face was found.
        several_faces: Number of images with several faces, of which the largest counts.
    """

    model: str
    source: str
    split: str | None
    labels: tuple[str, ...]
    scores: dict[str, Any]
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    without_face: tuple[str, ...] = ()
    several_faces: int = 0

    @property
    def accuracy(self) -> float:
        """In percent."""
        return float(self.scores["accuracy"])

    def to_dict(self) -> dict[str, Any]:
        """The values that `keras-fer evaluate --json` prints."""
        values = self.scores
        return {
            "model": self.model,
            "source": self.source,
            "split": self.split,
            "images": values["n"],
            "unreadable": self.unreadable,
            "without_face": list(self.without_face),
            "several_faces": self.several_faces,
            "labels": list(self.labels),
            "accuracy": values["accuracy"],
            "mean_recall": values["uar"],
            "macro_f1": values["macro_f1"],
            "intervals": {
                "accuracy": values["intervals"]["accuracy"],
                "mean_recall": values["intervals"]["uar"],
                "macro_f1": values["intervals"]["macro_f1"],
            },
            "ece": values["ece"],
            "nll": values["nll"],
            "brier": values["brier"],
            "per_class": {
                label: row if row["support"] else {**dict.fromkeys(row), "support": 0}
                for label, row in values["per_class"].items()
            },
            "confusion": values["confusion"],
        }

    def table(self) -> str:
        """The result as text."""
        values, (low, high) = self.scores, self.scores["intervals"]["accuracy"]
        part = f", {self.split}" if self.split else ""
        width = max(10, *(len(printable(label)) for label in self.labels))
        lines = [
            f"{self.model} on {self.source}{part}: {values['n']:,} images",
            f"accuracy {values['accuracy']:.1f} % (95 % interval {low:.1f} to "
            f"{high:.1f})  mean recall {values['uar']:.1f} %  macro-F1 "
            f"{values['macro_f1']:.1f} %",
            f"calibration: ECE {values['ece']:.1f} %  NLL {values['nll']:.3f}",
            "",
            " " * width + "  precision    recall        F1    images",
        ]
        for label, row in values["per_class"].items():
            cells = [f"{row[name]:.1f}" for name in ("precision", "recall", "f1")]
            if not row["support"]:
                cells = ["-"] * 3
            lines.append(
                f"{label:>{width}} {cells[0]:>10}{cells[1]:>10}{cells[2]:>10}"
                f"{row['support']:>10,}"
            )
        return "\n".join(map(printable, lines))

    def plot(self, file: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Draws the confusion matrix and the reliability diagram.

        Args:
            file: To write; `.png`, `.pdf`, `.svg` or another suffix that matplotlib
                knows.
            overwrite: Whether to replace an existing file.

        Raises:
            FileExistsError: It exists, and `overwrite` is off.
            OSError: It cannot be written.
            ValueError: The suffix is unknown.
        """
        # Without pyplot, a figure is drawn with Agg and needs no display.
        from matplotlib.figure import Figure

        from keras_fer.evaluation.plots import draw_confusion, draw_reliability

        figure = Figure(figsize=(14, 7), layout="constrained")
        parts: Any = figure.subfigures(1, 2, width_ratios=(8, 6))
        title = f"{printable(pathlib.Path(self.model).name)}, n = {self.scores['n']:,}"
        draw_confusion(parts[0], self.scores, self.labels, title)
        draw_reliability(parts[1], self.scores, title)
        with replacing(file, overwrite) as temporary:
            figure.savefig(temporary, dpi=120)


def evaluate(
    model: str | os.PathLike[str] | keras.Model | OnnxModel,
    source: str | os.PathLike[str],
    *,
    split: str | None = None,
    detector: AnyDetector = None,
    balanced: bool = False,
) -> Evaluation:
    """Evaluates a model on labeled images.

    Args:
        model: A name that `keras_fer.zoo.load` knows, a `.keras` file, a folder of
            `zoo.train`, `hf://user/repo`, or a model with `labels`. Presets run on ONNX
            Runtime, without Keras.
        source: A folder, whose subfolders are the classes; if it has subfolders named
            like splits (`train`, `val`, `test`, ...), theirs are. Or a CSV file with
            the columns `path`, relative to the file's folder, `label` and, optionally,
            `split`. Other spellings of an expression, such as `happy`, are understood.
        split: Which split to evaluate on; needed where there are several.
        detector: `None` for images that are face crops; for photos see
            `keras_fer.faces.detect`. The largest face of a photo counts.
        balanced: With the name of a model, see `keras_fer.zoo.load`.

    Returns:
        An `Evaluation`. Images that cannot be read or show no face are listed in it.

    Raises:
        FileNotFoundError: There is no such folder, file or model.
        ValueError: The model does not know a label, no image can be used, a split is
            unknown, or see `keras_fer.zoo.load`.
    """
    from keras_fer.evaluation.metrics import scores  # imports scikit-learn

    items = select_split(read_source(source), split, source)
    loaded = load_detector(detector)
    network = named_model(model, balanced)
    known = tuple(network.labels)
    items = rename(items, known_names({item.label for item in items}, known))
    _check_labels(in_order(item.label for item in items), known, source)
    name = getattr(network, "name", type(network).__name__)
    if isinstance(model, (str, os.PathLike)):
        name = os.fspath(model)
    crops: list[Crop] = []
    predicted: list[np.ndarray] = []
    read = iter(_with_progress(read_crops(items, loaded), len(items)))
    while part := list(itertools.islice(read, _BATCH)):
        pixels = [crop.pixels for crop in part if crop.pixels is not None]
        if pixels:
            predicted.append(predict_crops(network, pixels))
        # Without the pixels: all of them may not fit into memory.
        crops += [dataclasses.replace(crop, pixels=None) for crop in part]
    truth = [known.index(crop.item.label) for crop in crops if not crop.problem]
    if not truth:
        raise ValueError(
            f"None of the {len(crops)} images of {str(source)!r} can be used; of the "
            f"first, {crops[0].item.path!r}: {crops[0].problem}."
        )
    return Evaluation(
        model=name,
        source=os.fspath(source),
        split=split,
        labels=known,
        scores=scores(truth, np.concatenate(predicted), known, only_present=True),
        unreadable={crop.item.path: crop.error for crop in crops if crop.error},
        without_face=tuple(
            crop.item.path for crop in crops if not crop.error and not crop.faces
        ),
        several_faces=sum(crop.faces > 1 for crop in crops),
    )


def _with_progress(crops: Iterable[Crop], total: int) -> Iterable[Crop]:
    from tqdm import tqdm

    # On a terminal only, to standard error.
    progress: Iterable[Crop] = tqdm(crops, total=total, unit="image", disable=None)
    return progress


def _check_labels(labels: Sequence[str], known: Sequence[str], source: object) -> None:
    unknown = [label for label in labels if label not in known]
    if unknown:
        raise ValueError(
            f"The model does not know {_listed(unknown)} of {str(source)!r}: its "
            f"labels are {_listed(known)}, those of the images {_listed(labels)}. "
            "Rename or leave out these classes, or train a model for them with "
            "keras-fer train."
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" * (len(names) > _MOST_NAMED)
    return ", ".join(names[:_MOST_NAMED]) + more
