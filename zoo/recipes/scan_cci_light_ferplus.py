"""SCAN-CCI with a MobileNetV1 backbone on FER+ votes, 8 classes, 64 px.

    python -m zoo.train scan_cci_light_ferplus --data DIR --backbone-weights imagenet

Identical to `llam_ferplus` except for the architecture, so that the two can be
compared. The 25 crops share one attention, as in the authors' script for RAF-DB.
`scan_cci_ferplus` has the authors' backbone, ResNet-50, and settings.
"""

import dataclasses

from zoo.recipes import llam_ferplus

RECIPE = dataclasses.replace(
    llam_ferplus.RECIPE,
    architecture="ScanCCI",
    arguments={"backbone": "mobilenet_v1", "grayscale": True, "shared": True},
)
