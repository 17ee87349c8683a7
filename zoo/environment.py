"""Versions and hardware, to stand beside every number."""

import importlib.metadata
import os
import platform

import keras

import keras_fer


def environment():
    """What this process runs on, as a dictionary for JSON."""
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
    }
