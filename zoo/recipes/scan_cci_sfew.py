"""SCAN-CCI on SFEW 2.0, 7 classes, 224 px.

    python -m zoo.train scan_cci_sfew --data tfds --backbone-weights FILE

For FILE see `scan_cci_raf_db`. Not run here: no time and no score to expect.

From the authors' code: an attention for every crop, rate 0.001 and for the backbone
1e-4, 5 % less every epoch, weight decay 1e-4, 60 epochs, batch 64, flips alone, and a
loss in which rare classes weigh more. Our choices: they weigh by the inverse of their
frequency, which the authors' weights (effective numbers, beta 0.9999) equal within 1 %
for classes of up to 200 images; and those of `scan_cci_raf_db`. Reported is the
published validation split, so epochs are chosen on a part held out from train.
"""

from keras import layers

from zoo.recipe import Recipe, Stage
from zoo.recipes.scan_cci_raf_db import BackboneSGD, decayed


def flips():
    """Half of the images are mirrored."""
    return [layers.RandomFlip("horizontal")]


def sgd(rate, **options):
    """The backbone learns at a tenth of the rate."""
    return BackboneSGD(rate, share=0.1, decay=1e-4, **options)


RECIPE = Recipe(
    architecture="ScanCCI",
    arguments={},
    dataset="sfew/aligned",
    stages=(
        Stage(
            60,
            1e-3,
            input_size=224,
            augmentation=flips,
            batch_norm="learned",
            schedule=decayed,
        ),
    ),
    test="validation",
    optimizer=sgd,
    ema=None,
    class_weights=True,
)
