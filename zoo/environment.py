"""Versions and hardware, to stand beside every number."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess

import keras_fer

ROOT = pathlib.Path(__file__).parents[1]


def environment():
    """What this process runs on, as a dictionary for JSON."""
    # It starts a backend, which takes seconds.
    import keras

    backend = keras.backend.backend()
    versions = {
        package: importlib.metadata.version(package)
        for package in ("keras", backend, "numpy")
    }
    return {
        "python": platform.python_version(),
        "backend": backend,
        "versions": {"keras_fer": keras_fer.__version__, **versions},
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "commit": commit(ROOT),
    }


def commit(folder):
    """Git commit of a working copy.

    Args:
        folder: Its root.

    Returns:
        40 hexadecimal digits, with `-dirty` where files that git knows differ from it;
        `None` where the folder is no working copy, or git is not installed.
    """
    # Of this folder: git would also find a repository that it happens to lie in.
    if not (pathlib.Path(folder) / ".git").exists():
        return None
    # Without tags, `describe` gives the commit.
    command = "git --no-optional-locks describe --always --exclude=* --abbrev=40"
    try:
        process = subprocess.run(
            [*command.split(), "--dirty"], cwd=folder, capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    # Empty where nothing is committed yet.
    return process.stdout.strip() or None
