"""Layers: attention blocks and the layers that models share, one file per layer."""

# Keras comes first: importing it makes `keras_fer` register the models, which import
# the modules below, so none of them may be partially imported at that time.
import keras  # noqa: F401

from keras_fer.layers.cbam import CBAM
from keras_fer.layers.class_probabilities import ClassProbabilities
from keras_fer.layers.complementary_context import ComplementaryContext
from keras_fer.layers.efficient_channel_attention import EfficientChannelAttention
from keras_fer.layers.image_normalization import ImageNormalization
from keras_fer.layers.information_reuse_attention import InformationReuseAttention
from keras_fer.layers.local_global_attention import LocalGlobalAttention
from keras_fer.layers.lossless_attention import LosslessAttention
from keras_fer.layers.mean_vote import MeanVote
from keras_fer.layers.patch_extraction import PatchExtraction
from keras_fer.layers.patch_token_attention import PatchTokenAttention
from keras_fer.layers.spatio_channel_attention import SpatioChannelAttention
from keras_fer.layers.squeeze_excitation import SqueezeExcitation

__all__ = [
    "CBAM",
    "ClassProbabilities",
    "ComplementaryContext",
    "EfficientChannelAttention",
    "ImageNormalization",
    "InformationReuseAttention",
    "LocalGlobalAttention",
    "LosslessAttention",
    "MeanVote",
    "PatchExtraction",
    "PatchTokenAttention",
    "SpatioChannelAttention",
    "SqueezeExcitation",
]
