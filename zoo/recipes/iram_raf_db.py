"""IRAM on RAF-DB, 7 classes, 112 px.

    python -m zoo.train iram_raf_db --data tfds --backbone-weights none

Not run here: no time and no score to expect.

Our choices, not the paper's, whose text was not available: ResNet-18 from random
weights with attention in every residual branch, and the whole of the training. Epochs
are chosen on a part held out from train; the test split is opened once, to report.
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
