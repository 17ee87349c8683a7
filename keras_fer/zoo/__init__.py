"""The model zoo: names to weights to models."""

from keras_fer.hub import push
from keras_fer.zoo.loading import info, list, load
from keras_fer.zoo.presets import ModelInfo

__all__ = ["ModelInfo", "info", "list", "load", "push"]
