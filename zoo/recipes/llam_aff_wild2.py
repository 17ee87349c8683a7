"""LLAM on Aff-Wild2, 7 classes, 112 px.

    python -m zoo.train llam_aff_wild2 --data tfds --backbone-weights none

Not run by us, so there is no time and no score to expect. The paper claims accuracy
0.49, macro-F1 0.38 and 0.67 F1 + 0.33 accuracy = 0.42 on the validation split of 2020.

The paper's text was not available, so these are our choices: a randomly initialized
ResNet-18 with attention in every residual branch, and all training settings.

Reported on the published validation split, so checkpoint selection uses a part held out
from train: whole videos, since frames of one video are nearly identical.
"""

from keras import layers

from zoo.recipe import Recipe, Stage


def varied():
    """Changes of position and light that preserve the label."""
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(0.08, 0.08, fill_mode="reflect"),
        layers.RandomBrightness(0.15),
        layers.RandomContrast(0.25),
    ]


RECIPE = Recipe(
    architecture="LLAM",
    arguments={"backbone": "resnet18", "dropout": 0.3},
    dataset="aff_wild2/expr_7",
    stages=(Stage(8, 1e-3, input_size=112, augmentation=varied, batch_norm="learned"),),
    test="validation",
    batch=256,
    balanced_sampling=True,
)
