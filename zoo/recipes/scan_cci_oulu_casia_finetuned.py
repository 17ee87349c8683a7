"""SCAN-CCI on Oulu-CASIA, 7 classes, 224 px, from the weights for FED-RO.

    python -m zoo.train scan_cci_fed_ro --data tfds --backbone-weights FILE
    python -m zoo.train scan_cci_oulu_casia_finetuned --data tfds --fold 0

The second command is one of ten folds; `python -m zoo.crossvalidate` runs all. The
first writes runs/scan_cci_fed_ro; `--start` names another run, a preset or a .keras
file. For FILE see `scan_cci_raf_db`. Not run by us, so there is no time and no score to
expect.

As in the authors' code, the network continues from their FED-RO model, trained on
AffectNet and RAF-DB, at 1e-5 for all layers. Everything else is that of
`scan_cci_oulu_casia`.
"""

import dataclasses

from zoo.recipes import scan_cci_oulu_casia
from zoo.recipes.scan_cci_ck_plus_finetuned import sgd

(STAGE,) = scan_cci_oulu_casia.RECIPE.stages

RECIPE = dataclasses.replace(
    scan_cci_oulu_casia.RECIPE,
    start="runs/scan_cci_fed_ro",
    stages=(dataclasses.replace(STAGE, rate=1e-5),),
    optimizer=sgd,
)
