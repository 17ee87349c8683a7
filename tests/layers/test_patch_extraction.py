import keras
import numpy as np
import pytest

from keras_fer.layers import PatchExtraction
from tests.contract import LayerContract


class TestContract(LayerContract):
    layer = PatchExtraction
    arguments = {"filters": 6}
    shapes = ((7, 7, 4),)
    output = (2, 2, 6)
    parameters = (16 * 4 + 4 * 6 + 6 + 4 * 6 + 6 * 6 + 6 + 6 * 6 + 6, 0)


def test_published_size_and_count():
    layer = PatchExtraction(256)
    assert layer(np.zeros((2, 14, 14, 512), "float32")).shape == (2, 2, 2, 256)
    separable = 4 * 4 * 512 + 512 * 256 + 256, 2 * 2 * 256 + 256 * 256 + 256
    assert layer.count_params() == sum(separable) + 256 * 256 + 256


def test_equals_the_published_layers_on_the_published_size():
    """Stride 4, "same", then stride 2, "valid", then 1x1, as in the notebook."""
    features = np.random.default_rng(0).normal(size=(2, 14, 14, 8)).astype("float32")
    layer = PatchExtraction(16)
    outputs = layer(features)
    published = keras.Sequential(
        [
            keras.layers.SeparableConv2D(16, 4, 4, padding="same", activation="relu"),
            keras.layers.SeparableConv2D(16, 2, 2, padding="valid", activation="relu"),
            keras.layers.Conv2D(16, 1, activation="relu"),
        ]
    )
    published.build(features.shape)
    published.set_weights(layer.get_weights())
    np.testing.assert_allclose(outputs, published(features), atol=1e-5)


@pytest.mark.parametrize("side", range(3, 17))
def test_every_map_gives_four_patches(side):
    layer = PatchExtraction(4)
    symbolic = layer(keras.KerasTensor((None, side, side, 8)))
    eager = layer(np.ones((1, side, side, 8), "float32"))
    assert symbolic.shape[1:] == eager.shape[1:] == (2, 2, 4)


@pytest.mark.parametrize("shape", [(1, 2, 2, 8), (1, None, None, 8), (1, 14, 8)])
def test_other_maps_are_refused(shape):
    with pytest.raises(ValueError, match="at least 3, got"):
        PatchExtraction()(keras.KerasTensor(shape))


def test_other_filters_are_refused():
    with pytest.raises(ValueError, match="filters must be a positive integer, got 0"):
        PatchExtraction(0)
