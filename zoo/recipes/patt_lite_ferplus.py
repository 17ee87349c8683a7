"""PAtt-Lite on FER+ votes, 8 classes, 64 px: the default weights of the zoo.

    python -m zoo.train patt_lite_ferplus --data DIR --trunk-weights FILE

Our choices, not the paper's: 64 px, votes as soft labels, AdamW, the stage in which
BatchNorm learns the statistics of faces, and attention within a face.
"""

from keras import layers

from zoo.recipe import Recipe, Stage


def augmentation():
    """Small changes of place, size and light; the label survives them."""
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.04, fill_mode="reflect"),
        layers.RandomTranslation(0.08, 0.08, fill_mode="reflect"),
        layers.RandomZoom(0.12, fill_mode="reflect"),
        layers.RandomBrightness(0.15),
        layers.RandomContrast(0.25),
    ]


RECIPE = Recipe(
    architecture="PAttLite",
    arguments={"grayscale": True},
    dataset="ferplus",
    augmentation=augmentation,
    stages=(
        Stage(epochs=6, rate=1e-3, batch_norm="learned", input_size=64),
        Stage(epochs=16, rate=5e-4, batch_norm="frozen", input_size=64),
        Stage(epochs=8, rate=4e-4, batch_norm="frozen", input_size=96),
    ),
)
