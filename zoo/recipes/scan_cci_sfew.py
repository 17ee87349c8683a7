"""SCAN-CCI on SFEW 2.0, 7 classes, 224 px.

    python -m zoo.train scan_cci_sfew --data tfds --backbone-weights FILE

For FILE see `scan_cci_raf_db`. Not run by us, so there is no time and no score to
expect.

From the authors' code: separate attention for each crop, rate 0.001 and 1e-4 for the
backbone, 5 % less each epoch, weight decay 1e-4, 60 epochs, batch size 64, flips alone,
and a loss in which rare classes weigh more. Our choices: classes weigh by the inverse
of their frequency, which is within 1 % of the authors' weights (effective numbers, beta
0.9999) for classes of up to 200 images; and those of `scan_cci_raf_db`. Keras divides
the weighted loss by the number of images in the batch, PyTorch by the sum of their
weights. Reported on the published validation split, so checkpoint selection uses a part
held out from train.
"""

from keras import layers

from zoo.recipe import Recipe, Stage
from zoo.recipes.scan_cci_raf_db import BackboneSGD, decayed


def flips():
    """Mirrors half of the images."""
    return [layers.RandomFlip("horizontal")]


def sgd(rate, **options):
    """SGD in which the backbone learns at a tenth of the rate."""
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
