import copy
import json

import pytest

from keras_fer import zoo
from keras_fer.zoo.presets import PRESETS
from zoo import results_schema, tables

FILES = sorted(tables.RESULTS.glob("*.public_test.json"))


@pytest.fixture
def result():
    return json.loads(
        (tables.RESULTS / "patt_lite.fer2013.public_test.json").read_text()
    )


def test_every_preset_has_a_result():
    names = [json.loads(file.read_text())["model"] for file in FILES]
    assert names == sorted(PRESETS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_published_is_calibrated_and_has_a_recipe(file):
    """The temperature of a preset is the one that its validation part gave."""
    result = json.loads(file.read_text())
    fitted = result["temperature"]
    assert fitted["stored"] == zoo.info(result["model"]).temperature
    assert fitted["fitted"] == pytest.approx(fitted["stored"], abs=1e-3)
    for part in ("validation", "all"):
        # The ECE is no such promise: it is not what was fitted.
        assert fitted[part]["stored"]["nll"] < fitted[part]["uncalibrated"]["nll"]
    recipes = tables.ROOT / "zoo" / "recipes"
    assert (recipes / f"{result['recipe']}.py").is_file()


@pytest.mark.parametrize(
    "file", sorted(tables.RESULTS.glob("*.json")), ids=lambda file: file.stem
)
def test_every_evaluation_fulfils_the_schema(file):
    result = json.loads(file.read_text())
    if file in FILES:
        assert result["kind"] == "evaluation"
    if isinstance(result, dict) and result.get("kind") == "evaluation":
        results_schema.check(result)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["labels"], [], "labels=.*Expected a list, each a text"),
        (["sha256"], "abc", "sha256='abc'.*64 hexadecimal digits"),
        (["corruption"], "blurred", "corruption='blurred'.*'masked'"),
        (["all", "nll"], float("nan"), "all.nll=nan.*finite"),
        (["all", "uar"], 100.5, "all.uar=100.5.*from 0 to 100"),
        (["all", "n"], True, "all.n=True.*a count"),
        (["all", "intervals", "uar"], [60.0, 50.0], r"intervals.uar=\[60.0.*low, high"),
        (["without_duplicates", "typo"], 1, "keys of without_duplicates"),
        (["all", "accuracy"], 99.0, "all.accuracy=99.0.*Expected 67.34"),
        (["all", "abaw"], 1.0, "all.abaw=1.0.*Expected 64.8"),
        (["all", "n"], 3588, "all.n=3588.*the sum"),
        (["all", "confusion"], [[3589]], "7 rows of 7"),
        (["all", "per_class", "fear", "support"], 1, "supports of all.per_class"),
        (["environment"], "a laptop", "environment='a laptop'.*a dictionary"),
        (["environment", "commit"], "main", "commit='main'.*a git commit"),
        (["recipe"], "", "recipe=''.*None or a text"),
        (["temperature"], {"stored": 1.0}, "keys of temperature"),
    ],
)
def test_a_wrong_value_is_named(result, place, value, message):
    changed = copy.deepcopy(result)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValueError, match=message):
        results_schema.check(changed)


@pytest.mark.parametrize("key", ["kind", "all", "environment"])
def test_a_missing_key_is_named(result, key):
    del result[key]
    with pytest.raises(ValueError, match="keys of result"):
        results_schema.check(result)


def test_all_images_may_be_duplicates(result):
    results_schema.check({**result, "without_duplicates": None})
