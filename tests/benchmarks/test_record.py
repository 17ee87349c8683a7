import copy
import json
import os

import jsonschema
import pytest

from benchmarks import record

FILES = sorted(record.RESULTS.glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_results_follow_the_schema(file):
    result = json.loads(file.read_text())
    record.check(result)
    assert file.name == f"{result['benchmark']}.json"
    assert file.parents[1].joinpath(f"{result['benchmark']}.py").is_file()


def spreads(value):
    """All medians with their minimum and maximum."""
    if isinstance(value, dict) and "median" in value:
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from spreads(each)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_medians_lie_within_their_spread(file):
    for each in spreads(json.loads(file.read_text())):
        assert each["min"] <= each["median"] <= each["max"]


def test_every_benchmark_has_a_result_and_a_row_in_the_readme():
    readme = record.RESULTS.with_name("README.md").read_text()
    for file in FILES:
        assert f"`python -m benchmarks.{file.stem}" in readme


def test_spread_by_hand():
    expected = {"median": 2.5, "min": 1.0, "max": 9.13}
    assert record.spread([9.1288, 1, 2, 3], 2) == expected


def result():
    return json.loads((record.RESULTS / "training.json").read_text())


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result.pop("environment"),
        lambda result: result.pop("benchmark"),
        lambda result: result.update(benchmark="crop_margin"),
        lambda result: result.update(remark="fast"),
        lambda result: result["environment"].update(commit="main"),
        lambda result: result["environment"]["versions"].pop("keras"),
        lambda result: result["input"]["unchanged"].pop("images_per_second"),
        lambda result: next(iter(result["models"].values())).update(images=0),
        lambda result: next(iter(result["models"].values())).pop(
            "zoo_train_to_bare_fit"
        ),
    ],
)
def test_other_results_are_refused(change):
    changed = copy.deepcopy(result())
    change(changed)
    with pytest.raises(jsonschema.ValidationError):
        record.check(changed)


def test_writing_adds_load_and_environment(tmp_path):
    own = result()
    for key in ("benchmark", "environment", "load_average"):
        del own[key]
    record.write(tmp_path / "training.json", "training", own)
    written = json.loads((tmp_path / "training.json").read_text())
    assert written["environment"]["processors"] == os.cpu_count()
    assert written["models"] == own["models"]
    with pytest.raises(jsonschema.ValidationError):
        record.write(tmp_path / "other.json", "dataset_reading", own)
    assert not (tmp_path / "other.json").exists()
