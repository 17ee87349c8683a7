"""Saliency: which parts of an image a model's prediction rests on.

The package is not called `explain`, because `keras_fer.explain` is the function:
importing a submodule of that name would replace it.
"""

from keras_fer.saliency.methods import METHODS, explain
from keras_fer.saliency.probe import Probe
from keras_fer.saliency.scores import InsertionDeletion, insertion_deletion

__all__ = ["METHODS", "InsertionDeletion", "Probe", "explain", "insertion_deletion"]
