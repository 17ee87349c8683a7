import json
import re

import pytest
from PIL import Image

from tests.cli.test_contract import keys


@pytest.fixture
def folder(tmp_path, images):
    """Crops of two classes, and a damaged file."""
    for number, image in enumerate(images[:6]):
        path = tmp_path / "faces" / ("sad", "fear")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    (tmp_path / "faces" / "sad" / "9.png").write_bytes(b"damaged")
    return tmp_path / "faces"


def test_json_has_the_documented_keys(run, folder, tmp_path):
    plot = tmp_path / "plot.png"
    status, output, errors = run(
        "evaluate", "patt_lite", folder, "--json", "--plot", plot
    )
    result = json.loads(output)
    assert status == 1 and errors.count("\n") == 1 and "9.png" in errors
    assert [*result] == keys("`keras-fer evaluate --json`")
    assert result["images"] == 6 and result["per_class"]["anger"]["recall"] is None
    before = plot.read_bytes()
    assert before[1:4] == b"PNG"
    status, output, errors = run("evaluate", "patt_lite", folder, "--plot", plot)
    assert (status, output) == (1, "") and "exists. Choose another name" in errors
    assert plot.read_bytes() == before


def test_the_table_names_every_class(run, folder):
    (folder / "sad" / "9.png").unlink()
    status, output, errors = run("evaluate", "patt_lite", folder, "--balanced")
    assert (status, errors) == (0, "")
    assert output.startswith(f"patt_lite on {folder}: 6 images\naccuracy ")
    names = [line.split()[0] for line in output.splitlines()[5:]]
    assert len(names) == 8 and "sadness" in names


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["patt"], 2, "Did you mean"),
        (["patt_lite", "--plot", "a.txt"], 2, "--plot must end in .png"),
        (["patt_lite", "--detector", "x"], 2, "detector must be one of"),
        (["patt_lite", "--split", "test"], 1, "split of .* must be left out"),
        (["gone.keras"], 1, "There is no file 'gone.keras'"),
    ],
)
def test_wrong_usage(run, folder, arguments, status, message):
    model, *options = arguments
    found, output, errors = run("evaluate", model, folder, *options)
    assert (found, output) == (status, "")
    assert re.search(message, errors)


def test_labels_that_the_model_does_not_know(run, folder):
    (folder / "fear").rename(folder / "calm")
    status, output, errors = run("evaluate", "patt_lite", folder)
    assert (status, output) == (1, "") and errors.count("\n") == 1
    assert "does not know calm" in errors and "neutral, happiness" in errors
