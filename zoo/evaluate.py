"""Evaluates a model.

    python -m zoo.evaluate MODEL --data DIR

MODEL is a name from `keras-fer list`, a `.keras` file, or a folder that `zoo.train`
wrote. Measured is one crop per image, on the whole split and on the images whose pixels
do not occur in train:

- accuracy, macro-F1 and unweighted average recall, with 95 % bootstrap intervals;
- precision, recall and F1 of each class, and the confusion matrix;
- for presets, the same with `balanced=True`;
- calibration: NLL, Brier score and expected calibration error;
- the ABAW score, and the largest change of a probability with batch size and order.

`--dataset` names another dataset than the model was trained for. Labels are matched by
name; if they differ, the images of the labels that both have are scored, with the
probabilities of these labels made to sum to 1, and the result says what was left out.
Its training split need not be at hand; then no duplicates are looked for.

`--corruption` evaluates on masked, occluded or corrupted copies of the images.
`--temperature` fits a temperature on the part that was held out for checkpoint
selection and reports its effect; `--store` first writes it into the `.keras` file. No
tuning uses the split that is reported.

Exit status: 0; 1 if something went wrong; 2 on wrong usage.
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

from keras_fer.console import one_line, print_error, without_native_output
from keras_fer.evaluation.calibration import (
    TEMPERATURES,
    compare_temperatures,
    fit_temperature,
    soften,
)
from keras_fer.evaluation.metrics import BINS, bootstrap, reliability, scores
from keras_fer.files import replacing
from tfds_builders import corruptions
from tfds_builders.corruptions import FAMILIES
from zoo import data
from zoo.environment import environment
from zoo.evaluation.balance import rebalance
from zoo.evaluation.plots import plot
from zoo.evaluation.report import table
from zoo.shared_labels import match
from zoo.target import find

__all__ = [
    "BINS",
    "FAMILIES",
    "TEMPERATURES",
    "batch_independence",
    "bootstrap",
    "corrupt",
    "evaluate",
    "fit_temperature",
    "main",
    "plot",
    "reliability",
    "scores",
    "soften",
    "store_temperature",
    "table",
]


def _fit(model, subject, source):
    """Held-out classes, their probabilities, the stored and the fitted temperature."""
    if subject.validation:
        part = subject.validation
        faces = _open_own(subject, source, part, model)
    else:
        part = f"the validation part of {subject.train}"
        faces = _open_own(subject, source, subject.train, model)
        _, faces = data.hold_out(faces, duplicates=subject.duplicates)
    faces = _scored(faces, f"{part} of {subject.dataset} in {str(source)!r}")
    probabilities = model.predict(faces.images, batch_size=256, verbose=0)
    stored = model.get_layer("probabilities").temperature
    # The probabilities already contain the stored one.
    fitted = stored * fit_temperature(faces.classes, probabilities)
    return faces.classes, probabilities, stored, fitted


def store_temperature(file, source, dataset=None):
    """Fits a temperature on the held-out part and writes it into a saved model.

    The file is replaced once the new one is complete.

    Args:
        file: A `.keras` file, or a folder of `zoo.train`.
        source: Source of the data; see `zoo.data.open_split`.
        dataset: See `zoo.target.find`.

    Returns:
        The temperature.

    Raises:
        ValueError: `file` is a name of the zoo, or the NLL has its minimum at an end
            of the range of temperatures.
    """
    subject = find(file, dataset=dataset)
    if subject.file is None:
        raise ValueError(
            f"file must be a .keras file or a folder of zoo.train, got {str(file)!r}, "
            "a name of the zoo. `python -m zoo.promote` sets the temperature of a "
            "preset."
        )
    model = subject.load()
    *_, stored, fitted = _fit(model, subject, source)
    least, most = TEMPERATURES
    if not least * 1.01 < fitted / stored < most / 1.01:
        raise ValueError(
            f"No temperature fits: the NLL is smallest at {fitted:.4g}, an end of the "
            f"range, {least} to {most} times {stored:.4g}. Check the model and the "
            "validation part. The file is unchanged."
        )
    model.get_layer("probabilities").temperature = fitted
    with replacing(subject.file) as partial:
        model.save(partial)
    return fitted


def corrupt(faces, family):
    """Masked, occluded or corrupted copies of images, deterministic by row.

    Faces are taken to fill their images; landmarks are not used.

    Args:
        faces: A `zoo.data.Faces`.
        family: One of `FAMILIES`.

    Returns:
        uint8 images of the same shape, and a list of the kind of each: an occlusion,
        a corruption, or `None`.
    """
    # Plain integers: the result depends on how the id is written.
    pairs = [
        corruptions.apply(image, int(row), family)
        for image, row in zip(faces.images, faces.rows, strict=True)
    ]
    kinds = [facts.get("occlusion", facts.get("corruption")) for _, facts in pairs]
    return np.stack([image for image, _ in pairs]), kinds


def by_kind(truth, probabilities, kinds):
    """Number of faces and accuracy in percent for each kind of corruption.

    Args:
        truth: int `(N,)`.
        probabilities: `(N, classes)`.
        kinds: `N` names.
    """
    right, kinds = probabilities.argmax(axis=1) == truth, np.array(kinds)
    return {
        str(kind): {
            "n": int((kinds == kind).sum()),
            "accuracy": 100 * float(right[kinds == kind].mean()),
        }
        for kind in np.unique(kinds)
    }


def batch_independence(model, images):
    """Largest change of a probability with the size and order of batches."""
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
        source: Source of the data; see `zoo.data.open_split`.
        split: Name of a split such as `"public_test"`; `None` for the one that the
            recipe reports on.
        dataset: See `zoo.target.find`.
        corruption: One of `FAMILIES`, or `None` for the images as they are.
        with_temperature: Whether to fit a temperature on the held-out part and report
            its effect. The model and the other metrics are as without.

    Returns:
        A dictionary of values for JSON, as in `zoo.results_schema`.
        `without_duplicates` is `None` if every image occurs in train, or if train is
        not at hand, which `without_train` tells. `shared` tells what was left out where
        the labels of model and dataset differ.

    Raises:
        FileNotFoundError: The model or the split does not exist.
        ValueError: The model cannot be read, its labels and those of the dataset have
            none in common, or no faces are left.
    """
    start = time.perf_counter()
    subject = find(model, weights, dataset)
    split = split or subject.test
    model = subject.load()
    faces = _open(subject, source, split, model)
    shared = match(model.labels, faces.labels)
    known = shared.index[faces.classes] >= 0
    excluded = int((faces.scored & ~known).sum())
    faces = _scored(faces[known], f"{split} of {subject.dataset} in {str(source)!r}")
    classes = shared.index[faces.classes]
    fresh = _fresh(subject, source, faces.images, model.input_size)
    images, kinds = faces.images, [None]
    if corruption:
        images, kinds = corrupt(faces, corruption)
    every = model.predict(images, batch_size=256, verbose=0)
    probabilities = shared.restrict(every)
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
        "labels": list(shared.labels),
        "all": scores(classes, probabilities, shared.labels),
        "without_duplicates": scores(
            classes[fresh], probabilities[fresh], shared.labels
        )
        if fresh is not None and fresh.any()
        else None,
        "batch_independence": batch_independence(model, images[:200]),
    }
    if fresh is None:
        result["without_train"] = True
    if not shared.same:
        result["shared"] = shared.facts(classes, every, excluded)
    if subject.balance and not corruption:
        adjusted = shared.restrict(rebalance(every, **subject.balance))
        result["balanced"] = {
            **subject.balance,
            "all": scores(classes, adjusted, shared.labels),
        }
    if any(kinds):
        result["by_kind"] = by_kind(classes, probabilities, kinds)
    if with_temperature:
        own = dataclasses.replace(
            subject, dataset=subject.trained_on or subject.dataset
        )
        truth, held_out, *temperatures = _fit(model, own, source)
        result["temperature"] = {
            **dict(zip(("stored", "fitted"), temperatures, strict=True)),
            "validation": compare_temperatures(truth, held_out, *temperatures),
            "all": compare_temperatures(classes, probabilities, *temperatures),
        }
    result["seconds"] = time.perf_counter() - start
    return {**result, "environment": environment()}


