import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import bulk, record


def test_noise_is_drawn_once():
    first, second = (list(bulk.faces_of(None, 3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first[0].shape == (48, 48) and (first[0] != first[1]).any()


@pytest.mark.medium
def test_the_result_follows_the_schema(tmp_path):
    path = tmp_path / "bulk.json"
    counts = ["--few", "3", "--many", "5", "--rounds", "1", "--suffixes", "csv"]
    # In a process of its own: its children start with its peak memory.
    command = [sys.executable, "-m", "benchmarks.bulk", *counts, "--out", str(path)]
    subprocess.run(command, cwd=pathlib.Path(__file__).parents[2], check=True)
    result = json.loads(path.read_text())
    record.check(result)
    assert 50 < result["suffixes"]["csv"]["many_peak_mib"]["median"] < 1000
