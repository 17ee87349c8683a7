import pathlib
import re
import shutil

import numpy as np
import pytest

from keras_fer.cli import build_parser
from keras_fer.cli.predict import sample_portrait
from zoo import tables

README = pathlib.Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_python_runs(tmp_path, monkeypatch, capsys, images):
    monkeypatch.chdir(tmp_path)
    shutil.copy(sample_portrait(), "photo.jpg")
    landmarks = np.random.default_rng(0).random((40, 68, 2))
    given = {"images": images, "classes": np.arange(40) % 2, "landmarks": landmarks}
    for code in blocks("python"):
        assert len([line for line in code.splitlines() if line]) <= 12
        exec(code, given)
    assert given["maps"].shape == (40, 48, 48)
    assert pathlib.Path("mine.keras").stat().st_size > 2**20
    assert "(" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [line for line in "".join(blocks("sh")).splitlines() if "keras-fer " in line],
)
def test_every_flag_of_the_commands_exists(line):
    for command in line.split("&&"):
        words = command.split()
        if words[0] == "keras-fer":
            options = build_parser().parse_args(words[1:])
            assert callable(options.run)


def test_ci_runs_the_readmes_test_commands():
    commands = [line for line in "".join(blocks("sh")).splitlines() if "pytest" in line]
    assert len(commands) == 2
    for command in commands:
        assert command in (README.parent / ".ci" / "run").read_text()


def test_the_tables_are_the_results():
    text = README.read_text()
    assert tables.fill(text) == text
    assert "<!-- scores -->\n| model" in text
