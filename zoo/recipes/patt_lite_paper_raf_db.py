"""PAtt-Lite by the paper's settings on RAF-DB, 7 classes, 224 px.

    python -m zoo.train patt_lite_paper_raf_db --data tfds --backbone-weights imagenet

Not run here: no time and no score to expect. The paper claims 95.05 %, with attention
across the batch, which leaks labels: no target.

From the paper and its notebook: sizes, augmentation, batch, class weights; first the
head alone, Adam 1e-3, gradients cut to a norm of 3, patience 5; then the backbone too,
1e-5 falling with the inverse of time, its BatchNorm frozen, patience 20. Their "last
59 layers" of a backbone that has 58 are read as all of it. Our choices: attention
within a face; dropout 0.2 and class weights in both stages, not in one; the rate of the
first stage does not fall on a plateau; both patiences look at a part held out from
train, not at test or at all of train. The test split is opened once, to report.
"""

import keras
from keras import layers

from zoo.recipe import Recipe, Stage, constant


def varied():
    """Flips and contrast."""
    return [layers.RandomFlip("horizontal"), layers.RandomContrast(0.3)]


def adam(rate, **options):
    """Adam; gradients are cut to a global norm of 3."""
    return keras.optimizers.Adam(rate, global_clipnorm=3.0, **options)


def inverse_time(rate, steps, epochs):
    """Half the rate after 80 epochs, a third after 160."""
    return keras.optimizers.schedules.InverseTimeDecay(rate, 80 * steps // epochs, 1.0)


STAGES = (
    Stage(
        100,
        1e-3,
        input_size=224,
        augmentation=varied,
        backbone="frozen",
        schedule=constant,
        patience=5,
    ),
    Stage(
        500,
        1e-5,
        input_size=224,
        augmentation=varied,
        schedule=inverse_time,
        patience=20,
    ),
)

RECIPE = Recipe(
    architecture="PAttLite",
    arguments={},
    dataset="raf_db",
    stages=STAGES,
    test="test",
    batch=8,
    optimizer=adam,
    ema=None,
    class_weights=True,
)
