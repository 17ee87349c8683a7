"""Training: how a model learns."""

from keras_fer.training.attribution import (
    PrivilegedAttribution,
    privileged_attribution_loss,
)
from keras_fer.training.augmentation import MoveTogether
from keras_fer.training.distributed import multi_worker
from keras_fer.training.heatmaps import landmark_heatmap

__all__ = [
    "MoveTogether",
    "PrivilegedAttribution",
    "landmark_heatmap",
    "multi_worker",
    "privileged_attribution_loss",
]
