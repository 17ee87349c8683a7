"""Training: the loss of PAL, its heatmaps, augmentation and several workers."""

from keras_fer.training.attribution import (
    PrivilegedAttribution,
    privileged_attribution_loss,
)
from keras_fer.training.augmentation import JointAugmentation
from keras_fer.training.distributed import multi_worker
from keras_fer.training.heatmaps import landmark_heatmap

__all__ = [
    "JointAugmentation",
    "PrivilegedAttribution",
    "landmark_heatmap",
    "multi_worker",
    "privileged_attribution_loss",
]
