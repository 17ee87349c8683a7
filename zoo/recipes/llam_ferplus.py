"""LLAM with a MobileNetV1 backbone on FER+ votes, 8 classes, 64 px.

    python -m zoo.train llam_ferplus --data DIR --backbone-weights imagenet

The backbone starts from patt_lite.ferplus up to conv_dw_9, where that ends, and from
ImageNet after it. `iram_ferplus`, `pal_ferplus` and `scan_cci_light_ferplus` differ
from it in the architecture and its loss alone, so that they can be compared.
"""

from zoo.recipe import Recipe, Stage
from zoo.recipes.patt_lite_ferplus import plain, varied

RECIPE = Recipe(
    architecture="LLAM",
    arguments={"backbone": "mobilenet_v1", "grayscale": True, "dropout": 0.3},
    dataset="ferplus",
    start_backbone="patt_lite.ferplus",
    stages=(
        Stage(2, 1e-3, input_size=64, augmentation=varied, batch_norm="learned"),
        Stage(3, 4e-4, input_size=64, augmentation=plain),
    ),
    selection="loss",
    # The parts of patt_lite.ferplus, so that no held-out image has been learned from.
    duplicates="exact",
)
