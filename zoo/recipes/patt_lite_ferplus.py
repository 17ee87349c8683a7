"""PAtt-Lite on FER+ votes, 8 classes, 96 px: the default weights of the zoo.

    python -m zoo.train patt_lite_ferplus --data DIR --trunk-weights imagenet

About 75 minutes on two CPU cores (TensorFlow 2.21, seed 0); expect 87 % on the FER+
majority of the public test split. With KERAS_BACKEND=jax it needs no TensorFlow.

Our choices, not the paper's: growing pictures of 64 and 96 px, votes as soft labels,
AdamW, the stage in which BatchNorm learns the statistics of faces, attention within a
face, and a last stage on nearly plain pictures.
"""

from keras import layers

from zoo.recipe import Recipe, Stage, constant


def varied():
    """Changes of place, size and light that leave the label as it is."""
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.04, fill_mode="reflect"),
        layers.RandomTranslation(0.08, 0.08, fill_mode="reflect"),
        layers.RandomZoom(0.12, fill_mode="reflect"),
        layers.RandomBrightness(0.15),
        layers.RandomContrast(0.25),
    ]


def plain():
    """Nearly the pictures as they are, to end on what the network will see."""
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(0.04, 0.04, fill_mode="reflect"),
    ]


RECIPE = Recipe(
    architecture="PAttLite",
    arguments={"grayscale": True},
    dataset="ferplus",
    stages=(
        Stage(4, 1e-3, input_size=64, trunk="cached", schedule=constant),
        Stage(6, 1e-3, input_size=64, augmentation=varied, batch_norm="learned"),
        Stage(16, 5e-4, input_size=64, augmentation=varied),
        Stage(10, 4e-4, input_size=96, augmentation=varied),
        Stage(6, 2e-4, input_size=96, augmentation=plain),
    ),
)
