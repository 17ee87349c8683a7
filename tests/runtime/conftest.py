import keras
import numpy as np
import pytest

from keras_fer import models

LABELS = ["calm", "tense", "amused"]


@pytest.fixture(scope="session")
def photos():
    """Noise in color, uint8 (5, 40, 30, 3)."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (5, 8, 6, 3))
    return coarse.repeat(5, axis=1).repeat(5, axis=2).astype("uint8")


@pytest.fixture(scope="session")
def model(photos):
    """A small network whose predictions differ between images."""
    keras.utils.set_random_seed(0)
    model = models.PAttLite(
        labels=LABELS, input_size=48, grayscale=True, backbone_weights=None
    )
    model.get_layer("probabilities").temperature = 0.7
    model.compile("sgd", "sparse_categorical_crossentropy")
    # BatchNorm learns statistics of these images.
    model.fit(photos, np.arange(5) % 3, epochs=8, verbose=0)
    return model
