"""SCAN-CCI on JAFFE, 7 classes, 224 px.

    python -m zoo.train scan_cci_jaffe --data tfds --backbone-weights FILE --fold 0

This is one of ten folds; `python -m zoo.crossvalidate` runs all. For FILE see
`scan_cci_raf_db`. Not run by us, so there is no time and no score to expect.

The abstract names JAFFE, but the authors' code does not train on it. So everything is
our choice: the settings of `scan_cci_ck_plus`, one subject per fold, and checkpoint
selection on the subject after the reported one.
"""

from zoo.recipe import Recipe, Stage, constant
from zoo.recipes.scan_cci_affectnet import sgd
from zoo.recipes.scan_cci_raf_db import gray

RECIPE = Recipe(
    architecture="ScanCCI",
    arguments={},
    dataset="jaffe",
    stages=(
        Stage(
            40,
            1e-3,
            input_size=224,
            augmentation=gray,
            batch_norm="learned",
            schedule=constant,
        ),
    ),
    train="folds",
    batch=48,
    optimizer=sgd,
    ema=None,
    balanced_sampling=True,
)
