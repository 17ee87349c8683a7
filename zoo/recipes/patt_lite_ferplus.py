"""PAtt-Lite on FER+ votes, 8 classes, 96 px.

    python -m zoo.train patt_lite_ferplus --data DIR --backbone-weights imagenet

This schedule has not been run to its end yet: the bundled weights of patt_lite.ferplus
come from an earlier one (zoo/results). With KERAS_BACKEND=jax it needs no TensorFlow.

These are our choices, not the paper's: images of 64 and then 96 px, votes as soft
labels, AdamW, a stage in which BatchNorm learns the statistics of faces, attention
within one image, a long schedule with strong augmentation, and a last stage on nearly
plain images.
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


def strong():
    """`varied`, and a rectangle erased from every second image."""
    return [*varied(), layers.RandomErasing((0.5, 0.5), scale=(0.02, 0.2))]


def mixup():
    """Blends the images and votes of two faces."""
    return [layers.MixUp(0.2)]


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
        Stage(5, 1e-3, input_size=64, augmentation=varied, batch_norm="learned"),
        Stage(24, 7e-4, input_size=64, augmentation=strong, mixing=mixup),
        Stage(6, 4e-4, input_size=96, augmentation=strong),
        Stage(4, 2e-4, input_size=96, augmentation=plain),
    ),
    selection="loss",  # zoo/results/trials.md says why.
)
