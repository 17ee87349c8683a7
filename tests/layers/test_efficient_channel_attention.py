import numpy as np
import pytest

from keras_fer.layers import EfficientChannelAttention
from tests.contract import LayerContract, disturb
from tests.layers import reference


class TestContract(LayerContract):
    layer = EfficientChannelAttention
    arguments = {"kernel_size": 5}
    shapes = ((5, 6, 16),)
    output = (5, 6, 16)
    attention = (1, 1, 16)
    parameters = (5, 0)


# ECA-Net, section 3.2, and the counts of its authors' code.
@pytest.mark.parametrize(
    ("channels", "size"),
    [(64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)],
)
def test_kernel_fits_the_channels(channels, size):
    layer = EfficientChannelAttention()
    layer.build((None, 4, 4, channels))
    assert layer.count_params() == size


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 3, 5, 32), (1, 7, 4, 20)])
@pytest.mark.parametrize("size", [None, 1, 7])
def test_equals_plain_loops(shape, size):
    features = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = EfficientChannelAttention(size)
    layer(features)
    disturb(layer)
    (kernel,) = layer.get_weights()
    for x, output in zip(features, np.asarray(layer(features)), strict=True):
        means = reference.channel_means(x)[:, None]
        expected = x * reference.sigmoid(reference.convolve_channels(means, kernel))
        np.testing.assert_allclose(output, expected, atol=1e-5)


@pytest.mark.parametrize("size", [0, 2, -1, 3.0])
def test_other_kernels_are_refused(size):
    with pytest.raises(
        ValueError, match=f"kernel_size must be an odd positive integer, got {size}"
    ):
        EfficientChannelAttention(size)
