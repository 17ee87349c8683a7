"""Measures a model: `python -m zoo.evaluate MODEL --data DIR`.

One crop for each image, on all of a split and on the part of it whose pixels do not
occur in train: accuracy, macro-F1 and unweighted average recall with bootstrap
intervals, a table of the classes, the confusion matrix, the ABAW score, and how far
the probabilities can be trusted (NLL, Brier score, expected calibration error). Batch
order and size are varied too: a prediction must not depend on either.

MODEL is a name from `keras-fer list`, a `.keras` file, or a folder that `zoo.train`
wrote. `--corruption` measures on masked, occluded or corrupted copies of the same
images, `--plots` draws, and `--temperature` fits a temperature on the validation part
that epochs were chosen on; `--store` writes it into a `.keras` file, and measures then.
Nothing is chosen on the split that is reported.

Exit status: 0, 1 when something went wrong, 2 on wrong usage.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import sys
import tempfile
import time
import zipfile

import numpy as np
from scipy import optimize
from sklearn import metrics

from keras_fer.cli import _one_line, _without_native_chatter
from zoo import data
from zoo.checkpoint import replacing
from zoo.environment import environment
from zoo.target import find

# Those of `tfds_builders.corruptions`, which takes seconds and an extra to import.
FAMILIES = ("masked", "occluded", "corrupted")
BINS = 15
RESAMPLES = 1000
TEMPERATURES = (0.05, 20.0)


def _check(truth, probabilities, labels):
    truth, probabilities = np.asarray(truth), np.asarray(probabilities)
    if not len(truth):
        raise ValueError(
            "Nothing to measure. Received: no faces. Choose a split that has some."
        )
    if probabilities.shape != (len(truth), len(labels)):
        raise ValueError(
            f"Received: probabilities of shape {probabilities.shape} for {len(truth)} "
            f"faces and {len(labels)} labels. Expected one row for each face and one "
            f"column for each label, {(len(truth), len(labels))}."
        )
    if truth.min() < 0 or truth.max() >= len(labels):
        raise ValueError(
            f"Received: classes from {truth.min()} to {truth.max()}. Expected 0 to "
            f"{len(labels) - 1}, the places of {tuple(labels)}."
        )
    wrong = ~(np.abs(probabilities.sum(axis=1) - 1) < 1e-3)  # True for NaN, too.
    wrong |= (probabilities < 0).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"Not probabilities. Received: {probabilities[row].tolist()} in row {row}, "
            f"and {wrong.sum()} such rows of {len(wrong)}. Expected finite values of 0 "
            "or more that sum to 1. Look at the model's weights and its last layer."
        )
    return truth, probabilities


def scores(truth, probabilities, labels):
    """Every metric of one set of predictions.

    A class without faces counts as 0 in the averages (scikit-learn's
    `zero_division=0`); its support of 0 in `per_class` tells.

    Args:
        truth: int `(N,)`, places in `labels`.
        probabilities: `(N, len(labels))`, rows summing to 1.
        labels: Names of the classes.

    Returns:
        A dictionary, ready for JSON. In percent: `accuracy`, `macro_f1`, `uar`
        (unweighted average recall), `abaw` (0.67 macro-F1 + 0.33 accuracy, as in the
        first ABAW competition, Kollias et al., 2020), `ece` and all of `per_class` but
        the support. `nll` is in nats; `brier` is the sum over the classes, 0 to 2.
        `confusion` has a row for each true class, `reliability` is as from
        `reliability`, `intervals` as from `bootstrap`.

    Raises:
        ValueError: If there are no faces, shapes differ, a class is none of the
            labels, or rows are not probabilities.
    """
    truth, probabilities = _check(truth, probabilities, labels)
    predicted = probabilities.argmax(axis=1)
    classes = np.arange(len(labels))
    options = {"labels": classes, "zero_division": 0}
    accuracy = 100 * metrics.accuracy_score(truth, predicted)
    macro_f1 = 100 * metrics.f1_score(truth, predicted, average="macro", **options)
    uar = 100 * metrics.recall_score(truth, predicted, average="macro", **options)
    columns = metrics.precision_recall_fscore_support(truth, predicted, **options)
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
        "intervals": bootstrap(confusion),
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


def reliability(truth, probabilities):
    """How often a prediction is right, beside how sure it is.

    The faces are put into 15 bins of equal width by the probability of their predicted
    class; a bin holds its upper edge. The expected calibration error is the distance
    of accuracy and confidence, averaged over the faces (Guo et al., "On Calibration of
    Modern Neural Networks", 2017, equation 3).

    Args:
        truth: int `(N,)`.
        probabilities: `(N, classes)`.

    Returns:
        The error in percent, and a dictionary of the bins from the least to the most
        sure: `count`, and in percent `confidence` and `accuracy`, `None` where a bin
        is empty.
    """
    confidence = probabilities.max(axis=1).astype("float64")
    right = probabilities.argmax(axis=1) == truth
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    places = np.digitize(confidence, edges, right=True)
    count, sure, correct = (
        np.bincount(places, weights, minlength=BINS)
        for weights in (None, confidence, right)
    )
    error = 100 * np.abs(correct - sure).sum() / len(truth)

    def means(sums):
        pairs = zip(sums, count, strict=True)
        return [100 * float(total / n) if n else None for total, n in pairs]

    bins = {
        "count": count.tolist(),
        "confidence": means(sure),
        "accuracy": means(correct),
    }
    return float(error), bins


def bootstrap(confusion, seed=0):
    """95 % bootstrap intervals of accuracy, macro-F1 and UAR.

    Faces that are drawn again with replacement fall into the cells of the confusion
    matrix as a multinomial does: 1,000 draws of it are the 1,000 resamples. Percentile
    intervals. They tell the chance in these faces, not that of another training.

    Args:
        confusion: int `(C, C)`, a row for each true class.
        seed: Of the draws.

    Returns:
        `accuracy`, `macro_f1` and `uar`, each `[low, high]` in percent, beside
        `resamples`, `seed` and `level`, in percent.
    """
    confusion = np.asarray(confusion)
    n = confusion.sum()
    drawn = np.random.default_rng(seed).multinomial(
        n, confusion.ravel() / n, size=RESAMPLES
    )
    drawn = drawn.reshape(RESAMPLES, *confusion.shape)
    hits = drawn.diagonal(axis1=1, axis2=2)
    true, predicted = drawn.sum(axis=2), drawn.sum(axis=1)
    # No hits where there is nothing to divide by, so 0 as in `scores`.
    values = {
        "accuracy": hits.sum(axis=1) / n,
        "macro_f1": (2 * hits / np.maximum(true + predicted, 1)).mean(axis=1),
        "uar": (hits / np.maximum(true, 1)).mean(axis=1),
    }
    ends = {
        metric: (100 * np.percentile(each, [2.5, 97.5])).tolist()
        for metric, each in values.items()
    }
    return {**ends, "resamples": RESAMPLES, "seed": seed, "level": 95}


def soften(probabilities, temperature):
    """Probabilities of the logits divided by a temperature: float64 `(N, classes)`.

    Their logarithms are the logits but for a constant in each row, which softmax
    forgets.
    """
    smallest = np.finfo("float32").tiny
    logits = np.log(np.maximum(np.asarray(probabilities, "float64"), smallest))
    logits /= temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_temperature(truth, probabilities):
    """The temperature with the smallest NLL (Guo et al., 2017, section 4.2).

    Args:
        truth: int `(N,)`, of validation data.
        probabilities: `(N, classes)`.

    Returns:
        A float from 0.05 to 20. At either end there was no smallest NLL: the lower one
        where every prediction is right, the upper one where they tell nothing.
    """
    truth, probabilities = _check(truth, probabilities, range(probabilities.shape[1]))
    classes = np.arange(probabilities.shape[1])

    def nll(log_temperature):
        softened = soften(probabilities, np.exp(log_temperature))
        return metrics.log_loss(truth, softened, labels=classes)

    # Convex in 1 / temperature, so it has one minimum in the logarithm, too.
    found = optimize.minimize_scalar(
        nll, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def _calibration(truth, probabilities, stored, fitted):
    """NLL and ECE without a temperature, with the stored one and with the fitted one.

    The probabilities have the stored one in them.
    """
    classes = np.arange(probabilities.shape[1])
    result = {"n": len(truth)}
    values = {"uncalibrated": 1.0, "stored": stored, "fitted": fitted}
    for which, value in values.items():
        softened = soften(probabilities, value / stored)
        result[which] = {
            "nll": metrics.log_loss(truth, softened, labels=classes),
            "ece": reliability(truth, softened)[0],
        }
    return result


def _fit(model, subject, source):
    """Validation faces, their probabilities, the stored and the fitted temperature."""
    if subject.validation:
        part = subject.validation
        faces = _open(subject, source, part, model)
    else:
        part = f"the validation part of {subject.train}"
        faces = _open(subject, source, subject.train, model)
        _, faces = data.hold_out(faces, duplicates=subject.duplicates)
    faces = _certain(faces, f"{part} of {subject.dataset} in {str(source)!r}")
    probabilities = model.predict(faces.images, batch_size=256, verbose=0)
    stored = model.get_layer("probabilities").temperature
    # What is fitted comes on top of what the probabilities have in them.
    fitted = stored * fit_temperature(faces.classes, probabilities)
    return faces.classes, probabilities, stored, fitted


def store_temperature(file, source, dataset=None):
    """Fits a temperature on validation and writes it into a saved model.

    The file is replaced at once, when the new one is complete.

    Args:
        file: A `.keras` file, or a folder of `zoo.train`.
        source: Of the data; see `zoo.data.open_split`.
        dataset: See `find`.

    Returns:
        The temperature.

    Raises:
        ValueError: If there is no file to write to, or none fits: the NLL is smallest
            at an end of the range.
    """
    subject = find(file, dataset=dataset)
    if subject.file is None:
        raise ValueError(
            f"Nothing to write to. Received: {str(file)!r}, a name of the zoo. "
            "Expected a .keras file; those of presets are in keras_fer/zoo/presets.py."
        )
    model = subject.load()
    *_, stored, fitted = _fit(model, subject, source)
    least, most = TEMPERATURES
    if not least * 1.01 < fitted / stored < most / 1.01:
        raise ValueError(
            f"No temperature fits. Received: the smallest NLL at {fitted:.4g}, an end "
            f"of what is tried, {least} to {most} times {stored:.4g}. Look at the "
            "model and at the validation part; the file is as it was."
        )
    model.get_layer("probabilities").temperature = fitted
    with replacing(subject.file) as partial:
        model.save(partial)
    return fitted


def derive(faces, way):
    """Images made harder, each decided by its row alone.

    Faces are taken to fill their images; landmarks are not used.

    Args:
        faces: A `zoo.data.Faces`.
        way: `"masked"`, `"occluded"` or `"corrupted"`.

    Returns:
        uint8 images of the same shape, and a list of the kind of each: an occlusion,
        a corruption, or `None`.
    """
    from tfds_builders import corruptions

    # Plain integers: the derivation depends on how its id is written.
    pairs = [
        corruptions.apply(image, int(row), way)
        for image, row in zip(faces.images, faces.rows, strict=True)
    ]
    kinds = [facts.get("occlusion", facts.get("corruption")) for _, facts in pairs]
    return np.stack([image for image, _ in pairs]), kinds


def _by_kind(truth, probabilities, kinds):
    right, kinds = probabilities.argmax(axis=1) == truth, np.array(kinds)
    return {
        str(kind): {
            "n": int((kinds == kind).sum()),
            "accuracy": 100 * float(right[kinds == kind].mean()),
        }
        for kind in np.unique(kinds)
    }


def batch_independence(model, images):
    """Largest change of a probability when batches change in size and order."""
    reference = model.predict(images, batch_size=len(images), verbose=0)
    order = np.random.default_rng(0).permutation(len(images))
    largest = 0.0
    for size in (1, 7, 32):
        shuffled = model.predict(images[order], batch_size=size, verbose=0)
        largest = max(largest, np.abs(shuffled - reference[order]).max())
    return float(largest)


def evaluate(
    model,
    weights,
    source,
    split=None,
    dataset=None,
    corruption=None,
    with_temperature=False,
):
    """Evaluates a model.

    Args:
        model: A name of the zoo, a `.keras` file, or a folder of `zoo.train`.
        weights: With a name of the zoo, as for `keras_fer.zoo.load`; otherwise
            `"default"`.
        source: Of the data, such as a folder; see `zoo.data.open_split`.
        split: Such as `"public_test"`; `None` for that of the recipe.
        dataset: See `find`.
        corruption: `None` for the images as they are, or a way
            of `derive`.
        with_temperature: Whether to fit a temperature on the validation part of train.
            It is reported; the model and the other metrics stay as they are.

    Returns:
        A dictionary, ready for JSON, as in `zoo.results_schema`. `without_duplicates`
        is `None` where every image occurs in train.

    Raises:
        FileNotFoundError: If the model, the split or train is not there.
        ValueError: If the model cannot be read, the labels of model and dataset
            differ, or no faces are left.
    """
    start = time.perf_counter()
    subject = find(model, weights, dataset)
    split = split or subject.test
    model = subject.load()
    faces = _certain(
        _open(subject, source, split, model),
        f"{split} of {subject.dataset} in {str(source)!r}",
    )
    trained = dataclasses.replace(subject, dataset=subject.trained_on)
    train = _open(trained, source, subject.train, model).images
    # Pixels as they were: a derived copy of an image of train is no new one.
    fresh = ~data.occurs_in(
        faces.images, (train[row : row + 1] for row in range(len(train)))
    )
    images, kinds = derive(faces, corruption) if corruption else (faces.images, [None])
    probabilities = model.predict(images, batch_size=256, verbose=0)
    result = {
        "kind": "evaluation",
        "model": subject.name,
        "recipe": subject.recipe,
        "sha256": subject.sha256,
        "dataset": subject.dataset,
        "split": split,
        "corruption": corruption,
        "data_sha256": _checksum(source, split, faces),
        "protocol": "one crop a face, no test-time augmentation",
        "labels": list(model.labels),
        "all": scores(faces.classes, probabilities, model.labels),
        "without_duplicates": scores(
            faces.classes[fresh], probabilities[fresh], model.labels
        )
        if fresh.any()
        else None,
        "batch_independence": batch_independence(model, images[:200]),
    }
    if any(kinds):
        result["by_kind"] = _by_kind(faces.classes, probabilities, kinds)
    if with_temperature:
        truth, sure, *temperatures = _fit(model, trained, source)
        result["temperature"] = {
            **dict(zip(("stored", "fitted"), temperatures, strict=True)),
            "validation": _calibration(truth, sure, *temperatures),
            "all": _calibration(faces.classes, probabilities, *temperatures),
        }
    result["seconds"] = time.perf_counter() - start
    return {**result, "environment": environment()}


def _open(subject, source, split, model):
    """A split of the data that a model was trained for."""
    try:
        faces = data.open_split(subject.dataset, source, split, model.input_size)
    except (EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"Damaged data. Received: {split} in {str(source)!r}, "
            f"{type(error).__name__}: {_one_line(error)}. Expected what the docstring "
            "of zoo.data describes."
        ) from error
    if tuple(model.labels) != tuple(faces.labels):
        raise ValueError(
            f"The labels differ. Received: {subject.name} with {model.labels}, "
            f"{subject.dataset} with {faces.labels}. Choose the dataset that the model "
            "was trained for."
        )
    return faces


def _certain(faces, part):
    """The faces that count, in memory."""
    faces = faces[faces.scored]
    if not len(faces):
        raise ValueError(
            f"No faces left. Received: {part}. Expected at least one face with a "
            "certain label."
        )
    return dataclasses.replace(faces, images=faces.images[:])


def _checksum(source, split, faces):
    """Of the file of arrays; where there is none, of the images and classes."""
    file = pathlib.Path(str(source).removeprefix("npz:")) / f"{split}.npz"
    if file.is_file():
        return hashlib.sha256(file.read_bytes()).hexdigest()
    classes = faces.classes.astype("int64").tobytes()
    return hashlib.sha256(faces.images.tobytes() + classes).hexdigest()


def table(result):
    """What a person reads."""
    lines = [f"{result['model']} on {result['dataset']} {result['split']}, one crop"]
    if result["corruption"]:
        lines[0] += f", {result['corruption']}"
    for part in ("all", "without_duplicates"):
        values = result[part]
        if values is None:
            lines += ["", f"{part.replace('_', ' ')}: every image occurs in train"]
            continue
        lines += [
            "",
            f"{part.replace('_', ' ')}, n = {values['n']:,}",
            "accuracy {accuracy:.2f} %  macro-F1 {macro_f1:.2f} %  UAR {uar:.2f} %  "
            "NLL {nll:.4f}".format(**values),
            "ABAW score {abaw:.2f} %  Brier {brier:.4f}  ECE {ece:.2f} %".format(
                **values
            ),
            "95 % of {resamples:,} resamples: accuracy {accuracy[0]:.2f} to "
            "{accuracy[1]:.2f}  macro-F1 {macro_f1[0]:.2f} to {macro_f1[1]:.2f}  "
            "UAR {uar[0]:.2f} to {uar[1]:.2f}".format(**values["intervals"]),
            " " * 11 + " precision    recall        F1     faces",
        ]
        for label, row in values["per_class"].items():
            lines.append(
                f"{label:>10} {row['precision']:>10.2f}{row['recall']:>10.2f}"
                f"{row['f1']:>10.2f}{row['support']:>10,}"
            )
        absent = [k for k, row in values["per_class"].items() if not row["support"]]
        if absent:
            lines.append(f"no faces, so 0 in the averages: {', '.join(absent)}")
        lines += [
            "confusion (row: truth, column: prediction)",
            " " * 11 + "".join(f"{label[:9]:>10}" for label in result["labels"]),
        ]
        for label, row in zip(result["labels"], values["confusion"], strict=True):
            lines.append(f"{label:>10} " + "".join(f"{count:>10}" for count in row))
    change = result["batch_independence"]
    lines += [
        "",
        f"largest change of a probability with samples of the batch: {change:.1e}",
    ]
    for kind, row in result.get("by_kind", {}).items():
        lines.append(f"{kind:>18} accuracy {row['accuracy']:.2f} %, n = {row['n']:,}")
    if "temperature" in result:
        fitted = result["temperature"]
        lines += ["", _advice(fitted["stored"], fitted["fitted"])]
        for part in ("validation", "all"):
            lines.append(f"{part}, n = {fitted[part]['n']:,}")
            for which in ("uncalibrated", "stored", "fitted"):
                row = fitted[part][which]
                lines.append(
                    f"{which:>18} NLL {row['nll']:.4f}  ECE {row['ece']:.2f} %"
                )
    return "\n".join(lines)


def _advice(stored, fitted):
    """Which temperature belongs into the model."""
    if abs(stored - fitted) <= 1e-3:
        return (
            f"temperature {stored:.4f} is stored, and it is the one that fits the "
            f"validation part ({fitted:.4f})"
        )
    return (
        f"temperature {fitted:.4f} fits the validation part, but {stored:.4f} is "
        f"stored: put temperature={fitted:.4f} into the preset in "
        "keras_fer/zoo/presets.py, or into a .keras file with --store"
    )


def plot(result, folder):
    """Draws the confusion matrix and the reliability diagram of all faces.

    Args:
        result: From `evaluate`.
        folder: Where they go; made where it is not there.

    Returns:
        The paths of the two PNG files.
    """
    # A figure without pyplot draws with Agg: no screen is needed.
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


def _check_targets(options, subject):
    """Finds out before the work whether its results can be written."""
    folders = []
    if options.store:
        folders.append(subject.file.parent)
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        folders.append(options.plots)
    if options.out:
        if options.out.is_dir():
            raise IsADirectoryError(
                f"Received: --out {str(options.out)!r}, a folder. Expected a file."
            )
        folders.append(options.out.parent)
    for folder in folders:
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise OSError(
                f"Cannot write there. Received: {str(folder)!r}, {error.strerror}. "
                "Expected a folder that exists and can be written to."
            ) from error


def _parser():
    parser = argparse.ArgumentParser(
        "python -m zoo.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="a name from `keras-fer list`, a .keras file, or a folder of zoo.train",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        default="default",
        help="with a name: other weights for it, a .weights.h5 file",
    )
    parser.add_argument(
        "--data",
        required=True,
        help="a folder of arrays, npz:FOLDER, tfds or tfds:FOLDER; see zoo/data.py",
    )
    parser.add_argument(
        "--split", help="default: that of the recipe, or else public_test"
    )
    parser.add_argument(
        "--dataset", help="default: what the preset or the run was trained for"
    )
    parser.add_argument("--corruption", choices=FAMILIES, help="make the images harder")
    parser.add_argument(
        "--temperature",
        action="store_true",
        help="fit one on the validation part of train and report it",
    )
    parser.add_argument(
        "--store",
        action="store_true",
        help="first write that temperature into the .keras file",
    )
    parser.add_argument("--plots", type=pathlib.Path, help="draw PNG images there")
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    return parser


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        try:
            subject = find(options.model, options.weights, options.dataset)
        except ValueError as error:
            parser.error(_one_line(error))
        if options.store and subject.file is None:
            parser.error("--store writes into a .keras file: pass one as MODEL")
        _check_targets(options, subject)
        with _without_native_chatter():
            import keras  # noqa: F401
        if options.store:
            store_temperature(options.model, options.data, options.dataset)
        result = evaluate(
            options.model,
            options.weights,
            options.data,
            options.split,
            options.dataset,
            options.corruption,
            options.temperature or options.store,
        )
        print(table(result))
        if options.plots:
            print("", *plot(result, options.plots), sep="\n")
        if options.out:
            with replacing(options.out) as partial:
                partial.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    except (ImportError, MemoryError, OSError, RuntimeError, ValueError) as error:
        print(f"zoo.evaluate: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
