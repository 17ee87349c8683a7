import json
import pathlib

import pytest

from keras_fer.models.saved import load_saved
from tests.cli.test_contract import keys
from tests.finetuning.test_train import faces, start  # noqa: F401  # fixtures

OPTIONS = ("--head-epochs", 2, "--epochs", 1, "--batch-size", 8, "--head-rate", 0.01)


@pytest.mark.medium
def test_a_model_is_written(run, start, faces, tmp_path):  # noqa: F811
    out, split = tmp_path / "mine.keras", tmp_path / "split.csv"
    command = ("train", faces, "-o", out, "--model", start, *OPTIONS)
    status, output, errors = run(*command, "--json", "--save-split", split)
    result = json.loads(output)
    assert status == 1 and "99.png' is not an image" in errors
    assert "\nepoch 1/2 " in errors
    assert [*result] == keys("`keras-fer train --json`")
    assert result["labels"] == ["calm", "happy"] and result["trained_on"] == 64
    assert load_saved(out).labels == ("calm", "happy")
    before = out.read_bytes()
    status, output, errors = run(*command)
    assert (status, output) == (1, "") and "exists. Choose another name" in errors
    assert out.read_bytes() == before
    status, output, _ = run("evaluate", out, split, "--split", "val")
    assert status == 0 and "val: 16 images" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "required: -o/--out"),
        (("-o", "a.h5"), "--out must end in .keras"),
        (("-o", "a.keras", "--hold-out", "2"), "hold_out must be above 0"),
        (("-o", "a.keras", "--by", "x"), "--by: invalid choice"),
        (("-o", "a.keras", "--model", "patt"), "Did you mean"),
    ],
)
def test_wrong_usage(run, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    status, output, errors = run("train", "faces", *options)
    assert (status, output) == (2, "") and message in errors
    assert not any(pathlib.Path().iterdir())


def test_a_source_that_is_not_there(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, output, errors = run("train", "faces", "-o", "a.keras")
    assert (status, output) == (1, "") and "There is no folder or file" in errors
