"""IRAM with a MobileNetV1 backbone on FER2013, 7 classes, 64 px.

    python -m zoo.train iram_fer2013 --data DIR --backbone-weights imagenet

About 30 minutes on two CPU cores (TensorFlow 2.21, seed 0); expect 65 % on the public
test split. With KERAS_BACKEND=jax it needs no TensorFlow.

The paper's text was not available, so these are our choices: MobileNetV1 up to stride
16, pretrained on ImageNet, with attention at seven insertion points. All weights learn
from the start, since untrained attention changes the features that the backbone was
pretrained to compute; then BatchNorm is frozen, and the last stage is on nearly plain
images.
"""

from zoo.recipe import Recipe, Stage
from zoo.recipes.patt_lite_ferplus import plain, varied

RECIPE = Recipe(
    architecture="IRAM",
    arguments={
        "backbone": "mobilenet_v1",
        "grayscale": True,
        "dropout": 0.3,
    },
    dataset="fer2013",
    stages=(
        Stage(7, 1e-3, input_size=64, augmentation=varied, batch_norm="learned"),
        Stage(8, 5e-4, input_size=64, augmentation=varied),
        Stage(3, 1.5e-4, input_size=64, augmentation=plain),
    ),
    label_smoothing=0.1,
)
