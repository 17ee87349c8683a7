"""Evaluation: scores, calibration and plots of a model on labeled images."""

from keras_fer.evaluation.evaluator import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
