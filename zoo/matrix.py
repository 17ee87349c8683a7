"""Evaluates models across datasets and renders a table.

    python -m zoo.matrix MODEL [MODEL ...] --data DIR --on TARGET [--on TARGET ...]

MODEL is what `zoo.evaluate` takes. TARGET is `DATASET:SPLIT`, such as
`ferplus:public_test` or `raf_db:occlusion`; `DATASET:SPLIT@SOURCE` reads it from
another source than --data. `--corruption` adds columns of masked, occluded or corrupted
copies of every target, and can be repeated.

Labels are matched by name. Where they differ, the cell is marked: the images of the
labels that both have are scored, with the probabilities of these made to sum to 1. No
training set need be at hand.

A cell that cannot be had, such as that of a dataset that is not prepared, is reported,
and the others go on. `--out FILE.json` writes the numbers; with a file that exists, its
cells are kept, and only those that are missing are evaluated. `--markdown FILE` writes
the table.

Exit status: 0; 1 if a cell could not be had; 2 on wrong usage.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys

from keras_fer.console import one_line, print_error, without_native_output
from keras_fer.files import replacing
from tfds_builders.corruptions import FAMILIES
from zoo import results_schema
from zoo.environment import environment
from zoo.evaluate import evaluate
from zoo.tables import markdown
from zoo.target import find

METRICS = ("accuracy", "macro_f1", "uar", "ece")


@dataclasses.dataclass(frozen=True)
class Column:
    """What all models are evaluated on.

    Attributes:
        dataset: See `zoo.data.open_split`.
        split: Name of a split.
        source: Source of the data.
        corruption: One of `FAMILIES`, or `None`.
    """

    dataset: str
    split: str
    source: str
    corruption: str | None = None

    @property
    def key(self):
        """What tells a cell of this column from others of the same model."""
        return [self.dataset, self.split, self.corruption]


def column(text, source):
    """A `Column` from `DATASET:SPLIT` or `DATASET:SPLIT@SOURCE`.

    Raises:
        ValueError: A part is missing.
    """
    name, _, own = text.partition("@")
    dataset, _, split = name.partition(":")
    if not (dataset and split and (own or source)):
        raise ValueError(
            f"--on must be DATASET:SPLIT with --data, or DATASET:SPLIT@SOURCE, got "
            f"{text!r}. An example is ferplus:public_test."
        )
    return Column(dataset, split, own or source)


def cell(model, where):
    """The numbers of a model on a `Column`, as values for JSON.

    Raises:
        As `zoo.evaluate.evaluate`.
    """
    result = evaluate(
        model, "default", where.source, where.split, where.dataset, where.corruption
    )
    fresh = result["without_duplicates"]
    everything = result["all"]
    return {
        **{
            key: result[key]
            for key in (
                "model",
                "sha256",
                "dataset",
                "split",
                "corruption",
                "data_sha256",
                "protocol",
                "labels",
            )
        },
        "shared": result.get("shared"),
        "n": everything["n"],
        **{metric: everything[metric] for metric in METRICS},
        "intervals": everything["intervals"],
        "without_duplicates": fresh and {key: fresh[key] for key in ("n", *METRICS)},
        "without_train": "without_train" in result,
        "environment": result["environment"],
    }


def is_of(kept, name, sha256, where):
    """Whether a cell that was kept is of this model, as it is now, and column."""
    found = [kept["dataset"], kept["split"], kept["corruption"]]
    return (kept["model"], kept["sha256"], found) == (name, sha256, where.key)


def table(cells, metrics=("accuracy", "uar")):
    """A Markdown table of cells, and notes on those with other labels.

    Args:
        cells: Values of `cell`.
        metrics: What a cell of the table shows, in percent.
    """
    models = list(dict.fromkeys(each["model"] for each in cells))
    keys = [(each["dataset"], each["split"], each["corruption"]) for each in cells]
    columns = list(dict.fromkeys(keys))
    found = {(each["model"], *key): each for each, key in zip(cells, keys, strict=True)}
    notes, rows = {}, []
    for model in models:
        row = [f"`{model}`"]
        for key in columns:
            each = found.get((model, *key))
            if each is None:
                row.append("-")
                continue
            text = " / ".join(f"{each[metric]:.1f}" for metric in metrics)
            if each["shared"] is not None:
                note = _note(each)
                text += f" [{notes.setdefault(note, len(notes) + 1)}]"
            row.append(text)
        rows.append(row)
    header = ["model", *(_title(key) for key in columns)]
    lines = [markdown(header, rows), ""]
    names = {"accuracy": "accuracy", "uar": "mean recall", "macro_f1": "macro-F1"}
    shown = " / ".join(names.get(metric, metric) for metric in metrics)
    lines.append(f"In percent: {shown}.")
    lines += [f"[{number}] {note}" for note, number in notes.items()]
    return "\n".join(lines)


def _title(key):
    dataset, split, corruption = key
    return f"{dataset} {split}" + (f", {corruption}" if corruption else "")


def _note(each):
    shared = each["shared"]
    text = f"Scored on the {len(each['labels'])} shared labels, renormalized."
    if shared["model_only"]:
        text += f" Without {', '.join(shared['model_only'])} of the model."
    if shared["dataset_only"]:
        text += (
            f" Without the {shared['excluded']:,} images of "
            f"{', '.join(shared['dataset_only'])}."
        )
    return text


def _read(path):
    """The cells of an earlier result."""
    if path is None or not path.is_file():
        return []
    try:
        result = json.loads(path.read_text())
        results_schema.validate(result, "matrix")
    except ValueError as error:
        raise ValueError(
            f"--out {str(path)!r} exists and is no result of zoo.matrix "
            f"({one_line(error)}). Choose another file."
        ) from error
    return result["cells"]


def _parser():
    parser = argparse.ArgumentParser(
        "python -m zoo.matrix",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", metavar="MODEL", nargs="+")
    parser.add_argument(
        "--on",
        required=True,
        action="append",
        metavar="TARGET",
        help="DATASET:SPLIT or DATASET:SPLIT@SOURCE; can be repeated",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="source of the targets that name none"
    )
    parser.add_argument(
        "--corruption",
        choices=FAMILIES,
        action="append",
        default=[],
        help="a column of such copies of every target; can be repeated",
    )
    parser.add_argument(
        "--out", type=pathlib.Path, metavar="FILE", help="write the numbers as JSON"
    )
    parser.add_argument(
        "--markdown", type=pathlib.Path, metavar="FILE", help="write the table"
    )
    return parser


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        columns = [
            dataclasses.replace(column(text, options.data), corruption=family)
            for text in options.on
            for family in (None, *options.corruption)
        ]
        # Before the work: a model that does not exist ends the command.
        targets = [find(model, dataset=columns[0].dataset) for model in options.models]
    except ValueError as error:
        parser.error(one_line(error))
    except OSError as error:
        print_error("zoo.matrix", error)
        return 1
    try:
        kept = _read(options.out)
        with without_native_output():
            import keras  # noqa: F401
        cells, failed = [], 0
        for model, target in zip(options.models, targets, strict=True):
            for where in columns:
                same = [
                    each
                    for each in kept
                    if is_of(each, target.name, target.sha256, where)
                ]
                if not same:
                    name = f"{target.name} on {_title(where.key)}"
                    try:
                        same = [cell(model, where)]
                        print(f"{name}: {same[0]['accuracy']:.2f} %", file=sys.stderr)
                    except (ImportError, OSError, ValueError) as error:
                        print_error("zoo.matrix", f"{name}: {one_line(error)}")
                        failed += 1
                        continue
                cells += same[:1]
                _write(options.out, cells, kept)
        if not cells:
            raise ValueError("No cell could be evaluated; nothing is written.")
        text = table(cells)
        print(text)
        if options.markdown:
            with replacing(options.markdown) as partial:
                partial.write_text(text + "\n")
    except (ImportError, MemoryError, OSError, RuntimeError, ValueError) as error:
        print_error("zoo.matrix", error)
        return 1
    return int(bool(failed))


def _write(path, cells, kept):
    """Writes the cells, and those of an earlier result that are not among them."""
    if path is None:
        return
    others = [
        each for each in kept if not any(_key(each) == _key(other) for other in cells)
    ]
    result = {
        "kind": "matrix",
        "cells": cells + others,
        "environment": environment(),
    }
    with replacing(path) as partial:
        partial.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")


def _key(each):
    return [each[name] for name in ("model", "dataset", "split", "corruption")]


if __name__ == "__main__":
    sys.exit(main())
