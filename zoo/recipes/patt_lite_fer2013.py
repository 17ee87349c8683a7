"""PAtt-Lite on FER2013 labels, 7 classes, 96 px, from the FER+ weights.

    python -m zoo.train patt_lite_fer2013 --data DIR

About 22 minutes on two CPU cores (TensorFlow 2.21, seed 0); expect 67 % on the public
test split. With KERAS_BACKEND=jax it needs no TensorFlow.

The images are those of FER+ with their original, noisier labels, and the network starts
from weights trained on the FER+ votes. So it is not "trained on FER2013 alone", as the
README says.
"""

from zoo.recipe import Recipe, Stage, constant
from zoo.recipes.patt_lite_ferplus import plain, varied

RECIPE = Recipe(
    architecture="PAttLite",
    arguments={"grayscale": True},
    dataset="fer2013",
    start="patt_lite.ferplus",
    stages=(
        Stage(4, 1e-3, input_size=96, backbone="cached", schedule=constant),
        Stage(4, 4e-4, input_size=96, augmentation=varied),
        Stage(2, 1.5e-4, input_size=96, augmentation=plain),
        Stage(2, 1.5e-4, input_size=96, augmentation=plain),
    ),
    label_smoothing=0.1,
)
