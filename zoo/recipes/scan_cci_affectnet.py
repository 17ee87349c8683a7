"""SCAN-CCI on AffectNet, 8 classes, 224 px.

    python -m zoo.train scan_cci_affectnet --data tfds --backbone-weights FILE

For FILE see `scan_cci_raf_db`. Not run here: no time and no score to expect.

From the authors' code: an attention for every crop, rate 0.001 and for the backbone
1e-4, and otherwise the settings of `scan_cci_raf_db`. Our choices are those there too.
Reported is the published validation split, so epochs are chosen on a part held out from
train.
"""

from zoo.recipe import Recipe, Stage
from zoo.recipes.scan_cci_raf_db import BackboneSGD, color, decayed


def sgd(rate, **options):
    """The backbone learns at a tenth of the rate."""
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
