# What `import keras_fer` offers; __init__.py loads it on first use.

from . import (
    bulk,
    datasets,
    evaluation,
    faces,
    finetuning,
    labels,
    layers,
    models,
    runtime,
    saliency,
    training,
    zoo,
)
from ._version import __version__
from .evaluation import evaluate
from .faces import analyze
from .finetuning import TrainingSettings, train
from .labels import LABELS
from .runtime import export
from .saliency import explain

__all__ = [
    "LABELS",
    "TrainingSettings",
    "__version__",
    "analyze",
    "bulk",
    "datasets",
    "evaluate",
    "evaluation",
    "explain",
    "export",
    "faces",
    "finetuning",
    "labels",
    "layers",
    "models",
    "runtime",
    "saliency",
    "train",
    "training",
    "zoo",
]
