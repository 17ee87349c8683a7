import numpy as np
import pytest

from keras_fer.layers import SpatioChannelAttention
from tests.contract import LayerContract, count, disturb
from tests.layers import reference


class TestContract(LayerContract):
    layer = SpatioChannelAttention
    shapes = ((5, 6, 8),)
    output = (5, 6, 8)
    attention = (5, 6, 8)
    parameters = (9 * 8 * 8 + 8 + 2 * 8, 2 * 8)


def test_published_count():
    layer = SpatioChannelAttention()
    layer.build((None, 28, 28, 512))
    assert count(layer.trainable_weights) == 2_360_832
    assert np.all(layer.prelu.get_weights()[0] == 0.25)


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 4, 5, 6), (1, 6, 4, 2)])
def test_equals_plain_loops(shape):
    features = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = SpatioChannelAttention()
    layer(features)
    disturb(layer)
    outputs, mask = layer(features, return_attention=True)
    for x, m, output in zip(features, mask, outputs, strict=True):
        expected = reference.scan_mask(x, *layer.get_weights())
        np.testing.assert_allclose(m, expected, atol=1e-5)
        np.testing.assert_allclose(output, x * expected, atol=1e-5)
    np.testing.assert_allclose(layer.mask(features), mask, atol=1e-6)


def test_the_mask_alone_builds_the_layer():
    mask = SpatioChannelAttention().mask(np.ones((1, 4, 4, 2), "float32"))
    assert mask.shape == (1, 4, 4, 2)
