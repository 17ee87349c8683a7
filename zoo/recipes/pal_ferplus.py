"""PAL with a MobileNetV1 backbone on FER+ votes, 8 classes, 64 px.

    python -m zoo.train pal_ferplus --data DIR --backbone-weights imagenet

Identical to `llam_ferplus` except that the network has no attention layers and learns
with the privileged attribution loss, so that the two can be compared. DIR also holds
the landmarks; see zoo/data.py.
"""

import dataclasses

from keras_fer.training import JointAugmentation
from zoo.recipe import Stage
from zoo.recipes import llam_ferplus
from zoo.recipes import patt_lite_ferplus as alone


def varied():
    """As in `patt_lite_ferplus`, with the heatmaps moving along."""
    layers = alone.varied()
    return JointAugmentation(layers[:4], image_layers=layers[4:])


def plain():
    """As in `patt_lite_ferplus`, with the heatmaps moving along."""
    return JointAugmentation(alone.plain())


RECIPE = dataclasses.replace(
    llam_ferplus.RECIPE,
    architecture="AttentionNetwork",
    stages=(
        Stage(2, 1e-3, input_size=64, augmentation=varied, batch_norm="learned"),
        Stage(3, 4e-4, input_size=64, augmentation=plain),
    ),
    attribution={"channels": "half", "weight": 1.0},
)
