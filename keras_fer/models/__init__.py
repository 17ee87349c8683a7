"""Models: one file a paper, reading from top to bottom like its figure."""

from keras_fer.models.classifier import ExpressionClassifier
from keras_fer.models.patt_lite import PAttLite

__all__ = ["ExpressionClassifier", "PAttLite"]
