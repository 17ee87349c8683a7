import argparse
import importlib
import pathlib
import re
import sys

import pytest

from keras_fer.zoo.presets import PRESETS
from zoo import recipes
from zoo.shelf import Shelf

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "papers"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
COMMANDS = [
    line.split()[2:]
    for path in (*PAGES, FOLDER / "README.md")
    for line in path.read_text().splitlines()
    if line.startswith("python -m zoo.")
]


def test_every_paper_has_a_page_with_all_sections():
    listed = re.findall(r"\]\((\w+\.md)\)", (FOLDER / "README.md").read_text())
    assert sorted(listed) == [path.name for path in PAGES] and len(PAGES) == 5
    for path in PAGES:
        heads = re.findall("^## (.*)", path.read_text(), re.MULTILINE)
        for word in ("Claim", "rotocol", "ommands", "Our number", "Differences"):
            assert any(word in head for head in heads), (path.name, word)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_parse_and_name_what_exists(command, monkeypatch):
    name, *words = command
    module = importlib.import_module(name)
    parse = argparse.ArgumentParser.parse_args

    class Parsed(Exception):
        pass

    def stop_after_parsing(parser, args=None, namespace=None):
        raise Parsed(parse(parser, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop_after_parsing)
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(Parsed) as parsed:
        module.main()
    (options,) = parsed.value.args
    models = getattr(options, "models", [getattr(options, "model", None)])
    runs = [str(model) for model in models if str(model).startswith("runs/")]
    for run in (*runs, getattr(options, "recipe", None)):
        if run:
            recipes.load(run.removeprefix("runs/"))


def test_the_numbers_are_those_of_the_results():
    text = "\n".join(path.read_text() for path in PAGES)
    for name in PRESETS:
        if f"`{name}`" in text:
            accuracy = Shelf().evaluations(name)[None]["all"]["accuracy"]
            assert re.search(rf"`{re.escape(name)}`:? {accuracy:.1f} %", text), name
