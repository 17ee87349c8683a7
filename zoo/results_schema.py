"""What a result of `zoo.evaluate` holds, in `zoo/results/*.json`.

`check` knows the keys, the kinds of their values and how they hang together, so that
a result edited by hand, or written by an older version, is found.
"""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

PARTS = ("all", "without_duplicates")
RATES = ("accuracy", "macro_f1", "uar", "abaw", "ece")
AVERAGES = ("accuracy", "macro_f1", "uar")


class Kind(NamedTuple):
    """A kind of value: in words, and a test for it."""

    expected: str
    test: Callable


def _one_of(*values):
    return Kind(f"one of {values}", lambda value: value in values)


def _list_of(kind):
    return Kind(
        f"a list, each {kind.expected}",
        lambda value: isinstance(value, list) and value and all(map(kind.test, value)),
    )


def _or_none(kind):
    return Kind(
        f"None or {kind.expected}", lambda value: value is None or kind.test(value)
    )


_TEXT = Kind("a text", lambda value: isinstance(value, str) and value)
_SHA256 = Kind(
    "64 hexadecimal digits",
    lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value),
)
_COMMIT = Kind(
    "a git commit",
    lambda value: (
        isinstance(value, str) and re.fullmatch("[0-9a-f]{40}(-dirty)?", value)
    ),
)
_COUNT = Kind("a count", lambda value: type(value) is int and value >= 0)
_NUMBER = Kind(  # JSON as Python reads it knows NaN.
    "a finite number of 0 or more",
    lambda value: type(value) in (int, float) and 0 <= value < math.inf,
)
_PERCENT = Kind(
    "a number from 0 to 100",
    lambda value: _NUMBER.test(value) and value <= 100 + 1e-9,
)
_INTERVAL = Kind(
    "[low, high] in percent",
    lambda value: (
        _list_of(_PERCENT).test(value) and len(value) == 2 and value[0] <= value[1]
    ),
)
_DICTIONARY = Kind("a dictionary", lambda value: isinstance(value, dict))

_CALIBRATION = {
    "n": _COUNT,
    **dict.fromkeys(
        ("uncalibrated", "stored", "fitted"), {"nll": _NUMBER, "ece": _PERCENT}
    ),
}
_SCORES = {
    "n": _COUNT,
    **dict.fromkeys(RATES, _PERCENT),
    "nll": _NUMBER,
    "brier": _NUMBER,
    "intervals": {
        **dict.fromkeys(AVERAGES, _INTERVAL),
        "resamples": _COUNT,
        "seed": _COUNT,
        "level": _PERCENT,
    },
    "per_class": {
        "<label>": {
            "precision": _PERCENT,
            "recall": _PERCENT,
            "f1": _PERCENT,
            "support": _COUNT,
        }
    },
    "confusion": _list_of(_list_of(_COUNT)),
    "reliability": {
        "count": _list_of(_COUNT),
        "confidence": _list_of(_or_none(_PERCENT)),
        "accuracy": _list_of(_or_none(_PERCENT)),
    },
}

# A key that ends in "?" may be absent, and "<...>" stands for any number of keys.
EVALUATION = {
    "kind": _one_of("evaluation"),
    "model": _TEXT,
    "recipe": _or_none(_TEXT),
    "sha256": _or_none(_SHA256),
    "dataset": _TEXT,
    "split": _TEXT,
    "corruption": _one_of(None, "masked", "occluded", "corrupted"),
    "data_sha256": _SHA256,
    "protocol": _TEXT,
    "labels": _list_of(_TEXT),
    "all": _SCORES,
    "without_duplicates": _or_none(_DICTIONARY),
    "batch_independence": _NUMBER,
    "by_kind?": {"<kind>": {"n": _COUNT, "accuracy": _PERCENT}},
    "temperature?": {
        "stored": _NUMBER,
        "fitted": _NUMBER,
        "validation": _CALIBRATION,
        "all": _CALIBRATION,
    },
    "seconds": _NUMBER,
    "environment": {
        "python": _TEXT,
        "backend": _TEXT,
        "versions": {"<package>": _TEXT},
        "machine": _TEXT,
        "processors": _COUNT,
        "commit": _or_none(_COMMIT),
    },
}


def check(result):
    """Raises a `ValueError` where a result is not as an evaluation's should be.

    Args:
        result: What `zoo.evaluate.evaluate` returns, or `json.loads` of its file.
    """
    _match(result, EVALUATION, "")
    for part in PARTS:
        if result[part] is not None:
            _match(result[part], _SCORES, part)
            _consistent(result[part], result["labels"], part)


def _fail(place, received, expected):
    raise ValueError(
        f"Not a result of an evaluation. Received: {place}={received!r:.200}. Expected "
        f"{expected}. Write it again with `python -m zoo.evaluate MODEL --out FILE`."
    )


def _match(value, schema, place):
    if isinstance(schema, Kind):
        if not schema.test(value):
            _fail(place, value, schema.expected)
        return
    if not isinstance(value, dict):
        _fail(place or "result", value, "a dictionary")
    if any(key.startswith("<") for key in schema):
        (each,) = schema.values()
        schema = dict.fromkeys(value, each)
    known = {key.removesuffix("?") for key in schema}
    needed = {key for key in schema if not key.endswith("?")}
    if not needed <= set(value) <= known:
        _fail(f"keys of {place or 'result'}", sorted(value), f"{sorted(schema)}")
    for key, each in schema.items():
        key = key.removesuffix("?")
        if key in value:
            _match(value[key], each, f"{place}.{key}".strip("."))


def _consistent(values, labels, place):
    """What follows from the confusion matrix does follow from it."""
    confusion, n = values["confusion"], values["n"]
    size = len(labels)
    if [len(row) for row in confusion] != [size] * size:
        _fail(f"{place}.confusion", confusion, f"{size} rows of {size}")
    support = {label: sum(row) for label, row in zip(labels, confusion, strict=True)}
    received = {label: row["support"] for label, row in values["per_class"].items()}
    if received != support:
        _fail(f"supports of {place}.per_class", received, f"{support}")
    if n != sum(support.values()) or n != sum(values["reliability"]["count"]):
        _fail(f"{place}.n", n, "the sum of `confusion` and that of the bins")
    right = sum(confusion[i][i] for i in range(size))
    if not math.isclose(values["accuracy"], 100 * right / n):
        _fail(f"{place}.accuracy", values["accuracy"], f"{100 * right / n}")
    abaw = 0.67 * values["macro_f1"] + 0.33 * values["accuracy"]
    if not math.isclose(values["abaw"], abaw):
        _fail(f"{place}.abaw", values["abaw"], f"{abaw}")
    if len({len(bins) for bins in values["reliability"].values()}) != 1:
        _fail(f"{place}.reliability", values["reliability"], "lists of one length")
