"""PAtt-Lite with the paper's settings on FER2013, 7 classes, 224 px.

    python -m zoo.train patt_lite_paper_fer2013 --data tfds --backbone-weights imagenet

Not run by us, so there is no time and no score to expect. The paper claims 92.50 %,
with attention across the batch, which leaks labels: that is no target.

Settings and differences are those of `patt_lite_paper_raf_db`. Reported on the private
test split. Our choice: checkpoint selection uses a part held out from train, not the
public test split, of which 280 images occur in train.
"""

from zoo.recipe import Recipe
from zoo.recipes.patt_lite_paper_raf_db import STAGES, adam

RECIPE = Recipe(
    architecture="PAttLite",
    arguments={},
    dataset="fer2013",
    test="private_test",
    stages=STAGES,
    batch=8,
    optimizer=adam,
    ema=None,
    class_weights=True,
)
