"""SCAN-CCI on RAF-DB, 7 classes, 224 px.

    python -m zoo.train scan_cci_raf_db --data tfds --backbone-weights FILE

FILE holds the backbone's weights, written by `save_weights` of
`keras_fer.models.backbones.resnet50(224, cut="stride_16")`; the authors' were trained
on faces, MS1M and then VGGFace2, and none come with this package. Not run here: no time
and no score to expect.

From the authors' code: one attention shared by all crops, SGD with momentum 0.9, rate
0.01 and for the backbone 1e-4, 5 % less every epoch, weight decay 1e-3 through the
gradient, 60 epochs, batch 64, flips and color jitter, classes drawn alike. Our
choices: BatchNorm learns to the end, and epochs are chosen on a part held out from
train, where the authors' code rests BatchNorm and chooses on test. Keras shifts
brightness where their library scales it: our 0.2 moves mid-gray as far as their 0.4.
"""

import keras
from keras import layers

from zoo.recipe import Recipe, Stage


def color():
    """Flips and color jitter: contrast 0.7 to 1.3, saturation 0.75 to 1.25."""
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomColorJitter(
            brightness_factor=0.2,
            contrast_factor=0.3,
            saturation_factor=(3 / 7, 5 / 9),
            hue_factor=0.1,
        ),
    ]


def gray():
    """The same for gray images, which have no colors."""
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomColorJitter(brightness_factor=0.2, contrast_factor=0.3),
    ]


class BackboneSGD(keras.optimizers.SGD):
    """SGD for a network whose backbone, a ResNet, learns at a share of the rate.

    Args:
        rate: Rate or schedule of what follows the backbone.
        share: That of the backbone.
        decay: Of all weights, added to their gradients.
        **options: Those of every Keras optimizer.
    """

    def __init__(self, rate, share, decay, **options):
        super().__init__(rate, momentum=0.9, **options)
        self.share = share
        self.decay = decay

    def update_step(self, gradient, variable, learning_rate):
        """One step of a variable."""
        index = self._get_variable_index(variable)
        # Layers of the backbone, and they alone, are named conv….
        if self._trainable_variables[index].path.startswith("conv"):
            learning_rate = learning_rate * self.share
        super().update_step(gradient + self.decay * variable, variable, learning_rate)


def sgd(rate, **options):
    """The backbone learns at a hundredth of the rate."""
    return BackboneSGD(rate, share=0.01, decay=1e-3, **options)


def decayed(rate, steps, epochs):
    """5 % less every epoch."""
    return keras.optimizers.schedules.ExponentialDecay(
        rate, steps // epochs, 0.95, staircase=True
    )


RECIPE = Recipe(
    architecture="ScanCCI",
    arguments={"shared": True},
    dataset="raf_db",
    stages=(
        Stage(
            60,
            1e-2,
            input_size=224,
            augmentation=color,
            batch_norm="learned",
            schedule=decayed,
        ),
    ),
    test="test",
    optimizer=sgd,
    ema=None,
    balanced_sampling=True,
)
