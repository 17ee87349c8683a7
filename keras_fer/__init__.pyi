# What `import keras_fer` offers; __init__.py loads it on first use.

from . import (
    bulk,
    faces,
    labels,
    layers,
    models,
    runtime,
    saliency,
    training,
    zoo,
)
from ._version import __version__
from .faces import analyze
from .labels import LABELS
from .runtime import export
from .saliency import explain

__all__ = [
    "LABELS",
    "__version__",
    "analyze",
    "bulk",
    "explain",
    "export",
    "faces",
    "labels",
    "layers",
    "models",
    "runtime",
    "saliency",
    "training",
    "zoo",
]
