"""What results and presets hold: `zoo/schemas/*.json`, and how values hang together.

A result that was edited by hand, or written by an older version, is found.
"""

import functools
import json
import math
import pathlib

import jsonschema
import referencing

FOLDER = pathlib.Path(__file__).with_name("schemas")
PARTS = ("all", "without_duplicates")


def validate(value, schema):
    """Raises a `ValueError` unless a value is as its schema says.

    Args:
        value: As from `json.loads`.
        schema: Name of a file in `zoo/schemas/`, such as `"evaluation"`.
    """
    error = jsonschema.exceptions.best_match(_validator(schema).iter_errors(value))
    if error is not None:
        raise _error(schema, error.json_path, error.message)


@functools.cache
def _validator(schema):
    text = (FOLDER / f"{schema}.json").read_text("utf-8")
    base = jsonschema.Draft202012Validator
    # JSON as Python reads it knows NaN and infinity, which pass every bound.
    checker = base.TYPE_CHECKER.redefine("number", _is_finite)
    cls = jsonschema.validators.extend(base, type_checker=checker)
    return cls(json.loads(text), registry=referencing.Registry(retrieve=_retrieve))


def _retrieve(name):
    """A schema that another one refers to by the name of its file."""
    return referencing.Resource.from_contents(json.loads((FOLDER / name).read_text()))


def _is_finite(checker, value):
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _error(schema, place, problem):
    return ValueError(f"The {schema} is invalid at {place}: {problem:.300}")


def check(result):
    """Raises a `ValueError` where a result is not as an evaluation's should be.

    Args:
        result: What `zoo.evaluate.evaluate` returns, or `json.loads` of its file.
    """
    validate(result, "evaluation")
    for part in PARTS:
        if result[part] is not None:
            _check_scores(result[part], result["labels"], part)
    if "balanced" in result:
        _check_scores(result["balanced"]["all"], result["labels"], "balanced.all")


def _check_scores(values, labels, part):
    """What follows from the confusion matrix does follow from it."""

    def expect(condition, place, problem):
        if not condition:
            raise _error("evaluation", f"$.{part}.{place}", problem)

    confusion, n = values["confusion"], values["n"]
    size = len(labels)
    square = [len(row) for row in confusion] == [size] * size
    expect(square, "confusion", f"it must have {size} rows of {size}")
    support = {label: sum(row) for label, row in zip(labels, confusion, strict=True)}
    found = {label: row["support"] for label, row in values["per_class"].items()}
    expect(
        found == support,
        "per_class",
        f"the supports are {found}, but the rows of the confusion matrix {support}",
    )
    for name, total in (
        ("confusion", sum(support.values())),
        ("reliability.count", sum(values["reliability"]["count"])),
    ):
        expect(n == total, "n", f"it is {n}, but {name} sums to {total}")
    accuracy = 100 * sum(confusion[i][i] for i in range(size)) / n
    abaw = 0.67 * values["macro_f1"] + 0.33 * values["accuracy"]
    for name, value in (("accuracy", accuracy), ("abaw", abaw)):
        expect(
            math.isclose(values[name], value),
            name,
            f"it is {values[name]}, but must be {value}",
        )
    for name in ("accuracy", "macro_f1", "uar"):
        low, high = values["intervals"][name]
        expect(low <= high, f"intervals.{name}", f"{low} is above {high}")
    lengths = {len(bins) for bins in values["reliability"].values()}
    expect(len(lengths) == 1, "reliability", "its lists differ in length")
