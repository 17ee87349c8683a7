"""Searches for inputs that break a reader's promise; deterministic by its seed."""

import hashlib
import tempfile

import hypothesis
from hypothesis import HealthCheck, Phase

from tests.fuzz.targets import FINDINGS, TARGETS, check


def search(name, cases, seed):
    """Reads damaged files.

    Args:
        name: One of `TARGETS`.
        cases: How many.
        seed: The same seed gives the same files.

    Returns:
        `None`, or the smallest file found that breaks a promise and the
        `AssertionError` that says which.
    """
    last = None

    with tempfile.TemporaryDirectory() as folder:

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=cases,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @hypothesis.given(TARGETS[name].cases())
        def run(content):
            nonlocal last
            last = content
            check(name, content, folder)

        try:
            run()
        except AssertionError as error:
            # Hypothesis ends with the smallest failing example.
            return last, error
    return None


def save(name, content):
    """Saves a finding, which `test_fuzz.py` reads from then on; returns its path."""
    digest = hashlib.sha256(content).hexdigest()[:12]
    path = FINDINGS / f"{name}-{digest}.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path