def _open(subject, source, split, model):
    """A split of the data that a model can be evaluated on."""
    try:
        faces = data.open_split(subject.dataset, source, split, model.input_size)
    except (EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{split} in {str(source)!r} is damaged ({type(error).__name__}: "
            f"{one_line(error)}). The docstring of zoo.data describes the data."
        ) from error
    return faces


def _open_own(subject, source, split, model):
    """A split of the dataset that a model was trained for."""
    faces = _open(subject, source, split, model)
    if tuple(model.labels) != tuple(faces.labels):
        raise ValueError(
            f"The labels of {subject.name}, {model.labels}, are not those of "
            f"{subject.dataset}, {faces.labels}. Choose the dataset that the model was "
            "trained for."
        )
    return faces


def _fresh(subject, source, images, size):
    """Which images do not occur in train; `None` if train is not at hand."""
    known = np.zeros(len(images), bool)
    for dataset in subject.mixture or (subject.trained_on or subject.dataset,):
        try:
            train = data.open_split(dataset, source, subject.train, size).images
        except (FileNotFoundError, data.UnknownDataset):
            return None
        except ValueError:
            # Of a model that nobody knows, the training split is a guess.
            if subject.trained_on is not None:
                raise
            return None
        # One at a time: all of them may not fit into memory.
        known |= data.occurs_in(images, train)
    return ~known


def _scored(faces, part):
    """The faces that count, read into memory."""
    faces = faces[faces.scored]
    if not len(faces):
        raise ValueError(
            f"{part} has no faces to evaluate on: none has a majority label that the "
            "model knows. Choose another split."
        )
    return dataclasses.replace(faces, images=faces.images[:])


def _checksum(source, split, faces):
    """Hash of the file of arrays or, if there is none, of images and classes."""
    file = pathlib.Path(str(source).removeprefix("npz:")) / f"{split}.npz"
    if file.is_file():
        return hashlib.sha256(file.read_bytes()).hexdigest()
    classes = faces.classes.astype("int64").tobytes()
    return hashlib.sha256(faces.images.tobytes() + classes).hexdigest()


def _check_targets(options, subject):
    """Checks before the work that its results can be written."""
    folders = []
    if options.store:
        folders.append(subject.file.parent)
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        folders.append(options.plots)
    if options.out:
        if options.out.is_dir():
            raise IsADirectoryError(
                f"--out must be a file, got the folder {str(options.out)!r}."
            )
        folders.append(options.out.parent)
    for folder in folders:
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise OSError(
                f"Cannot write to {str(folder)!r}: {error.strerror}. Choose a folder "
                "that exists and that you may write to."
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
        help="other weights for a name, a .weights.h5 file",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="a folder of arrays, npz:FOLDER, tfds or tfds:FOLDER; see zoo/data.py",
    )
    parser.add_argument(
        "--split", help="split to evaluate on (that of the recipe, or public_test)"
    )
    parser.add_argument(
        "--dataset",
        help="dataset of the split (the one that the model was trained for)",
    )
    parser.add_argument(
        "--corruption", choices=FAMILIES, help="evaluate on such copies of the images"
    )
    parser.add_argument(
        "--temperature",
        action="store_true",
        help="fit a temperature on the held-out part and report its effect",
    )
    parser.add_argument(
        "--store",
        action="store_true",
        help="write that temperature into the .keras file, then evaluate",
    )
    parser.add_argument(
        "--plots",
        type=pathlib.Path,
        metavar="FOLDER",
        help="draw the confusion matrix and the reliability diagram",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, metavar="FILE", help="write the result as JSON"
    )
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
            parser.error(one_line(error))
        if options.store and subject.file is None:
            parser.error("--store writes into a .keras file: pass one as MODEL")
        _check_targets(options, subject)
        with without_native_output():
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
        print_error("zoo.evaluate", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
