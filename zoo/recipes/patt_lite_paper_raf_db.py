"""PAtt-Lite with the paper's settings on RAF-DB, 7 classes, 224 px.

    python -m zoo.train patt_lite_paper_raf_db --data tfds --backbone-weights imagenet

Not run by us, so there is no time and no score to expect. The paper claims 95.05 %,
with attention across the batch, which leaks labels: that is no target.

From the paper and its notebook: image size, augmentation, batch size and class weights.
Stage 1 trains the head alone: Adam at 1e-3, gradients clipped to a norm of 3, patience
5. Stage 2 also trains the backbone: 1e-5 with inverse-time decay, BatchNorm frozen,
patience 20.

What differs from them:

- Attention is within one image.
- Checkpoint selection and both patiences use a part held out from train, not test or
  all of train; the test split is only reported on.
- Any better validation accuracy counts for patience; the notebook's early stopping asks
  for `min_delta=0.003`.
- The rate of stage 1 is constant; theirs also falls on a plateau.
- Dropout of 0.2 and class weights are used in both stages, not in one. The notebook's
  third Dropout is left out.
- The whole backbone learns in stage 2. The notebook's "last 59 layers" are more than
  the 58 it has; and read literally, its stage 2 trains nothing of the backbone.
"""

import keras
from keras import layers

from zoo.recipe import Recipe, Stage, constant


def varied():
    """Flips and contrast."""
    return [layers.RandomFlip("horizontal"), layers.RandomContrast(0.3)]


def adam(rate, **options):
    """Adam, gradients clipped to a global norm of 3."""
    return keras.optimizers.Adam(rate, global_clipnorm=3.0, **options)


def inverse_time(rate, steps, epochs):
    """Half of the rate after 80 epochs, a third after 160."""
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
