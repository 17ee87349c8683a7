"""Versions and hardware, recorded beside every result."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess

import keras_fer

ROOT = pathlib.Path(__file__).parents[1]


def environment():
    """Versions and hardware of this process, as a dictionary for JSON."""
    # Importing Keras starts its backend, which takes seconds.
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
    """The Git commit of a working copy.

    Args:
        folder: Root of the working copy.

    Returns:
        40 hexadecimal digits, with `-dirty` if tracked files differ from the commit;
        `None` if the folder is no working copy or Git is not installed.
    """
    # Git would also find a repository in a folder above.
    if not (pathlib.Path(folder) / ".git").exists():
        return None
    # With all tags excluded, `describe` gives the commit.
    command = "git --no-optional-locks describe --always --exclude=* --abbrev=40"
    try:
        process = subprocess.run(
            [*command.split(), "--dirty"], cwd=folder, capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    # Empty if nothing is committed yet.
    return process.stdout.strip() or None
