r"""SCAN-CCI for FED-RO, 7 classes, 224 px: trained on AffectNet, reported on FED-RO.

    python -m zoo.train scan_cci_fed_ro --data tfds --backbone-weights FILE
    python -m zoo.evaluate runs/scan_cci_fed_ro --data tfds \
        --dataset fed_ro --split test

For FILE see `scan_cci_raf_db`. Not run by us, so there is no time and no score to
expect.

FED-RO is 400 images, all for testing. The authors trained on AffectNet and RAF-DB
together; our choice is AffectNet alone, since a recipe has one dataset. The settings
are those of `scan_cci_affectnet`, as in their code. `test` below is a split of
AffectNet; the second command names FED-RO.
"""

from zoo.recipe import Recipe
from zoo.recipes.scan_cci_affectnet import STAGES, sgd

RECIPE = Recipe(
    architecture="ScanCCI",
    arguments={},
    dataset="affectnet/full_7",
    stages=STAGES,
    test="validation",
    optimizer=sgd,
    ema=None,
    balanced_sampling=True,
)
