"""keras_fer: facial expression recognition in Keras 3.

`import keras_fer` is light: its attributes, listed in `__init__.pyi`, are imported on
first use, and so are Keras and its backend.
"""

import importlib
from types import ModuleType

import lazy_loader
import wrapt

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


@wrapt.when_imported("keras")
def _register(_: ModuleType) -> None:
    """Registers the classes of saved models with Keras as soon as it is imported."""
    importlib.import_module("keras_fer.models")
    importlib.import_module("keras_fer.training")
