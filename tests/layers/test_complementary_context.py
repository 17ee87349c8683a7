import numpy as np
import pytest

from keras_fer.layers import ComplementaryContext
from tests.contract import LayerContract, count, disturb
from tests.layers import reference


class TestContract(LayerContract):
    layer = ComplementaryContext
    arguments = {"num_classes": 3, "units": 8, "kernel_size": 3}
    shapes = ((5, 6, 16),)
    output = (4, 3)
    attention = (1, 1, 16)
    parameters = (3 + 16 * 8 + 8 + 8 * 3 + 3, 0)
    float32_output = True


def test_published_count():
    layer = ComplementaryContext(7)
    layer.build((None, 14, 14, 1024))
    assert layer.count_params() == 5 + 1024 * 256 + 256 + 256 * 7 + 7


@pytest.mark.parametrize("shape", [(1, 2, 2, 8), (2, 14, 14, 4), (1, 3, 5, 6)])
def test_equals_plain_loops(shape):
    features = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = ComplementaryContext(3, units=5)
    layer(features)
    disturb(layer)
    kernel, w1, b1, w2, b2 = layer.get_weights()
    for x, output in zip(features, np.asarray(layer(features)), strict=True):
        means = reference.channel_means(x)[:, None]
        x = x * reference.sigmoid(reference.convolve_channels(means, kernel))
        h, w = x.shape[0] // 2, x.shape[1] // 2
        quadrants = (x[:h, :w], x[:h, w:], x[h:, :w], x[h:, w:])
        for quadrant, logits in zip(quadrants, output, strict=True):
            hidden = np.maximum(reference.channel_means(quadrant) @ w1 + b1, 0)
            np.testing.assert_allclose(logits, hidden @ w2 + b2, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 4, 8), (1, None, None, 8), (1, 14, 8)])
def test_other_maps_are_refused(shape):
    with pytest.raises(ValueError, match="at least 2, got .*larger input size"):
        ComplementaryContext(3).build(shape)


@pytest.mark.parametrize(
    ("name", "value"), [("num_classes", 0), ("units", 0), ("kernel_size", 4)]
)
def test_other_arguments_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .* integer, got {value}"):
        ComplementaryContext(**{"num_classes": 2, name: value})


@pytest.mark.parametrize(("kernel_size", "weights"), [(5, 5), (7, 7), (None, 3)])
def test_kernel_size_is_that_of_the_channel_attention(kernel_size, weights):
    layer = ComplementaryContext(3, kernel_size=kernel_size)
    layer.build((None, 14, 14, 64))
    assert count(layer.attention.weights) == weights
