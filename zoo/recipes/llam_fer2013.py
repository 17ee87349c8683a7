"""LLAM with a MobileNetV1 backbone on FER2013, 7 classes, 64 px.

    python -m zoo.train llam_fer2013 --data DIR --backbone-weights imagenet

Identical to `iram_fer2013` except for the attention, so that the two can be compared.
About 30 minutes on two CPU cores (TensorFlow 2.21, seed 0).
"""

import dataclasses

from zoo.recipes import iram_fer2013

RECIPE = dataclasses.replace(
    iram_fer2013.RECIPE,
    architecture="LLAM",
)
