"""LLAM's attention on the light trunk, FER2013 labels, 7 classes, 64 px.

    python -m zoo.train llam_light_fer2013 --data DIR --trunk-weights imagenet

The same as iram_light_fer2013 but for the attention: the two can be compared. About 30
minutes on two CPU cores (TensorFlow 2.21, seed 0).
"""

import dataclasses

from zoo.recipes import iram_light_fer2013

RECIPE = dataclasses.replace(
    iram_light_fer2013.RECIPE,
    arguments={**iram_light_fer2013.RECIPE.arguments, "attention": "llam"},
)
