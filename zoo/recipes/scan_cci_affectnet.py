"""SCAN-CCI on AffectNet, 8 classes, 224 px.

    python -m zoo.train scan_cci_affectnet --data tfds --backbone-weights FILE

For FILE see `scan_cci_raf_db`. Not run by us, so there is no time and no score to
expect.

From the authors' code: separate attention for each crop, rate 0.001 and 1e-4 for the
backbone; otherwise the settings and differences of `scan_cci_raf_db`. Reported on the
published validation split, so checkpoint selection uses a part held out from train.
"""

from zoo.recipe import Recipe, Stage
from zoo.recipes.scan_cci_raf_db import BackboneSGD, color, decayed


def sgd(rate, **options):
    """SGD in which the backbone learns at a tenth of the rate."""
    return BackboneSGD(rate, share=0.1, decay=1e-3, **options)


STAGES = (
    Stage(
        60,
        1e-3,
        input_size=224,
        augmentation=color,
        batch_norm="learned",
        schedule=decayed,
    ),
)

RECIPE = Recipe(
    architecture="ScanCCI",
    arguments={},
    dataset="affectnet/full_8",
    stages=STAGES,
    test="validation",
    optimizer=sgd,
    ema=None,
    balanced_sampling=True,
)
