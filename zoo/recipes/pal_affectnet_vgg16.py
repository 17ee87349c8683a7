"""PAL on AffectNet with VGG16, 7 classes, 224 px.

    python -m zoo.train pal_affectnet_vgg16 --data tfds --backbone-weights imagenet

Not run by us, so there is no time and no score to expect.

From restatements of the paper: the network, Gaussians at the landmarks, Grad·Input of
the sum of |logits|, and the loss, added with weight 1. Our choices: the first half of
the channels of the last convolution with a 14x14 feature map, the 51 inner landmarks,
Gaussians with a standard deviation of 3 pixels, and all training settings. Faces
without landmarks contribute to the cross-entropy alone. Reported on the published
validation split, so checkpoint selection uses a part held out from train.
"""

from keras import layers

from keras_fer.training import JointAugmentation
from zoo.recipe import Recipe, Stage


def together():
    """Moves images and the heatmaps of their landmarks together."""
    return JointAugmentation(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.04, fill_mode="nearest"),
            layers.RandomTranslation(0.08, 0.08, fill_mode="nearest"),
        ],
        image_layers=[layers.RandomBrightness(0.15), layers.RandomContrast(0.25)],
    )


RECIPE = Recipe(
    architecture="AttentionNetwork",
    arguments={"backbone": "vgg16", "dropout": 0.3},
    dataset="affectnet/full_7",
    stages=(Stage(12, 1e-4, input_size=224, augmentation=together),),
    test="validation",
    batch=32,
    balanced_sampling=True,
    attribution={"channels": "half", "weight": 1.0},
)
