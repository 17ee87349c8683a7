"""PAtt-Lite with the paper's settings on CK+, 8 classes, 224 px.

    python -m zoo.train patt_lite_paper_ck_plus --data tfds --fold 0

Not run by us, so there is no time and no score to expect. The paper claims 100 %, with
attention across the batch, which leaks labels: that is no target.

Settings and differences are those of `patt_lite_paper_raf_db`. Our choices besides: the
last three frames of each sequence, the first as neutral, and ten folds of subjects. One
fold is reported on, the next is for checkpoint selection, and the other eight are
trained on. This is one of ten folds; `python -m zoo.crossvalidate` runs all.
"""

from zoo.recipe import Recipe
from zoo.recipes.patt_lite_paper_raf_db import STAGES, adam

RECIPE = Recipe(
    architecture="PAttLite",
    arguments={},
    dataset="ck_plus/last3_neutral",
    train="folds",
    stages=STAGES,
    batch=8,
    optimizer=adam,
    ema=None,
    class_weights=True,
)
