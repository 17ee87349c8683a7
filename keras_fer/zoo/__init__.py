"""The model zoo: names to weights to models."""

from keras_fer.hub import push
from keras_fer.zoo.loading import info, list, load
from keras_fer.zoo.presets import Balance, ModelInfo

__all__ = ["Balance", "ModelInfo", "info", "list", "load", "push"]
