"""Fine-tuning on a folder of images: `keras_fer.train`."""

from keras_fer.finetuning.settings import TrainingSettings
from keras_fer.finetuning.trainer import TrainingResult, train

__all__ = ["TrainingResult", "TrainingSettings", "train"]
