import json

import keras
import numpy as np
import pytest

from benchmarks import exports, parity, record

N = 24


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of noise as `zoo.data` describes it."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    votes = np.zeros((N, 10), "int16")
    votes[np.arange(N), np.arange(N) % 8] = 10
    for split in ("train", "public_test"):
        coarse = rng.integers(0, 256, (N, 6, 6), dtype=np.uint8)
        images = coarse.repeat(8, axis=1).repeat(8, axis=2)
        label = np.arange(N, dtype="uint8") % 7
        np.savez(folder / f"{split}.npz", images=images, label=label, ferplus=votes)
    return folder


def test_the_golden_batch():
    assert parity.golden_batch((31, 77)).shape == (4, 31, 77, 3)


def test_a_model_agrees_with_itself():
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)

    def predict(images):
        share = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([share, 1 - share], axis=1)

    reference = {
        f"{height}x{width}": predict(parity.golden_batch((height, width)))
        for height, width in parity.SIZES
    }
    reference["faces"] = predict(images)
    classes = predict(images).argmax(axis=1)
    row = parity.compare(predict, reference, images, classes)
    assert set(row["difference"].values()) == {0.0}
    assert (row["accuracy"], row["agreement"]) == (100, 100)
    assert row["batch_independence"] == 0
    # The opposite label, and a batch that matters.
    row = parity.compare(
        lambda images: 1 - predict(images) + (len(images) == 1) * 0.5,
        reference,
        images,
        classes,
    )
    assert (row["accuracy"], row["agreement"]) == (0, 0)
    assert row["batch_independence"] == 0.5
    named = {"format": "onnx", "precision": "float32"}
    found = parity.problems({"patt_lite": {"rows": [{**named, **row}]}})
    assert [line.split()[3] for line in found] == ["differs", "changes"]


@pytest.mark.medium
@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports go through TensorFlow"
)
def test_the_result_follows_the_schema(data, tmp_path):
    path = tmp_path / "parity.json"
    arguments = ["--data", str(data), "--models", "patt_lite.ferplus"]
    arguments += ["--formats", "onnx", "--out", str(path)]
    assert parity.main(arguments) == 0
    result = json.loads(path.read_text())
    record.check(result)
    rows = result["models"]["patt_lite.ferplus"]["rows"]
    assert [row["precision"] for row in rows] == [*exports.FORMATS["onnx"]]
    assert rows[0]["agreement"] == 100 and rows[2]["bytes"] < rows[1]["bytes"]
