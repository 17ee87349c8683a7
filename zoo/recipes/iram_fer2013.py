"""IRAM's attention on the light backbone, FER2013 labels, 7 classes, 64 px.

    python -m zoo.train iram_fer2013 --data DIR --backbone-weights imagenet

About 30 minutes on two CPU cores (TensorFlow 2.21, seed 0); expect 65 % on the public
test split. With KERAS_BACKEND=jax it needs no TensorFlow.

Our choices, not the paper's, whose text was not available: MobileNetV1 to stride 16,
trained on ImageNet, with attention in seven slots; everything learns from the start,
since untrained attention changes what the backbone was trained to see; then BatchNorm
rests, and the end is on nearly plain images.
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
