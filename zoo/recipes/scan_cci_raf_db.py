"""SCAN-CCI on RAF-DB, 7 classes, 224 px.

    python -m zoo.train scan_cci_raf_db --data tfds --backbone-weights FILE

FILE holds the backbone's weights, as written by `save_weights` of
`keras_fer.models.backbones.resnet50(224, cut="stride_16")`. The authors' were trained
on faces, MS1M and then VGGFace2; this package provides none. Not run by us, so there is
no time and no score to expect.

From the authors' code: one attention shared by all crops, SGD with momentum 0.9, rate
0.01 and 1e-4 for the backbone, 5 % less each epoch, weight decay 1e-3 through the
gradient, 60 epochs, batch size 64, flips and color jitter, balanced sampling.

What differs from it:

- BatchNorm learns to the end; the authors' code freezes it after the first epoch.
- Checkpoint selection uses a part held out from train, not test.
- Keras adds to the brightness where torchvision scales it: our 0.2 changes mid-gray as
  much as their 0.4.
- Keras multiplies the gradient by the rate before adding it to the velocity, PyTorch
  multiplies the velocity: after the rate has fallen, steps here still carry gradients
  at the older, higher rates.
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
    """The same for grayscale images."""
    return [
        layers.RandomFlip("horizontal"),
        layers.RandomColorJitter(brightness_factor=0.2, contrast_factor=0.3),
    ]


class BackboneSGD(keras.optimizers.SGD):
    """SGD in which the backbone, a ResNet, learns at a fraction of the rate.

    Args:
        rate: Learning rate or schedule of the rest of the network.
        share: Fraction of it at which the backbone learns.
        decay: Weight decay of all weights, added to their gradients.
        **options: Arguments of `keras.optimizers.SGD`.
    """

    def __init__(self, rate, share, decay, **options):
        super().__init__(rate, momentum=0.9, **options)
        self.share = share
        self.decay = decay

    def update_step(self, gradient, variable, learning_rate):
        """Applies a gradient to a variable."""
        index = self._get_variable_index(variable)
        # The names of the layers of the backbone, and no others, start with conv.
        if self._trainable_variables[index].path.startswith("conv"):
            learning_rate = learning_rate * self.share
        super().update_step(gradient + self.decay * variable, variable, learning_rate)


def sgd(rate, **options):
    """SGD in which the backbone learns at a hundredth of the rate."""
    return BackboneSGD(rate, share=0.01, decay=1e-3, **options)


def decayed(rate, steps, epochs):
    """5 % less each epoch."""
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
