import itertools

import keras
import numpy as np
import pytest

from keras_fer.layers import InformationReuseAttention, LosslessAttention
from tests.contract import LayerContract, disturb
from tests.layers import reference


class TestContract(LayerContract):
    layer = LosslessAttention
    arguments = {"residual": True, "kernel_size": 5}
    shapes = ((5, 6, 16), (3, 3, 16))
    output = (5, 6, 16)
    attention = (1, 1, 16)
    parameters = (5 * 4, 0)


class TestWithoutPrevious(LayerContract):
    layer = LosslessAttention
    arguments = {"use_previous": False, "use_max": False}
    shapes = ((5, 6, 16),)
    output = (5, 6, 16)
    attention = (1, 1, 16)
    parameters = (3, 0)


def plain(layer, x, previous):
    """Slow and plain, for one image."""
    kernel, *spatial = layer.get_weights()
    maps = [x, previous] if layer.use_previous else [x]
    descriptors = []
    for each in maps:
        descriptors.append(reference.channel_means(each))
        if layer.use_max:
            descriptors.append(reference.channel_maxima(each))
    mask = reference.sigmoid(
        reference.convolve_channels(np.stack(descriptors, axis=1), kernel)
    )
    attention = np.broadcast_to(mask, x.shape)
    if spatial:
        described = [reference.spatial_means_and_maxima(x * mask)]
        if layer.use_previous:
            described.append(reference.spatial_means_and_maxima(previous))
        positions = reference.convolve(np.concatenate(described, axis=-1), spatial[0])
        attention = attention * reference.sigmoid(positions)
    return x * attention + (x if layer.residual else 0)


FLAGS = list(itertools.product([True, False], repeat=4))


@pytest.mark.parametrize(("previous", "maxima", "residual", "spatial"), FLAGS)
def test_equals_plain_loops(previous, maxima, residual, spatial):
    rng = np.random.default_rng(0)
    layer = LosslessAttention(previous, maxima, residual, spatial)
    for shape in ((2, 4, 5, 8), (1, 1, 1, 8), (1, 8, 3, 8)):
        features, before = rng.normal(size=(2, *shape)).astype("float32")
        arguments = (features, before) if previous else (features,)
        layer(*arguments)
        disturb(layer)
        outputs = np.asarray(layer(*arguments))
        for x, p, output in zip(features, before, outputs, strict=True):
            np.testing.assert_allclose(output, plain(layer, x, p), atol=1e-5)


def test_iram_is_llam_with_spatial_attention():
    features, before = np.random.default_rng(0).normal(size=(2, 2, 6, 6, 8))
    llam, iram = LosslessAttention(spatial=True), InformationReuseAttention()
    llam(features, before), iram(features, before)
    iram.set_weights(llam.get_weights())
    np.testing.assert_allclose(iram(features, before), llam(features, before))


def test_channels_look_at_the_previous_map():
    features, before = np.random.default_rng(0).normal(size=(2, 1, 6, 6, 8))
    layer = LosslessAttention()
    changed = before.copy()
    changed[..., 3] += 5
    outputs, others = (np.asarray(layer(features, p)) for p in (before, changed))
    difference = outputs != others
    # With k = 3 a channel reaches its neighbors, and no other.
    reached = difference.any(axis=(0, 1, 2))
    assert reached.tolist() == [c in (2, 3, 4) for c in range(8)]


def test_a_missing_or_other_previous_map_is_refused():
    features = np.zeros((1, 4, 4, 8))
    with pytest.raises(ValueError, match="previous must have.*got shape None"):
        LosslessAttention()(features)
    with pytest.raises(ValueError, match=r"got shape \(1, 4, 4, 4\).*1x1"):
        LosslessAttention()(features, np.zeros((1, 4, 4, 4)))
    with pytest.raises(ValueError, match="kernel_size must be an odd.*got 4"):
        LosslessAttention(kernel_size=4)


def test_any_size_goes_in():
    symbol = keras.KerasTensor((None, None, None, 8))
    for layer in (LosslessAttention(), InformationReuseAttention()):
        assert layer(symbol, symbol).shape == symbol.shape
