import json
import pathlib

import keras
import numpy as np
import pytest

from benchmarks import inference, record
from keras_fer import zoo
from keras_fer.zoo.presets import PRESETS
from tests.benchmarks.test_parity import data  # noqa: F401
from zoo import tables

NAME = "patt_lite.ferplus"


def bundled(spinning=False):
    """The ONNX file of a preset as a variant: nothing is exported."""
    path = zoo.loading.bundled(PRESETS[NAME]).with_name(PRESETS[NAME].onnx)
    return inference.Variant(NAME, "onnx", "float16", spinning, str(path))


def test_faces_are_prepared_as_each_model_takes_them():
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), dtype=np.uint8)
    prepared = inference.prepare(NAME, faces)
    assert prepared.shape == (3, 96, 96, 3) and prepared.dtype == np.uint8
    prepared = inference.prepare(inference.PEER, faces)
    assert prepared.shape == (3, 64, 64, 1) and prepared.dtype == np.float32
    assert -1 <= prepared.min() < -0.9 and 0.9 < prepared.max() <= 1


def test_accuracy_is_by_the_name_of_the_label():
    """The peer has the labels in FER2013's order, the presets in ours."""
    faces = np.zeros((2, 48, 48, 1), np.uint8)
    scored = {"fer2013": ([0, 1], np.array(["happiness", "neutral"]))}
    names = ["happiness", "happiness"]
    for model in (inference.PEER, "patt_lite.fer2013"):
        variant = inference.Variant(model, "onnx", "float32", False, None)
        rows = np.eye(7)[[variant.labels.index(name) for name in names]]
        found = inference.accuracy(variant, lambda _, rows=rows: rows, scored, faces)
        assert found == {"fer2013": 50.0}


def test_memory_is_that_of_another_process():
    faces = {NAME: np.zeros((32, 96, 96, 3), np.uint8)}
    (peak,) = inference.peak_memories([bundled()], faces, 1).values()
    assert 60 < peak < 400


@pytest.mark.medium
def test_times_and_rows(tmp_path):
    variants = [bundled(), bundled(spinning=True)]
    predictors = {variant: inference.start(variant, 1) for variant in variants}
    faces = {NAME: np.zeros((8, 96, 96, 3), np.uint8)}
    macs = {NAME: PRESETS[NAME].macs}
    times, shares, rates = inference.measure(predictors, faces, (1, 8), 3, 1, macs)
    assert len(rates) == 3 and len(times) == 4
    assert np.median(times[variants[0], 8]) > np.median(times[variants[0], 1])
    assert all(0 < share < 1.5 for values in shares.values() for share in values)
    accuracies = {v: {"fer2013": 1.0, "ferplus": 2.0} for v in variants}
    rows = inference.rows_of(variants, times, shares, (1, 8), accuracies, {})
    assert [row["spinning"] for row in rows] == [False, True]
    assert rows[0]["bytes"] == pathlib.Path(variants[0].path).stat().st_size
    result = {"rows": rows, "batches": [1, 8]}
    inference.plot(result, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


@pytest.mark.medium
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports go through TensorFlow"
)
def test_the_result_follows_the_schema(data, tmp_path):  # noqa: F811
    path = tmp_path / "inference.json"
    arguments = ["--data", str(data), "--models", NAME, "--runtimes", "onnx"]
    arguments += ["--rounds", "3", "--batches", "1", "32", "--cold-starts", "3"]
    arguments += ["--threads", "1", "--no-memory", "--out", str(path)]
    inference.main(arguments)
    result = json.loads(path.read_text())
    record.check(result)
    assert result["threads"] == 1 and len(result["rows"]) == 6
    table = tables.inference(path)
    assert table.count(NAME) == 3 and "float16" in table
