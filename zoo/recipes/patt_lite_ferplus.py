"""PAtt-Lite on FER+ votes, 8 classes, 96 px.

    python -m zoo.train patt_lite_ferplus --data DIR --backbone-weights imagenet

The bundled weights took these stages in two runs (TensorFlow 2.21, seed 0): the first
five when the epoch with the highest accuracy was kept, the last two as they are here.
The whole has not been run at once. With KERAS_BACKEND=jax it needs no TensorFlow.

These are our choices, not the paper's: images of 64 and then 96 px, votes as soft
labels, AdamW, two stages in which BatchNorm learns the statistics of faces, attention
within one image, and a long last stage on nearly plain images.
"""

from keras import layers

from zoo.recipe import Recipe, Stage, constant


def varied():
    """Changes of position, size and light that preserve the label."""
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.04, fill_mode="reflect"),
        layers.RandomTranslation(0.08, 0.08, fill_mode="reflect"),
        layers.RandomZoom(0.12, fill_mode="reflect"),
        layers.RandomBrightness(0.15),
        layers.RandomContrast(0.25),
    ]


def plain():
    """Nearly plain images, like those that the network will be used on."""
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomTranslation(0.04, 0.04, fill_mode="reflect"),
    ]


RECIPE = Recipe(
    architecture="PAttLite",
    arguments={"grayscale": True},
    dataset="ferplus",
    stages=(
        Stage(4, 1e-3, input_size=64, backbone="cached", schedule=constant),
        Stage(6, 1e-3, input_size=64, augmentation=varied, batch_norm="learned"),
        Stage(16, 5e-4, input_size=64, augmentation=varied),
        Stage(10, 4e-4, input_size=96, augmentation=varied),
        Stage(6, 2e-4, input_size=96, augmentation=plain),
        Stage(5, 7e-4, input_size=96, augmentation=varied, batch_norm="learned"),
        Stage(10, 4e-4, input_size=96, augmentation=plain),
    ),
    selection="loss",  # zoo/results/trials.md says why.
    duplicates="exact",
)
