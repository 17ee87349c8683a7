"""IRAM on RAF-DB, 7 classes, 112 px.

    python -m zoo.train iram_raf_db --data tfds --backbone-weights none

Not run by us, so there is no time and no score to expect.

The paper's text was not available, so these are our choices: a randomly initialized
ResNet-18 with attention in every residual branch, and all training settings.
Checkpoint selection uses a part held out from train; the test split is only reported
on.
"""

from zoo.recipe import Recipe, Stage
from zoo.recipes.patt_lite_ferplus import plain, varied

STAGES = (
    Stage(50, 1e-3, input_size=112, augmentation=varied, batch_norm="learned"),
    Stage(5, 1e-4, input_size=112, augmentation=plain),
)

RECIPE = Recipe(
    architecture="IRAM",
    arguments={"backbone": "resnet18", "dropout": 0.3},
    dataset="raf_db",
    stages=STAGES,
    test="test",
    label_smoothing=0.1,
)
