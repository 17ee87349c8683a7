"""PAtt-Lite by the paper's settings on CK+, 8 classes, 224 px.

    python -m zoo.train patt_lite_paper_ck_plus --data tfds --fold 0

Not run here: no time and no score to expect. The paper claims 100 %, with attention
across the batch, which leaks labels: no target.

Settings, and what of them is our choice, as in `patt_lite_paper_raf_db`.
Our choices besides: the last three frames of a sequence, the first as neutral, and ten
folds of subjects: all but two are trained on, one is reported, and epochs are chosen on
the one after it. Run it ten times, --fold 0 to 9 with an --out of their own.
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
