"""Models outside Keras: exporting them, and running exported ones."""

from keras_fer.runtime.export import export
from keras_fer.runtime.onnx import OnnxModel

__all__ = ["OnnxModel", "export"]
