import json
import sys

import numpy as np
import pytest

from keras_fer import training
from zoo import data, privileged, trainer


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
    faces = data.open_split("fer2013", folder, "train", landmarks=True)
    maps = trainer.heatmaps(faces[np.array([5, 3, 7])].landmarks, 12)
    assert maps.shape == (3, 12, 12)
    assert maps.max(axis=(1, 2)).tolist() == [1, 0, 1]
    # Of the 68 landmarks, those of the jaw do not count.
    inner = training.landmark_heatmap(faces.landmarks[5:6, 17:], 12)
    np.testing.assert_allclose(maps[:1], inner, atol=1e-6)


@pytest.mark.slow
def test_both_losses_are_measured(folder, monkeypatch, capsys):
    out, runs = folder / "privileged.json", folder / "runs"
    arguments = ["--data", folder, "--runs", runs, "--epochs", 1, "--out", out]
    monkeypatch.setattr(sys, "argv", ["privileged", *map(str, arguments)])
    assert privileged.main() == 0
    result = json.loads(out.read_text())
    entropy, attribution = result["rows"]
    assert (entropy["loss"], attribution["loss"]) == ("cross-entropy", "PAL")
    assert entropy["faces"] == attribution["faces"] == 39
    assert 0 < entropy["inside"] < 100 and entropy["n"] == 40
    held = data.hold_out(data.fer2013(folder, "train"))[1]
    assert result["trained_on"] == 40 - len(held) < 40
    # Trained already: the same rows again, at once.
    assert "== stage" in capsys.readouterr().out
    assert privileged.main() == 0
    assert "== stage" not in capsys.readouterr().out
    assert json.loads(out.read_text())["rows"] == result["rows"]
