"""Layers: attention blocks and what they stand on, one file a block."""

# Keras comes first: when it arrives, `keras_fer` registers the models, which import
# the modules below, so none of these may be half-way through its own import then.
import keras  # noqa: F401

from keras_fer.layers.class_probabilities import ClassProbabilities
from keras_fer.layers.image_normalization import ImageNormalization
from keras_fer.layers.patch_extraction import PatchExtraction
from keras_fer.layers.patch_token_attention import PatchTokenAttention

__all__ = [
    "ClassProbabilities",
    "ImageNormalization",
    "PatchExtraction",
    "PatchTokenAttention",
]
