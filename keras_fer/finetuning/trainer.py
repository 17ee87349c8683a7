"""A folder of images to a fine-tuned model in one file."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_fer import zoo
from keras_fer._version import __version__
from keras_fer.evaluation import Evaluation
from keras_fer.faces import load_detector
from keras_fer.faces.detect import AnyDetector
from keras_fer.files import check_free, locked, replacing
from keras_fer.finetuning.crops import cached_crops
from keras_fer.finetuning.settings import TrainingSettings
from keras_fer.finetuning.split import HELD_OUT, TRAIN, assign, divide
from keras_fer.labeled import (
    COLUMNS,
    Crop,
    LabeledImage,
    in_order,
    known_names,
    read_source,
    rename,
)

if TYPE_CHECKING:
    from keras_fer.models import ExpressionClassifier

# A temperature is fitted on as many held-out images, or more.
_LEAST_CALIBRATED = 50

# A class of a smaller share of the largest one is said to be rare.
_RARE = 0.2


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingResult:
    """What `train` did.

    Attributes:
        path: Of the model.
        start: Name of the model that it started from.
        labels: Of the model.
        evaluation: On the held-out images, with what was left out of all images. They
            selected the best epoch, so the scores of new images are a little lower.
        history: Logs of the epochs, for `"head"` and `"last_layers"`.
        images: The images that were used; their `split` is `"train"` or `"val"`.
    """

    path: pathlib.Path
    start: str
    labels: tuple[str, ...]
    evaluation: Evaluation
    history: dict[str, list[dict[str, Any]]]
    images: tuple[LabeledImage, ...]

    @property
    def trained_on(self) -> int:
        """Number of images that the model was trained on."""
        return sum(image.split == TRAIN for image in self.images)

    def to_dict(self) -> dict[str, Any]:
        """The values that `keras-fer train --json` prints."""
        return {
            "path": str(self.path),
            "start": self.start,
            "labels": list(self.labels),
            "trained_on": self.trained_on,
            "epochs": {name: len(logs) for name, logs in self.history.items()},
            "held_out": self.evaluation.to_dict(),
        }

    def save_split(self, file: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Writes which images trained and which were held out, as a CSV file.

        `keras_fer.train` and `keras_fer.evaluate(..., split="val")` read it.

        Args:
            file: To write.
            overwrite: Whether to replace an existing file.

        Raises:
            FileExistsError: It exists, and `overwrite` is off.
            OSError: It cannot be written.
        """
        folder = pathlib.Path(file).parent
        with (
            replacing(file, overwrite) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as lines,
        ):
            writer = csv.writer(lines)
            writer.writerow(COLUMNS)
            for image in self.images:
                path = os.path.relpath(image.path, folder)
                writer.writerow([path, image.label, image.subject, image.split])


