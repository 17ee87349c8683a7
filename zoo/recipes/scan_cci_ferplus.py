"""SCAN-CCI on FER+ votes, 8 classes, 224 px.

    python -m zoo.train scan_cci_ferplus --data tfds --backbone-weights FILE

For FILE see `scan_cci_raf_db`. Not run by us, so there is no time and no score to
expect.

From the authors' code: separate attention for each crop, and the settings of
`scan_cci_raf_db`. Our choices besides those there: the votes as soft labels, while the
authors take the majority, and no color jitter, since the images are grayscale. Reported
on the images of the private test split with a majority label.
"""

from zoo.recipe import Recipe, Stage
from zoo.recipes.scan_cci_raf_db import decayed, gray, sgd

RECIPE = Recipe(
    architecture="ScanCCI",
    arguments={},
    dataset="ferplus",
    stages=(
        Stage(
            60,
            1e-2,
            input_size=224,
            augmentation=gray,
            batch_norm="learned",
            schedule=decayed,
        ),
    ),
    test="private_test",
    optimizer=sgd,
    ema=None,
    balanced_sampling=True,
)
