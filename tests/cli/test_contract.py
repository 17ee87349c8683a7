"""`docs/reference/cli.md` says what the commands do."""

import csv
import json
import pathlib
import re
import subprocess
import sys

import pytest

from keras_fer.bulk import FORMATS
from keras_fer.cli import parse

TEXT = (pathlib.Path(__file__).parents[2] / "docs/reference/cli.md").read_text("utf-8")


def keys(heading):
    """What the tables under a heading name, in order."""
    part = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(.*?)`", row)]


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "keras_fer", *map(str, arguments)],
        capture_output=True,
        text=True,
        **options,
    )


def test_json(run):
    status, output, errors = run("predict", "--json")
    record = json.loads(output)
    assert (status, errors) == (0, "")
    assert [*record, *record["faces"][0]] == keys("`keras-fer predict --json`")


def test_columns(run, tmp_path):
    assert run("predict", "--out", tmp_path / "a.csv")[0] == 0
    with open(tmp_path / "a.csv", newline="") as file:
        columns = next(csv.reader(file))
    assert run("predict", "--csv")[1].splitlines()[0].split(",") == columns
    named = keys("`keras-fer predict --csv` and `--parquet`")
    probabilities = [name for name in columns if name.startswith("probability_")]
    at = named.index("probability_LABEL")
    assert columns == [*named[:at], *probabilities, *named[at + 1 :]]


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_printed_and_written(suffix):
    table = TEXT.partition("## Formats of `keras-fer predict`")[2].partition("## ")[0]
    (line,) = (line for line in table.splitlines() if f"FILE{suffix}`" in line)
    flag = re.search(r"`--(\w+)`", line)[1]
    options = parse(["predict", f"--{flag}"])
    assert getattr(options, flag) is True


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["list"], 0),
        (["gone.jpg"], 1),
        (["gone.jpg", "--json"], 1),
        (["predict", "--model", "gone.keras"], 1),
        (["predict", "--model", "patt"], 2),
        (["predict", "--wrong"], 2),
        (["info"], 2),
        (["export", "patt_lite", "a.txt"], 2),
        (["audit", "gone"], 1),
    ],
)
def test_exit_status_and_streams(tmp_path, arguments, status):
    assert f"| {status} |" in TEXT
    done = process(*arguments, cwd=tmp_path)
    assert done.returncode == status
    if status == 0:
        assert done.stdout and not done.stderr
    elif status == 1:
        assert re.fullmatch("keras-fer: .*\n", done.stderr)
        for line in done.stdout.splitlines():
            assert json.loads(line)["error"]
    else:
        assert not done.stdout and "keras-fer" in done.stderr.splitlines()[-1]
    assert not any(tmp_path.iterdir())
