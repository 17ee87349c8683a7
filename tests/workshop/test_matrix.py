import json
import re

import numpy as np
import pytest
import tensorflow_datasets as tfds

import keras_fer.datasets  # noqa: F401
from keras_fer import models
from keras_fer.labels import LABELS
from zoo import evaluate, matrix, results_schema
from zoo.tables import ROOT

MODELS = ("patt_lite.fer2013", "patt_lite.ferplus")


@pytest.fixture
def folder(tmp_path, images):
    """A test split with labels and votes, and no training split."""
    classes = np.arange(40) % 8
    np.savez(
        tmp_path / "public_test",
        images=images[..., 0],
        label=(np.arange(40) % 7).astype("uint8"),
        ferplus=10 * np.eye(10, dtype=int)[classes],
    )
    return tmp_path


@pytest.mark.medium
def test_models_by_datasets(folder, capsys, monkeypatch):
    out = folder / "result.json"
    words = [*MODELS, "--data", folder, "--out", out, "--markdown", folder / "table.md"]
    words += ["--on", "ferplus:public_test", "--corruption", "masked"]
    # One dataset cannot be had; the other can.
    raf_db = ["--on", f"raf_db:test@npz:{folder}"]
    assert matrix.main([*map(str, words), *raf_db]) == 1
    printed, errors = capsys.readouterr()
    assert errors.count("dataset must be one of fer2013, ferplus for a folder") == 4
    result = json.loads(out.read_text())
    results_schema.validate(result, "matrix")
    assert len(result["cells"]) == 4
    single = evaluate.evaluate(MODELS[0], "default", folder, None, "ferplus", "masked")
    (cell,) = (
        each
        for each in result["cells"]
        if (each["model"], each["corruption"]) == (MODELS[0], "masked")
    )
    assert cell["accuracy"] == single["all"]["accuracy"]
    assert cell["shared"] == single["shared"]
    assert cell["without_train"] and cell["n"] == single["all"]["n"] == 35
    assert (folder / "table.md").read_text() == printed
    rows = [line for line in printed.splitlines() if line.startswith("| `")]
    assert [row.count("[1]") for row in rows] == [2, 0]
    note = "[1] Scored on the 7 shared labels, renormalized. Without the 5 images of "
    assert f"{note}contempt." in printed

    # What is known is not evaluated again.
    monkeypatch.setattr(matrix, "cell", None)
    assert matrix.main([str(word) for word in words]) == 0
    assert capsys.readouterr().out == printed
    assert json.loads(out.read_text())["cells"] == result["cells"]


def test_usage_and_files_that_are_no_result(folder, capsys):
    for words, message in (
        ("patt_lite --on fer2013", "--on must be DATASET:SPLIT"),
        ("patt_lite --on fer2013:test", "--on must be DATASET:SPLIT with --data"),
        ("patt_lit --data x --on fer2013:test", "Did you mean patt_lite"),
    ):
        with pytest.raises(SystemExit, match="2"):
            matrix.main(words.split())
        assert message in capsys.readouterr().err
    out = folder / "mine.json"
    out.write_text('{"kind": "letter"}')
    words = f"patt_lite --data {folder} --on fer2013:public_test --out {out}"
    assert matrix.main(words.split()) == 1
    assert "is no result of zoo.matrix" in capsys.readouterr().err
    assert out.read_text() == '{"kind": "letter"}'


def test_committed_results_are_whole():
    files = sorted((ROOT / "zoo" / "results").glob("matrix*.json"))
    assert files
    for file in files:
        result = json.loads(file.read_text())
        results_schema.validate(result, "matrix")
        text = matrix.table(result["cells"]) + "\n"
        assert text == file.with_suffix(".md").read_text()
        assert not re.search("-dirty", file.read_text())


@pytest.mark.medium
def test_subsets_and_occluded_faces_are_targets(tmp_path, capsys):
    """A model that nobody knows, on sets of which no training split is there."""
    for dataset in ("raf_db", "fed_ro"):
        tfds.builder(
            dataset, data_dir=tmp_path, file_format="array_record"
        ).download_and_prepare(
            download_config=tfds.download.DownloadConfig(
                manual_dir=ROOT / "tfds_builders" / dataset / "dummy_data"
            )
        )
    model = models.PAttLite(labels=LABELS, input_size=64, backbone_weights=None)
    model.save(tmp_path / "own.keras")
    out = tmp_path / "result.json"
    words = [tmp_path / "own.keras", "--data", f"tfds:{tmp_path}", "--out", out]
    targets = ("raf_db:test", "raf_db:occlusion", "raf_db:pose_30", "fed_ro:test")
    words += [word for target in targets for word in ("--on", target)]
    assert matrix.main([str(word) for word in words]) == 0
    cells = json.loads(out.read_text())["cells"]
    for target, cell in zip(targets, cells, strict=True):
        dataset, _, split = target.partition(":")
        source = tfds.builder(dataset, data_dir=tmp_path).as_data_source(split)
        assert f"{cell['dataset']}:{cell['split']}" == target
        assert cell["n"] == len(source)
        assert cell["labels"] == list(LABELS[:7])
        assert cell["without_train"] == (dataset == "fed_ro")
    assert "| `own` |" in capsys.readouterr().out
