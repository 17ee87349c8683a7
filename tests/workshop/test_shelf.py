import copy
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from keras_fer.zoo.presets import read
from zoo import shelf
from zoo.shelf import Shelf

NAME = "iram.fer2013"
FOLDERS = ("presets", "weights", "results")
PARTS = ("weights", "onnx")

# For each number on its input, a child installs what another process has prepared, and
# dies at the file operation of that number.
INSTALL = """
import os, pathlib, pickle, signal, sys
from zoo.shelf import Shelf

root, prepared = pathlib.Path(sys.argv[1]), sys.argv[2]
facts, weights, onnx, results = pickle.loads(pathlib.Path(prepared).read_bytes())
shelf = Shelf(*(root / name for name in ("presets", "weights", "results")))
shelf.verify(facts["name"])  # imports what is imported on first use
seen = deadline = 0

def watch(event, arguments):
    global seen
    if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod"):
        if str(root) in str(arguments[0]) or event != "open":
            seen += 1
            if seen == deadline:
                os.kill(os.getpid(), signal.SIGKILL)

for line in sys.stdin:
    child = os.fork()
    if not child:
        deadline = int(line)
        sys.addaudithook(watch)
        shelf.install(facts, weights, onnx, results)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def copied(tmp_path):
    """A shelf that holds a copy of one preset."""
    return copy_of(NAME, tmp_path / "shelf")


def copy_of(name, root):
    copied = Shelf(*(root / folder for folder in FOLDERS))
    facts = Shelf().read(name)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    shutil.copy(Shelf().presets / f"{name}.json", copied.presets)
    for part in PARTS:
        shutil.copy(Shelf().weights / facts[part]["file"], copied.weights)
    folder = facts["results"]["folder"]
    shutil.copytree(Shelf().results / folder, copied.results / folder)
    return copied


def another(source, tmp_path):
    """What `install` takes for another version of a preset: other weights."""
    facts = source.read(NAME)
    weights = tmp_path / "other.weights.h5"
    data = (source.weights / facts["weights"]["file"]).read_bytes()
    weights.write_bytes(data + b"another")
    onnx = tmp_path / "other.onnx"
    onnx.write_bytes(b"another")
    facts["temperature"] = 0.5
    results = {}
    digest = shelf.hashlib.sha256(weights.read_bytes()).hexdigest()
    for path in (source.results / facts["results"]["folder"]).iterdir():
        result = json.loads(path.read_text())
        if path.name != shelf.RUN:
            result["sha256"] = digest
            if "temperature" in result:
                result["temperature"]["stored"] = 0.5
        results[path.name] = result
    return facts, weights, onnx, results


def tree(found):
    return sorted(
        str(path.relative_to(found.presets.parent))
        for path in found.presets.parent.rglob("*")
    )


@pytest.mark.parametrize("name", read())
def test_every_preset_is_as_it_was_promoted(name):
    Shelf().verify(name)


def test_nothing_else_lies_on_the_shelf():
    presets = read().values()
    weights = {preset[part]["file"] for preset in presets for part in PARTS}
    results = {preset["results"]["folder"] for preset in presets}
    assert {path.name for path in Shelf().weights.iterdir()} == weights
    assert {p.name for p in Shelf().results.iterdir() if p.is_dir()} == results
    files = {path.name for path in Shelf().presets.iterdir()}
    assert files == {f"{name}.json" for name in read()}


def test_another_version_takes_the_place_of_the_old_one(copied, tmp_path):
    before = copied.read(NAME)
    facts = copied.install(*another(copied, tmp_path))
    copied.verify(NAME)
    assert copied.read(NAME) == facts != before
    assert not (copied.weights / before["weights"]["file"]).exists()
    # One preset, a weights file, an ONNX file, one folder of five results.
    assert len(tree(copied)) == len(FOLDERS) + 4 + 5


def test_the_same_again_changes_nothing(copied):
    facts = copied.read(NAME)
    before = {path: path.read_bytes() for path in copied.presets.iterdir()}
    results = {
        path.name: json.loads(path.read_text())
        for path in (copied.results / facts["results"]["folder"]).iterdir()
    }
    files = tree(copied)
    paths = (copied.weights / facts[part]["file"] for part in PARTS)
    copied.install(facts, *paths, results)
    assert tree(copied) == files
    assert {path: path.read_bytes() for path in copied.presets.iterdir()} == before


@pytest.mark.medium
def test_killed_at_any_moment_it_leaves_the_old_preset_or_the_new_one(
    copied, install, tmp_path
):
    """SIGKILL before the first, the second, … file operation, until it ends well."""
    root = copied.presets.parent
    old = copied.read(NAME)
    backup = tmp_path / "backup"
    shutil.copytree(root, backup)
    seen = {"old": 0, "new": 0}
    for deadline in range(1, 200):
        shutil.rmtree(root)
        shutil.copytree(backup, root)
        status = install(deadline)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        copied.verify(NAME)
        seen["old" if copied.read(NAME) == old else "new"] += 1
    else:
        pytest.fail("it never ended")
    print(seen)
    assert seen["old"] > 10 and seen["new"] > 2
    # Whatever the kills leave goes with the next promotion.
    for deadline in (seen["old"] // 2, seen["old"], seen["old"] + 2):
        shutil.rmtree(root)
        shutil.copytree(backup, root)
        assert install(deadline) == -signal.SIGKILL
        assert install(0) == 0
        copied.verify(NAME)
        assert len(tree(copied)) == len(FOLDERS) + 4 + 5


def shelf_pickle(prepared):
    import pickle

    facts, weights, onnx, results = prepared
    return pickle.dumps((facts, str(weights), str(onnx), results))


@pytest.fixture
def install(copied, tmp_path):
    """Function of a deadline: the exit status of an installation."""
    prepared = tmp_path / "prepared.pickle"
    prepared.write_bytes(shelf_pickle(another(copied, tmp_path)))
    command = [sys.executable, "-c", INSTALL, str(copied.presets.parent), str(prepared)]
    process = subprocess.Popen(
        command,
        cwd=pathlib.Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(deadline):
        print(deadline, file=process.stdin, flush=True)
        return int(process.stdout.readline())

    yield run
    process.stdin.close()
    process.wait()


def test_pins_change_nothing_else(copied):
    before = copied.read(NAME)
    copied.pin(NAME, "me/some-repo", "a" * 40)
    after = copied.read(NAME)
    assert (after["repo"], after["revision"]) == ("me/some-repo", "a" * 40)
    assert {**after, "repo": None, "revision": None} == before
    for wrong in ("main", "A" * 40, None):
        with pytest.raises(ValueError, match="revision"):
            copied.pin(NAME, "me/some-repo", wrong)
    assert copied.read(NAME) == after


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["architecture"], "os.system", r"\$.architecture"),
        (["arguments"], {}, "'input_size' is a required property"),
        (["arguments", "input_size"], [64], r"\$.arguments.input_size"),
        (["labels"], ["a"], r"\$.labels"),
        (["labels"], ["a", "a"], "non-unique"),
        (["temperature"], float("nan"), "nan is not of type 'number'"),
        (["temperature"], True, "True is not of type 'number'"),
        (["temperature"], 0, "less than the minimum"),
        (["paper", "bibtex"], "none", r"\$.paper.bibtex"),
        (["weights", "sha256"], "0" * 64, "weights.file is .* says"),
        (["onnx", "sha256"], "0" * 64, "onnx.file is .* says"),
        (["results", "sha256"], "0" * 64, "results.folder is .* says"),
        (["repo"], "me/some-repo", "revision None"),
        (["typo"], 1, "'typo' was unexpected"),
    ],
)
def test_wrong_facts_are_named(place, value, message):
    facts = copy.deepcopy(Shelf().read(NAME))
    inner = facts
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ValueError, match=message):
        shelf.check(facts)


@pytest.mark.parametrize(
    ("key", "value"),
    [("sha256", "0" * 64), ("model", "another"), ("corruption", "masked")],
)
def test_results_of_something_else_are_refused(copied, tmp_path, key, value):
    facts, weights, onnx, results = another(copied, tmp_path)
    results["public_test.json"][key] = value
    before = tree(copied)
    with pytest.raises(ValueError, match=f"not of {NAME} as it is now: its {key} is"):
        copied.install(facts, weights, onnx, results)
    assert tree(copied) == before


def test_results_of_another_temperature_or_score_are_refused(copied, tmp_path):
    facts, weights, onnx, results = another(copied, tmp_path)
    with pytest.raises(ValueError, match="its temperature is 0.5, but .* is 1.5"):
        copied.install({**facts, "temperature": 1.5}, weights, onnx, results)
    facts["evaluation"]["scores"]["accuracy"]["value"] = 99.0
    with pytest.raises(ValueError, match="its scores is"):
        copied.install(facts, weights, onnx, results)


def test_what_is_missing_or_changed_is_named(copied):
    facts = copied.read(NAME)
    folder = copied.results / facts["results"]["folder"]
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text + " ")
    with pytest.raises(ValueError, match=f"The results of {NAME} changed"):
        copied.verify(NAME)
    (folder / "run.json").write_text(text)
    (folder / "public_test.masked.json").unlink()
    with pytest.raises(FileNotFoundError, match="public_test.masked.json"):
        copied.evaluations(NAME)
    with pytest.raises(FileNotFoundError, match="no preset 'none.none'"):
        copied.read("none.none")
