r"""SCAN-CCI for FED-RO, 7 classes, 224 px: trained on AffectNet and RAF-DB.

    python -m zoo.train scan_cci_fed_ro --data tfds --backbone-weights FILE
    python -m zoo.evaluate runs/scan_cci_fed_ro --data tfds \
        --dataset fed_ro --split test

For FILE see `scan_cci_raf_db`. Not run by us, so there is no time and no score to
expect.

FED-RO is 400 images, all for testing. As by the authors, the network is trained on
AffectNet and RAF-DB together, with the settings of `scan_cci_affectnet`. Our choices:
the shares, which are about those of the images; balanced sampling within each dataset;
checkpoint selection on a part held out from both. `test` below is a split of AffectNet;
the second command names FED-RO.
"""

from zoo.recipe import Recipe
from zoo.recipes.scan_cci_affectnet import STAGES, sgd

RECIPE = Recipe(
    architecture="ScanCCI",
    arguments={},
    dataset="affectnet/full_7",
    mixture={"affectnet/full_7": 0.96, "raf_db": 0.04},
    stages=STAGES,
    test="validation",
    optimizer=sgd,
    ema=None,
    balanced_sampling=True,
)
