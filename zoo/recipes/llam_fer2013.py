"""LLAM's attention on the light backbone, FER2013 labels, 7 classes, 64 px.

    python -m zoo.train llam_fer2013 --data DIR --backbone-weights imagenet

The same as iram_fer2013 but for the attention: the two can be compared. About 30
minutes on two CPU cores (TensorFlow 2.21, seed 0).
"""

import dataclasses

from zoo.recipes import iram_fer2013

RECIPE = dataclasses.replace(
    iram_fer2013.RECIPE,
    architecture="LLAM",
)