def train(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    model: str | os.PathLike[str] = "patt_lite",
    *,
    detector: AnyDetector = None,
    settings: TrainingSettings | None = None,
    overwrite: bool = False,
    report: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Fine-tunes a model on labeled images and writes it to a `.keras` file.

    The head is trained first, on features of the frozen backbone that are computed
    once, then the last layers on augmented images. The best epoch on the held-out
    images is kept, and a temperature is fitted on them. Duplicates of an image are
    never on both sides, unless the data say so, which is warned of.

    A call that was killed goes on when it is repeated: `PATH.run`, a folder beside the
    output, holds what is finished, and is removed at the end.

    Args:
        source: A folder, whose subfolders are the classes; if it has subfolders named
            like splits (`train`, `val`, ...), theirs are. Or a CSV file with the
            columns `path`, relative to the file's folder, `label` and, optionally,
            `subject` and `split`. Images of `train` splits are trained on, those of
            `val` and `dev` splits held out, and others, such as `test`, not opened.
            If every class is an expression, other spellings (`happy`) get its name.
        path: Of the file to write, `.keras`.
        model: What to start from: a name that `keras_fer.zoo.load` knows, a `.keras`
            file, a folder of `zoo.train`, or `hf://user/repo`. Labels that it knows
            keep their trained rows of the last layer.
        detector: `None` for images that are face crops; for photos see
            `keras_fer.faces.detect`. The largest face of a photo is used.
        settings: See `TrainingSettings`.
        overwrite: Whether to replace an existing file.
        report: Function that is given lines of progress; `None` to print them.

    Returns:
        A `TrainingResult`. Images that cannot be read or show no face are listed in it.

    Raises:
        FileExistsError: The file exists, and `overwrite` is off.
        FileNotFoundError: There is no such source, model or folder for the file.
        FloatingPointError: The loss is not finite.
        OSError: Something cannot be written; or another process trains this file.
        ValueError: There are fewer than two classes or not enough images, the images
            cannot be divided, an unfinished run of this file is of other data or
            settings, or see `keras_fer.zoo.load`.

    Warns:
        UserWarning: Images leak from one part into the other, duplicates have
            different labels, a class is not held out, or a class is rare.
    """
    settings = settings or TrainingSettings()
    report = report or print
    path = _check_path(path, overwrite)
    items = assign(read_source(source), source)
    start = zoo.info(model)
    labels, items = _name_classes(items, start.labels, source)
    loaded = load_detector(detector)
    folder = path.with_name(f"{path.name}.run")
    facts = {
        "version": __version__,
        "model": start.sha256 or start.name,
        "settings": dataclasses.asdict(settings),
        "detector": loaded.name,
        "images": _fingerprint(items),
    }
    _open_folder(folder)
    with locked(folder):
        _check_facts(folder / "run.json", facts)
        network = _load(model, labels, settings.seed)
        images, crops = cached_crops(folder, items, loaded, network.input_size)
        items = [crop.item for crop in crops if not crop.problem]
        _check_used(crops, labels)
        _report_images(report, items, crops, labels, start.labels, start.name)
        held = divide(items, images, settings.hold_out, settings.by, settings.seed)
        report(f"{(~held).sum():,} images to train on, {held.sum():,} held out")
        history, probabilities = _train(
            network, folder, settings, images, held, items, report
        )
        truth = [labels.index(items[row].label) for row in np.flatnonzero(held)]
        evaluation = _calibrate(network, truth, probabilities)
        _save(network, path, overwrite)
        shutil.rmtree(folder)
    return TrainingResult(
        path,
        start.name,
        labels,
        dataclasses.replace(
            evaluation,
            model=str(path),
            source=os.fspath(source),
            unreadable={crop.item.path: crop.error for crop in crops if crop.error},
            without_face=tuple(
                crop.item.path for crop in crops if not crop.error and not crop.faces
            ),
            several_faces=sum(crop.faces > 1 for crop in crops),
        ),
        history,
        tuple(
            dataclasses.replace(item, split=HELD_OUT if out else TRAIN)
            for item, out in zip(items, held, strict=True)
        ),
    )


def _check_path(path: str | os.PathLike[str], overwrite: bool) -> pathlib.Path:
    path = pathlib.Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"path must end in .keras, got {str(path)!r}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {str(path.parent)!r}. Make it, or choose another path."
        )
    if not overwrite:
        check_free(path)
    elif path.is_dir():
        raise FileExistsError(f"{str(path)!r} is a folder. Choose another path.")
    return path


def _name_classes(
    items: Sequence[LabeledImage], known: Sequence[str], source: object
) -> tuple[tuple[str, ...], list[LabeledImage]]:
    """The labels of the model, and the images with them."""
    given = {item.label for item in items}
    names = known_names(given, known)
    # All or none: in a folder of normal and abnormal, normal is not an expression.
    items = rename(items, names if {*names, *known} >= given else {})
    labels = in_order(item.label for item in items)
    if len(labels) < 2:
        raise ValueError(
            f"{str(source)!r} must have at least two classes, got "
            f"{', '.join(labels) or 'none'}. Put the images into one subfolder per "
            "class."
        )
    return labels, items


def _fingerprint(items: Sequence[LabeledImage]) -> str:
    """Hash of the images' names, labels, sizes and times."""
    digest = hashlib.sha256()
    for item in items:
        try:
            facts = os.stat(item.path)
            stamp = (facts.st_size, facts.st_mtime_ns)
        except OSError:  # It will be reported when it is read.
            stamp = (0, 0)
        entry = (*dataclasses.astuple(item), *stamp)
        digest.update(repr(entry).encode(errors="surrogatepass"))
    return digest.hexdigest()


def _open_folder(folder: pathlib.Path) -> None:
    """Makes the folder of a run, or finds one that is ours."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not (folder / "run.json").is_file() and any(folder.iterdir()):
            raise FileExistsError(
                f"{str(folder)!r} is needed for the run and holds other files. Choose "
                "another path for the model."
            ) from None


def _check_used(crops: Sequence[Crop], labels: Sequence[str]) -> None:
    """Raises a `ValueError` if a class has no image that can be used."""
    used = {crop.item.label for crop in crops if not crop.problem}
    for label in labels:
        if label not in used:
            first = next(crop for crop in crops if crop.item.label == label)
            raise ValueError(
                f"No image of {label} can be used; of the first, {first.item.path!r}: "
                f"{first.problem}."
            )


def _save(network: ExpressionClassifier, path: pathlib.Path, overwrite: bool) -> None:
    from keras_fer.finetuning.stages import copy_of

    # A model of its own, so that no optimizer is saved.
    final = copy_of(network)
    with replacing(path, overwrite) as temporary:
        final.save(temporary)


def _check_facts(file: pathlib.Path, facts: dict[str, Any]) -> None:
    """Refuses to resume a run of other data or settings that has finished an epoch."""
    different = list(facts)
    if file.is_file():
        try:
            before = dict(json.loads(file.read_text("utf-8")))
        except (ValueError, TypeError):
            before = {}
        different = [name for name in facts if before.get(name) != facts[name]]
    if not different:
        return
    if any(file.parent.glob("*.npz")):
        raise ValueError(
            f"{str(file.parent)!r} holds an unfinished run, which differs in its "
            f"{', '.join(different)}. Repeat the command that it was started with, "
            "or delete the folder to start again."
        )
    if different != ["settings"]:  # The crops are others, too.
        (file.parent / "crops.jsonl").unlink(missing_ok=True)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")


def _load(
    model: str | os.PathLike[str], labels: tuple[str, ...], seed: int
) -> ExpressionClassifier:
    import keras

    keras.utils.set_random_seed(seed)
    with warnings.catch_warnings():
        # That new classes are untrained, which they will not be for long.
        warnings.filterwarnings("ignore", "new head")
        return zoo.load(model, labels=labels)


def _report_images(
    report: Callable[[str], None],
    items: Sequence[LabeledImage],
    crops: Sequence[Crop],
    labels: Sequence[str],
    known: Sequence[str],
    start: str,
) -> None:
    """Says what the model is trained on and starts from, and warns of rare classes."""
    counts = Counter(item.label for item in items)
    listed = ", ".join(f"{label} {counts[label]:,}" for label in labels)
    report(f"{len(items):,} images: {listed}")
    errors = sum(crop.error is not None for crop in crops)
    without = sum(crop.error is None and not crop.faces for crop in crops)
    several = sum(crop.faces > 1 for crop in crops)
    for number, what in (
        (errors, "could not be read and are left out"),
        (without, "show no face and are left out"),
        (several, "show several faces; the largest is used"),
    ):
        if number:
            report(f"{number:,} images {what}")
    kept = [label for label in labels if label in known]
    report(f"from {start}, which knows {', '.join(kept) or 'none of these labels'}")
    rare = [label for label in labels if counts[label] < _RARE * max(counts.values())]
    if rare:
        warnings.warn(
            f"{', '.join(rare)} has few images next to the largest class; "
            "class_weights makes all classes weigh the same",
            stacklevel=3,
        )


def _train(
    network: ExpressionClassifier,
    folder: pathlib.Path,
    settings: TrainingSettings,
    images: np.ndarray,
    held: np.ndarray,
    items: Sequence[LabeledImage],
    report: Callable[[str], None],
) -> tuple[dict[str, list[dict[str, Any]]], np.ndarray]:
    """The logs of the stages, and the probabilities of the held-out images."""
    import keras

    from keras_fer.finetuning.stages import (
        Run,
        train_head,
        train_last_layers,
        unfreeze,
    )

    classes = [network.labels.index(item.label) for item in items]
    targets = np.eye(len(network.labels), dtype="float32")[classes]
    run = Run(folder, settings, images, targets, held, report)
    history = {}
    if settings.head_epochs:
        report("training the head")
        history["head"] = train_head(run, network)
    if settings.epochs and settings.unfreeze:
        report("training the last layers")
        # The same random numbers, whether the head was trained just now or before.
        keras.utils.set_random_seed(settings.seed + 1)
        history["last_layers"] = train_last_layers(run, network)
    # As `zoo.load` returns it.
    unfreeze(network.get_layer("backbone"))
    return history, network.predict(images[held], batch_size=256, verbose=0)


def _calibrate(
    network: ExpressionClassifier, truth: Sequence[int], probabilities: np.ndarray
) -> Evaluation:
    """Fits the temperature of a model on held-out images, and evaluates it."""
    from keras_fer.evaluation.calibration import (
        TEMPERATURES,
        fit_temperature,
        soften,
    )
    from keras_fer.evaluation.metrics import scores

    if len(truth) >= _LEAST_CALIBRATED:
        fitted = fit_temperature(truth, probabilities)
        least, most = TEMPERATURES
        if least * 1.01 < fitted < most / 1.01:
            network.get_layer("probabilities").temperature *= fitted
            probabilities = soften(probabilities, fitted)
    return Evaluation(
        model=network.name,
        source="",
        split=HELD_OUT,
        labels=network.labels,
        scores=scores(truth, probabilities, network.labels, only_present=True),
    )
