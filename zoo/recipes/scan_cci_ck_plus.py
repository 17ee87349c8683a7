"""SCAN-CCI on CK+, 8 classes, 224 px.

    python -m zoo.train scan_cci_ck_plus --data tfds --backbone-weights FILE --fold 0

Run it ten times, --fold 0 to 9 with an --out of their own. For FILE see
`scan_cci_raf_db`. Not run here: no time and no score to expect.

From the authors' code: the last three frames of a sequence and the first as neutral, an
attention for every crop, SGD with momentum 0.9 and weight decay 1e-3, a constant rate,
40 epochs, batch 48, classes drawn alike, ten folds of subjects. Our choices: the rates
of `scan_cci_affectnet`, where the authors go on from their AffectNet model at 1e-5;
which subjects make a fold; epochs are chosen on the fold after the reported one; no
jitter of colors, for the images are gray; and those of `scan_cci_raf_db`.
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
