"""Cross-validates a recipe over ten folds of subjects.

    python -m zoo.crossvalidate RECIPE --data tfds [--out OUT] [--fold N ...]

For each fold N, `zoo.train` trains in OUT/fold_N on eight folds, selects the checkpoint
on the fold after N, and the result is tested once on fold N. Folds may run in any
order, and an interrupted one continues where it stopped: start the same command again.
Folds that another process is training are left to it.

On several machines, give each its own with --fold, which can be repeated. Then bring
all folders OUT/fold_N to one machine (run.json and predictions.npz are enough), and run
the command there once more. As soon as all folds are complete, it writes
OUT/crossvalidation.json and prints:

- pooled scores: of the predictions of all folds taken together, with 95 % intervals
  from resampling subjects, since the images of a person are not independent;
- the mean over the folds, their standard deviation, least and most.

That no subject is in two folds is checked before anything is trained.

Exit status: 0; 1 if a fold failed (the others go on); 2 on wrong usage.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import sys
import zipfile

import numpy as np

from keras_fer.console import one_line, print_error
from keras_fer.evaluation.metrics import RESAMPLES, scores
from keras_fer.files import locked, replacing
from zoo import data, results_schema
from zoo.environment import environment
from zoo.recipe import FOLDS, Recipe
from zoo.train import add_options, train, weights_of, with_options

METRICS = ("accuracy", "macro_f1", "uar")


@dataclasses.dataclass(frozen=True)
class CrossValidation:
    """A cross-validation and where it is kept.

    Attributes:
        recipe: A `Recipe` whose `train` is `"folds"`.
        source: Source of the data; see `zoo.data.open_split`.
        out: Folder of the folds and of the result.
        backbone_weights: See `zoo.train.train`.
        strategy: See `zoo.train.train`.
    """

    recipe: Recipe
    source: str
    out: pathlib.Path
    backbone_weights: str | os.PathLike | None = None
    strategy: str = "one"

    def folder(self, number):
        """Folder of the run of a fold."""
        return self.out / f"fold_{number}"

    def is_done(self, number):
        """Whether a fold has been trained and tested."""
        folder = self.folder(number)
        return all(
            (folder / name).is_file() for name in ("run.json", "predictions.npz")
        )


def check_folds(dataset, source):
    """The subjects of every fold, none of whom is in two.

    Args:
        dataset: Name of a dataset with ten folds.
        source: Source of the data; see `zoo.data.subjects_of`.

    Returns:
        A list of ten sets of bytes.

    Raises:
        FileNotFoundError: The dataset is not prepared.
        ValueError: Two folds share a subject, a fold has none, or the dataset has no
            folds or does not name its subjects.
    """
    folds = [
        data.subjects_of(dataset, source, f"fold_{number}") for number in range(FOLDS)
    ]
    for number, subjects in enumerate(folds):
        if not subjects:
            raise ValueError(
                f"fold_{number} of {dataset} has no images. Check that the whole "
                "dataset was in its folder when it was prepared."
            )
        for other in range(number):
            if shared := folds[other] & subjects:
                raise ValueError(
                    f"fold_{other} and fold_{number} of {dataset} share the subjects "
                    f"{data.names_of(shared)}. Prepare the dataset again: no one may "
                    "be in two folds."
                )
    return folds


def run_fold(whole, number):
    """Trains and tests a fold, or what is left of it.

    Args:
        whole: A `CrossValidation`.
        number: Index of the fold.

    Raises:
        OSError: Another process is training it, or it cannot be written.
        ValueError: Its folder holds a run of another recipe, or the data do not fit.
        FloatingPointError: The loss is not finite.
    """
    import keras

    recipe, folder = whole.recipe.fold(number), whole.folder(number)
    if whole.is_done(number):
        _run_of(whole, number)
        return
    keras.backend.clear_session()  # Otherwise the graphs of all folds stay in memory.
    train(
        recipe,
        whole.source,
        folder,
        whole.backbone_weights,
        # A folder with something else in it is refused.
        resume=(folder / "recipe.json").exists(),
        strategy=whole.strategy,
    )
    _test(recipe, folder, whole.source)


def _test(recipe, folder, source):
    """Writes the predictions on the fold that the recipe reports on."""
    from keras_fer.models.saved import load_saved

    model = load_saved(folder / "model.keras")
    faces = data.open_split(recipe.dataset, source, recipe.test, model.input_size)
    faces = faces[faces.scored]
    probabilities = model.predict(faces.images[:], batch_size=256, verbose=0)
    with replacing(folder / "predictions.npz") as temporary:
        np.savez(
            temporary,
            classes=faces.classes,
            probabilities=probabilities,
            subjects=faces.subjects,
            labels=np.array(faces.labels),
        )


def _run_of(whole, number):
    """What `zoo.train` wrote about a fold, which must be of this recipe."""
    path = whole.folder(number) / "run.json"
    try:
        run = json.loads(path.read_text())
        different = whole.recipe.fold(number).differences(run["recipe"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} is damaged ({one_line(error)}). Move the folder away, and "
            "run the fold again."
        ) from error
    if different:
        raise ValueError(
            f"The run in {str(path.parent)!r} is of another recipe, which differs in "
            f"{', '.join(different)}. Pass the options it was started with, or choose "
            "another --out."
        )
    return run


def _predictions_of(whole, number):
    path = whole.folder(number) / "predictions.npz"
    names = ("classes", "probabilities", "subjects", "labels")
    try:
        with np.load(path) as arrays:
            return {name: arrays[name] for name in names}
    except (zipfile.BadZipFile, EOFError, KeyError, OSError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} is damaged ({one_line(error)}). Delete it, and run "
            f"--fold {number} again."
        ) from error


def summarize(whole):
    """The result of all folds.

    Args:
        whole: A `CrossValidation`, all folds of which are done.

    Returns:
        A dictionary of values for JSON, as in `zoo/schemas/crossvalidation.json`.

    Raises:
        ValueError: A fold is of another recipe or was tested on other subjects than
            the dataset has in it, or its files are damaged.
    """
    expected = check_folds(whole.recipe.dataset, whole.source)
    runs = [_run_of(whole, number) for number in range(FOLDS)]
    parts = [_predictions_of(whole, number) for number in range(FOLDS)]
    labels = tuple(parts[0]["labels"].tolist())
    rows = []
    for number, (run, part) in enumerate(zip(runs, parts, strict=True)):
        subjects = set(part["subjects"].tolist())
        if subjects != expected[number] or tuple(part["labels"].tolist()) != labels:
            raise ValueError(
                f"fold_{number} in {str(whole.out)!r} was tested on other subjects or "
                f"labels than fold_{number} of {whole.recipe.dataset} in "
                f"{str(whole.source)!r} has. Prepare the dataset in the same way on "
                "every machine, and run the fold again."
            )
        values = scores(part["classes"], part["probabilities"], labels)
        rows.append(
            {
                "fold": number,
                "trained_on": run["trained_on"],
                "selected_on": run["selected_on"],
                "n": values["n"],
                "subjects": len(subjects),
                "absent": [
                    label
                    for label, row in values["per_class"].items()
                    if not row["support"]
                ],
                **{metric: values[metric] for metric in METRICS},
            }
        )
    names = ("classes", "probabilities", "subjects")
    classes, probabilities, subjects = (
        np.concatenate([part[name] for part in parts]) for name in names
    )
    assignment = [sorted(name.decode() for name in fold) for fold in expected]
    result = {
        "kind": "crossvalidation",
        "recipe": whole.recipe.name,
        "dataset": whole.recipe.dataset,
        "labels": list(labels),
        "protocol": "ten folds of subjects: eight to train, the next for checkpoint "
        "selection, one to test; one crop a face, no test-time augmentation",
        "subjects": len(set(subjects.tolist())),
        "folds_sha256": hashlib.sha256(json.dumps(assignment).encode()).hexdigest(),
        "folds": rows,
        "pooled": scores(classes, probabilities, labels),
        "by_subject": bootstrap_subjects(
            classes, probabilities.argmax(axis=1), subjects, len(labels)
        ),
        "over_folds": {metric: _spread(rows, metric) for metric in METRICS},
        "environment": environment(),
    }
    results_schema.validate(result, "crossvalidation")
    return result


def _spread(rows, metric):
    values = [row[metric] for row in rows]
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)),
        "min": min(values),
        "max": max(values),
    }


def bootstrap_subjects(classes, predicted, subjects, size, seed=0):
    """95 % intervals from resampling subjects with replacement.

    The images of one person are alike, so intervals from resampling images would be too
    narrow.

    Args:
        classes: int `(N,)`, the true classes.
        predicted: int `(N,)`.
        subjects: `(N,)`, whom each image shows.
        size: Number of classes.
        seed: Seed of the draws.

    Returns:
        A dictionary: `accuracy`, `macro_f1` and `uar`, each `[low, high]` in percent,
        and `resamples`, `seed` and `level`, in percent.
    """
    names, index = np.unique(subjects, return_inverse=True)
    confusion = np.zeros((len(names), size, size))
    np.add.at(confusion, (index, classes, predicted), 1)
    drawn = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES
    )
    drawn = np.tensordot(drawn, confusion, axes=1)
    hits = drawn.diagonal(axis1=1, axis2=2)
    true, guessed = drawn.sum(axis=2), drawn.sum(axis=1)
    # Where a denominator is 0 there are no hits: 0, as in `scores`.
    values = {
        "accuracy": hits.sum(axis=1) / true.sum(axis=1),
        "macro_f1": (2 * hits / np.maximum(true + guessed, 1)).mean(axis=1),
        "uar": (hits / np.maximum(true, 1)).mean(axis=1),
    }
    ends = {
        metric: (100 * np.percentile(each, [2.5, 97.5])).tolist()
        for metric, each in values.items()
    }
    return {**ends, "resamples": RESAMPLES, "seed": seed, "level": 95}


def table(result):
    """The result of `summarize` as text."""
    lines = [
        f"{result['recipe']} on {result['dataset']}, {len(result['folds'])} folds, "
        f"{result['subjects']} subjects, n = {result['pooled']['n']:,}",
        "",
        f"{'fold':>6}{'images':>8}{'subjects':>10}"
        + "".join(f"{name:>12}" for name in ("accuracy", "macro-F1", "UAR")),
    ]
    for row in result["folds"]:
        cells = "".join(f"{row[metric]:>12.2f}" for metric in METRICS)
        lines.append(f"{row['fold']:>6}{row['n']:>8,}{row['subjects']:>10}{cells}")
    for name in ("mean", "std", "min", "max"):
        cells = "".join(
            f"{result['over_folds'][metric][name]:>12.2f}" for metric in METRICS
        )
        lines.append(f"{name:>6}{'':>18}{cells}")
    pooled = "".join(f"{result['pooled'][metric]:>12.2f}" for metric in METRICS)
    lines.append(f"pooled{'':>18}{pooled}")
    ends = (result["by_subject"][metric] for metric in METRICS)
    lines.append(
        "95 % of resampled subjects, pooled: "
        + "  ".join(
            f"{name} {low:.2f} to {high:.2f}"
            for name, (low, high) in zip(
                ("accuracy", "macro-F1", "UAR"), ends, strict=True
            )
        )
    )
    absent = [str(row["fold"]) for row in result["folds"] if row["absent"]]
    if absent:
        lines.append(
            f"fold {', '.join(absent)}: classes without images count as 0 in the "
            "macro-F1 and UAR of the fold, so prefer the pooled scores"
        )
    return "\n".join(lines)


def _parser():
    parser = argparse.ArgumentParser(
        "python -m zoo.crossvalidate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.add_argument(
        "--out", help="folder of the folds and the result (runs/RECIPE_folds)"
    )
    parser.add_argument(
        "--fold",
        type=int,
        action="append",
        metavar="N",
        help="run this fold only; can be repeated (all)",
    )
    return parser


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        recipe = with_options(options)
        for number in options.fold or ():
            recipe.fold(number)
    except ValueError as error:
        parser.error(one_line(error))
    if recipe.train != "folds":
        parser.error(
            f"{options.recipe} has no folds: it trains on {recipe.train!r}. Use "
            "zoo.train, or a recipe for CK+, Oulu-CASIA or JAFFE."
        )
    if options.strategy == "multiworker":
        parser.error(
            "folds are independent of each other: instead of --strategy multiworker, "
            "give each machine its own with --fold"
        )
    whole = CrossValidation(
        recipe,
        options.data,
        pathlib.Path(options.out or f"runs/{options.recipe}_folds"),
        weights_of(options),
        options.strategy,
    )
    try:
        check_folds(recipe.dataset, options.data)
        failed = _run_folds(whole, options.fold)
        missing = [fold for fold in range(FOLDS) if not whole.is_done(fold)]
        if missing:
            print(
                f"{FOLDS - len(missing)} of {FOLDS} folds are done in "
                f"{str(whole.out)!r}; missing: {', '.join(map(str, missing))}"
            )
        else:
            result = summarize(whole)
            with replacing(whole.out / "crossvalidation.json") as partial:
                partial.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
            print(table(result))
    except (ImportError, OSError, ValueError) as error:
        print_error("zoo.crossvalidate", error)
        return 1
    return int(failed)


def _run_folds(whole, folds):
    """Runs folds one after the other; returns whether one failed."""
    failed = False
    for number in range(FOLDS) if folds is None else folds:
        if folds is None and _is_in_use(whole.folder(number)):
            print(f"fold {number}: another process is training it")
            continue
        if not whole.is_done(number):
            print(f"fold {number} in {str(whole.folder(number))!r}", flush=True)
        try:
            run_fold(whole, number)
        except (FloatingPointError, OSError, ValueError) as error:
            print_error("zoo.crossvalidate", f"fold {number}: {one_line(error)}")
            failed = True
    return failed


def _is_in_use(folder):
    if not folder.is_dir():
        return False
    try:
        with locked(folder):
            return False
    except OSError:
        return True


if __name__ == "__main__":
    sys.exit(main())
