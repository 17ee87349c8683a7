import copy
import json
import math

import pytest

from keras_fer.zoo.presets import read
from zoo import results_schema, tables
from zoo.shelf import ROOT, Shelf

PRESETS = read()
EVALUATIONS = sorted(tables.RESULTS.glob("*/public_test*.json"))


@pytest.fixture
def result():
    return Shelf().evaluations("patt_lite.fer2013")[None]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_calibrated_and_has_a_recipe(name):
    """The temperature of a preset is the one that its validation part gave."""
    result = Shelf().evaluations(name)[None]
    fitted = result["temperature"]
    assert fitted["stored"] == PRESETS[name]["temperature"]
    assert fitted["fitted"] == pytest.approx(fitted["stored"], abs=1e-3)
    for part in ("validation", "all"):
        # The ECE is no such promise: it is not what was fitted.
        assert fitted[part]["stored"]["nll"] < fitted[part]["uncalibrated"]["nll"]
    # Fitted on what the checkpoint was selected on.
    assert fitted["validation"]["n"] == PRESETS[name]["selection"]["n"]
    recipe = PRESETS[name]["recipe"]
    assert result["recipe"] == recipe
    assert (ROOT / "zoo" / "recipes" / f"{recipe}.py").is_file()


@pytest.mark.parametrize("file", EVALUATIONS, ids=lambda file: str(file)[-60:])
def test_every_evaluation_fulfils_the_schema(file):
    results_schema.check(json.loads(file.read_text()))


def test_there_are_four_evaluations_of_every_preset():
    assert len(EVALUATIONS) == 4 * len(PRESETS)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["labels"], [], r"\$.labels: .*should be non-empty"),
        (["sha256"], "abc", r"\$.sha256: 'abc'"),
        (["corruption"], "blurred", r"\$.corruption: 'blurred' is not one of"),
        (["all", "nll"], math.nan, r"\$.all.nll: nan is not of type 'number'"),
        (["all", "nll"], math.inf, r"\$.all.nll: inf is not of type 'number'"),
        (["all", "uar"], 100.5, r"\$.all.uar: 100.5 is greater than the maximum"),
        (["all", "n"], True, r"\$.all.n: True is not of type 'integer'"),
        (["all", "intervals", "uar"], [60.0, 50.0], "60.0 is above 50.0"),
        (["without_duplicates", "typo"], 1, "'typo' was unexpected"),
        (["all", "accuracy"], 99.0, r"\$.all.accuracy: it is 99.0, but must be 67.34"),
        (["all", "abaw"], 1.0, r"\$.all.abaw: it is 1.0, but must be 64.8"),
        (["all", "n"], 3588, r"\$.all.n: it is 3588, but confusion sums to 3589"),
        (["all", "confusion"], [[3589]], "7 rows of 7"),
        (["all", "per_class", "fear", "support"], 1, "the supports are .*'fear': 1"),
        (["environment"], "a laptop", r"\$.environment: 'a laptop' is not of type"),
        (["environment", "commit"], "main", r"\$.environment.commit: 'main'"),
        (["recipe"], "", r"\$.recipe: ''"),
        (["temperature"], {"stored": 1.0}, "is a required property"),
    ],
)
def test_a_wrong_value_is_named(result, place, value, message):
    changed = copy.deepcopy(result)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValueError, match=f"The evaluation is invalid at .*{message}"):
        results_schema.check(changed)


@pytest.mark.parametrize("key", ["kind", "all", "environment"])
def test_a_missing_key_is_named(result, key):
    del result[key]
    with pytest.raises(ValueError, match=f"'{key}' is a required property"):
        results_schema.check(result)


def test_all_images_may_be_duplicates(result):
    results_schema.check({**result, "without_duplicates": None})
