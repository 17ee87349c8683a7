"""keras_fer: facial expression recognition in Keras 3.

Importing it is light: Keras and its backend are imported when something is built.
"""

import importlib

import wrapt

from keras_fer.labels import LABELS

__version__ = "0.1.0"
__all__ = [
    "LABELS",
    "analyze",
    "explain",
    "faces",
    "labels",
    "layers",
    "models",
    "saliency",
    "training",
    "zoo",
]


@wrapt.when_imported("keras")
def _register(_):
    """Lets Keras find our classes when it reads a saved model."""
    importlib.import_module("keras_fer.models")
    importlib.import_module("keras_fer.training")


def __getattr__(name):
    if name == "analyze":
        return importlib.import_module("keras_fer.faces").analyze
    if name == "explain":
        return importlib.import_module("keras_fer.saliency").explain
    if name in __all__:
        return importlib.import_module(f"keras_fer.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
