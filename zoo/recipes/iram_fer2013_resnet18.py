"""IRAM on FER2013, 7 classes, 112 px.

    python -m zoo.train iram_fer2013_resnet18 --data tfds --backbone-weights none

Not run by us, so there is no time and no score to expect; `iram_fer2013` is a smaller
version that was. Our choices are those of `iram_raf_db`. Reported on the private test
split.
"""

from zoo.recipe import Recipe
from zoo.recipes.iram_raf_db import STAGES

RECIPE = Recipe(
    architecture="IRAM",
    arguments={"backbone": "resnet18", "dropout": 0.3},
    dataset="fer2013",
    stages=STAGES,
    test="private_test",
    label_smoothing=0.1,
)
