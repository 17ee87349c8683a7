"""SCAN-CCI on CK+, 8 classes, 224 px.

    python -m zoo.train scan_cci_ck_plus --data tfds --backbone-weights FILE --fold 0

This is one of ten folds; `python -m zoo.crossvalidate` runs all. For FILE see
`scan_cci_raf_db`. Not run by us, so there is no time and no score to expect.

From the authors' code: the last three frames of each sequence and the first as neutral,
separate attention for each crop, SGD with momentum 0.9 and weight decay 1e-3, a
constant rate, 40 epochs, batch size 48, balanced sampling, ten folds of subjects. Our
choices: the rates of `scan_cci_affectnet`, while the authors continue from their
AffectNet model at 1e-5, as `scan_cci_ck_plus_finetuned` does; the assignment of
subjects to folds; checkpoint selection on the fold after the reported one; no color
jitter, since the images are grayscale; and those of `scan_cci_raf_db`.
"""

from zoo.recipe import Recipe, Stage, constant
from zoo.recipes.scan_cci_affectnet import sgd
from zoo.recipes.scan_cci_raf_db import gray

RECIPE = Recipe(
    architecture="ScanCCI",
    arguments={},
    dataset="ck_plus/last3_neutral",
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
