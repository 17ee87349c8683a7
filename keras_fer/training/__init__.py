"""Training: how a model learns."""

from keras_fer.training.attribution import (
    PrivilegedAttribution,
    privileged_attribution_loss,
)
from keras_fer.training.augmentation import MoveTogether
from keras_fer.training.heatmaps import landmark_heatmap

__all__ = [
    "MoveTogether",
    "PrivilegedAttribution",
    "landmark_heatmap",
    "privileged_attribution_loss",
]
