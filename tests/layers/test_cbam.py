import numpy as np
import pytest

from keras_fer.layers import CBAM
from tests.contract import LayerContract, disturb
from tests.layers import reference


class TestContract(LayerContract):
    layer = CBAM
    arguments = {"ratio": 4, "kernel_size": 3}
    shapes = ((5, 6, 16),)
    output = (5, 6, 16)
    attention = (5, 6, 16)
    parameters = (16 * 4 + 4 + 4 * 16 + 16 + 3 * 3 * 2, 0)


@pytest.mark.parametrize("shape", [(1, 1, 1, 8), (2, 3, 5, 32), (1, 9, 8, 6)])
@pytest.mark.parametrize("size", [1, 7])
def test_equals_plain_loops(shape, size):
    features = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = CBAM(ratio=2, kernel_size=size)
    layer(features)
    disturb(layer)
    w1, b1, w2, b2, kernel = layer.get_weights()
    for x, output in zip(features, np.asarray(layer(features)), strict=True):
        channel = sum(
            np.maximum(pooled @ w1 + b1, 0) @ w2 + b2
            for pooled in (reference.channel_means(x), reference.channel_maxima(x))
        )
        refined = x * reference.sigmoid(channel)
        described = reference.spatial_means_and_maxima(refined)
        expected = refined * reference.sigmoid(reference.convolve(described, kernel))
        np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize(
    "arguments", [{"ratio": 0}, {"kernel_size": 4}, {"kernel_size": 0}]
)
def test_other_arguments_are_refused(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(
        ValueError, match=rf"{name} must be .*positive integer, got {value}\."
    ):
        CBAM(**arguments)
