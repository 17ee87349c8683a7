import numpy as np
import pytest

from keras_fer.layers import SqueezeExcitation
from tests.contract import LayerContract, disturb
from tests.layers import reference


class TestContract(LayerContract):
    layer = SqueezeExcitation
    arguments = {"ratio": 4}
    shapes = ((5, 6, 16),)
    output = (5, 6, 16)
    attention = (1, 1, 16)
    parameters = (16 * 4 + 4 + 4 * 16 + 16, 0)


@pytest.mark.parametrize("shape", [(1, 1, 1, 8), (2, 3, 5, 32), (1, 7, 4, 20)])
@pytest.mark.parametrize("ratio", [1, 4, 64])
def test_equals_plain_loops(shape, ratio):
    features = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = SqueezeExcitation(ratio)
    layer(features)
    disturb(layer)
    w1, b1, w2, b2 = layer.get_weights()
    outputs = np.asarray(layer(features))
    for x, output in zip(features, outputs, strict=True):
        hidden = np.maximum(reference.channel_means(x) @ w1 + b1, 0)
        expected = x * reference.sigmoid(hidden @ w2 + b2)
        np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize("ratio", [0, 2.5, None])
def test_other_ratios_are_refused(ratio):
    with pytest.raises(
        ValueError, match=f"ratio must be a positive integer, got {ratio}"
    ):
        SqueezeExcitation(ratio)
