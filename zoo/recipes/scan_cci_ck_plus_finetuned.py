"""SCAN-CCI on CK+, 8 classes, 224 px, from the weights for AffectNet.

    python -m zoo.train scan_cci_affectnet --data tfds --backbone-weights FILE
    python -m zoo.train scan_cci_ck_plus_finetuned --data tfds --fold 0

The second command is one of ten folds; `python -m zoo.crossvalidate` runs all. The
first writes runs/scan_cci_affectnet; `--start` names another run, a preset or a .keras
file. For FILE see `scan_cci_raf_db`. Not run by us, so there is no time and no score to
expect.

As in the authors' code, the network continues from their AffectNet model,
at 1e-5 for all layers. Everything else is that of `scan_cci_ck_plus`.
"""

import dataclasses

from zoo.recipes import scan_cci_ck_plus
from zoo.recipes.scan_cci_raf_db import BackboneSGD


def sgd(rate, **options):
    """SGD in which the backbone learns at the same rate."""
    return BackboneSGD(rate, share=1.0, decay=1e-3, **options)


(STAGE,) = scan_cci_ck_plus.RECIPE.stages

RECIPE = dataclasses.replace(
    scan_cci_ck_plus.RECIPE,
    start="runs/scan_cci_affectnet",
    stages=(dataclasses.replace(STAGE, rate=1e-5),),
    optimizer=sgd,
)
