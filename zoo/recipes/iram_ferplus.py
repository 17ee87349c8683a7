"""IRAM with a MobileNetV1 backbone on FER+ votes, 8 classes, 64 px.

    python -m zoo.train iram_ferplus --data DIR --backbone-weights imagenet

Identical to `llam_ferplus` except for the attention, so that the two can be compared.
"""

import dataclasses

from zoo.recipes import llam_ferplus

RECIPE = dataclasses.replace(llam_ferplus.RECIPE, architecture="IRAM")
