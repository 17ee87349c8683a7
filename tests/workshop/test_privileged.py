import json
import sys

import numpy as np
import pytest

from zoo import privileged


@pytest.fixture
def folder(tmp_path, images):
    rng = np.random.default_rng(0)
    for split in ("train", "public_test"):
        label = (np.arange(40) % 7).astype("uint8")
        np.savez(tmp_path / f"{split}.npz", images=images[..., 0], label=label)
        np.savez(
            tmp_path / f"{split}_landmarks.npz",
            landmarks=rng.random((40, 68, 2)).astype("float16"),
            valid=np.arange(40) != 3,
        )
    return tmp_path


def test_faces_without_landmarks_have_empty_heatmaps(folder):
    rows = np.array([5, 3, 7])
    maps = privileged.heatmaps(folder, "train", rows, 12)
    assert maps.shape == (3, 12, 12) and maps.dtype == "float16"
    assert maps.max(axis=(1, 2)).tolist() == [1, 0, 1]


@pytest.mark.slow
def test_both_losses_are_measured(folder, monkeypatch):
    out = folder / "privileged.json"
    arguments = ["--data", str(folder), "--epochs", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["privileged", *arguments])
    privileged.main()
    entropy, attribution = json.loads(out.read_text())["rows"]
    assert (entropy["loss"], attribution["loss"]) == ("cross-entropy", "PAL")
    assert entropy["faces"] == attribution["faces"] == 39
    assert 0 < entropy["inside"] < 100 and entropy["n"] == 40
