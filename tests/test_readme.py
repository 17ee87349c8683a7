import argparse
import importlib
import pathlib
import re
import shutil
import sys

import numpy as np
import pytest

from keras_fer.cli import parse
from keras_fer.cli.predict import sample_portrait
from zoo import tables

README = pathlib.Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.medium
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
        words = command.partition(" > ")[0].split()
        if words[0] == "keras-fer":
            options = parse(words[1:])
            assert callable(options.run)


def module_commands():
    """Modules and arguments of every `python -m` line, in the text and in blocks."""
    found = re.findall(
        r"python -m ((?:zoo|benchmarks)\.\w+)([^`\n]*)", README.read_text()
    )
    # Of alternatives, as in `masked|occluded`, the first.
    return [(name, re.sub(r"\|\S+", "", words).split()) for name, words in found]


@pytest.mark.parametrize("command", module_commands(), ids=str)
def test_every_module_command_parses(command, monkeypatch):
    name, words = command
    module = importlib.import_module(name)
    parse = argparse.ArgumentParser.parse_args

    class Parsed(Exception):
        pass

    def stop_after_parsing(parser, args=None, namespace=None):
        parse(parser, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop_after_parsing)
    monkeypatch.setattr(sys, "argv", [name, *words])
    if words:
        with pytest.raises(Parsed):
            module.main()
    else:
        assert pathlib.Path(module.__file__).read_text().count("__main__") == 1


def test_ci_runs_the_readmes_test_commands():
    commands = [line for line in "".join(blocks("sh")).splitlines() if "pytest" in line]
    assert len(commands) == 2
    for command in commands:
        assert command in (README.parent / ".ci" / "run").read_text()


def test_the_tables_are_the_results():
    text = README.read_text()
    assert tables.fill(text) == text
    assert "<!-- scores -->\n| model" in text
