import json

import numpy as np
import pytest

from benchmarks import record, saliency
from keras_fer.saliency import METHODS


def test_controls_know_nothing_of_the_image():
    for kind in saliency.CONTROLS:
        maps = saliency.control(kind, 3, 48, seed=0)
        assert maps.shape == (3, 48, 48) and np.isfinite(maps).all()
    middle = saliency.control("center", 1, 48, 0)[0]
    np.testing.assert_allclose(middle, middle[::-1].T)
    assert middle[23, 23] > 0.9 > 0.1 > middle[0, 0]


def test_the_best_is_best_on_average():
    def rows(**differences):
        return [{"method": m, "difference": d} for m, d in differences.items()]

    models = {
        "a": rows(center=0.9, hires_cam=0.3, smooth_grad=0.1, attention=0.8),
        "b": rows(center=0.9, hires_cam=0.2, smooth_grad=0.5),
    }
    assert saliency.best_of(models) == "smooth_grad"


@pytest.mark.medium
def test_the_result_follows_the_schema(tmp_path):
    random = np.random.default_rng(0)
    votes = np.zeros((120, 10), "int16")
    votes[np.arange(120), np.arange(120) % 8] = 10
    images = random.integers(0, 256, (120, 6, 6), dtype=np.uint8)
    images = images.repeat(8, axis=1).repeat(8, axis=2)
    label = np.arange(120, dtype="uint8") % 7
    np.savez(tmp_path / "train.npz", images=images, label=label, ferplus=votes)
    out = tmp_path / "saliency.json"
    arguments = ["--data", str(tmp_path), "--models", "patt_lite.ferplus", "--n", "3"]
    saliency.main([*arguments, "--steps", "2", "--out", str(out)])
    result = json.loads(out.read_text())
    record.check(result)
    rows = {row["method"]: row for row in result["models"]["patt_lite.ferplus"]}
    assert [*rows] == [*saliency.CONTROLS, *METHODS]
    for row in rows.values():
        difference = row["insertion"] - row["deletion"]
        assert row["difference"] == pytest.approx(difference, abs=2e-4)
