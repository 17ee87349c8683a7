"""PAtt-Lite with the paper's settings on FER+ votes, 8 classes, 224 px.

    python -m zoo.train patt_lite_paper_ferplus --data tfds --backbone-weights imagenet

Not run by us, so there is no time and no score to expect. The paper claims 95.55 %,
with attention across the batch, which leaks labels: that is no target.

Settings and differences are those of `patt_lite_paper_raf_db`. Reported on the images
of the private test split with a majority label. Our choices besides: the votes as soft
labels, and checkpoint selection on a part held out from train.
"""

from zoo.recipe import Recipe
from zoo.recipes.patt_lite_paper_raf_db import STAGES, adam

RECIPE = Recipe(
    architecture="PAttLite",
    arguments={},
    dataset="ferplus",
    test="private_test",
    stages=STAGES,
    batch=8,
    optimizer=adam,
    ema=None,
    class_weights=True,
)
