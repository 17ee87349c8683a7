"""Models outside Keras: exporting them, and running exported ones."""

from keras_fer.runtime.export import export
from keras_fer.runtime.litert import LiteRTModel
from keras_fer.runtime.onnx import OnnxModel

__all__ = ["LiteRTModel", "OnnxModel", "export"]
