import mmap
import pathlib
import subprocess

import pytest

from tests.fuzz import targets
from tests.fuzz.__main__ import main
from tests.fuzz.search import search
from tests.fuzz.targets import FINDINGS, TARGETS, Target, check

CASES = 2000 // len(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_break_no_promise(name):
    found = search(name, CASES, seed=0)
    assert found is None, found


@pytest.mark.parametrize(
    "path", sorted(FINDINGS.glob("*.bin")), ids=lambda path: path.name
)
def test_findings_stay_mended(path, tmp_path):
    check(path.name.partition("-")[0], path.read_bytes(), tmp_path)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda path: 1 / (0 in path.read_bytes()[:4]), "undocumented ZeroDivision"),
        (lambda path: subprocess.run(["true"], check=True), "started another process"),
        # A mapping of its own: malloc may have as much at hand.
        (lambda path: mmap.mmap(-1, 2**26).write(bytes(2**26)), "MiB"),
    ],
)
def test_broken_promises_are_found_and_saved(
    read, message, tmp_path, monkeypatch, capsys
):
    cases = TARGETS["manifests"].cases
    target = Target(".json", cases, read, lambda: (ValueError,))
    monkeypatch.setitem(targets.TARGETS, "manifests", target)
    monkeypatch.setattr(targets, "MEMORY", 2**25)
    monkeypatch.setattr("tests.fuzz.search.FINDINGS", tmp_path / "findings")
    assert main(["--cases", "50", "--target", "manifests"]) == 1
    assert message in capsys.readouterr().out
    (path,) = (tmp_path / "findings").iterdir()
    with pytest.raises(AssertionError, match=message):
        check("manifests", path.read_bytes(), tmp_path)


def test_a_seed_decides_the_cases(monkeypatch):
    def contents(seed):
        seen = []
        target = TARGETS["images"]._replace(
            read=lambda path: seen.append(pathlib.Path(path).read_bytes())
        )
        monkeypatch.setitem(targets.TARGETS, "images", target)
        search("images", 40, seed)
        return seen

    assert contents(1) == contents(1) != contents(2)
