"""LLAM on Aff-Wild2, 7 classes, 112 px.

    python -m zoo.train llam_aff_wild2 --data tfds --backbone-weights none

Not run here: no time and no score to expect. The paper claims, on the validation split
of 2020, accuracy 0.49, macro-F1 0.38 and 0.67 F1 + 0.33 accuracy = 0.42.

Our choices, not the paper's, whose text was not available: ResNet-18 from random
weights with attention in every residual branch, and the whole of the training.

Reported is the published validation split, so epochs are chosen on a part held out from
train: whole videos, for frames of one are nearly the same image.
"""

from keras import layers

from zoo.recipe import Recipe, Stage


def varied():
    """Changes of place and light that leave the label as it is."""
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
