import numpy as np
import pytest

from keras_fer.layers import LocalGlobalAttention
from tests.contract import LayerContract, count, disturb
from tests.layers import reference

SCAN = 9 * 4 * 4 + 4 + 2 * 4


@pytest.mark.medium
class TestOwnMasks(LayerContract):
    layer = LocalGlobalAttention
    shapes = ((10, 10, 4),)
    output = (8,)
    attention = (2, 10, 10, 4)
    number = 98  # so that every crop is the maximum somewhere, and learns
    parameters = (26 * SCAN, 26 * 8)


@pytest.mark.medium
class TestSharedMaskAndOfficialBottomStrip(LayerContract):
    layer = LocalGlobalAttention
    arguments = {"shared": True, "official_bottom_strip": True}
    shapes = ((20, 20, 2),)
    output = (4,)
    attention = (2, 20, 20, 2)
    parameters = (2 * (9 * 2 * 2 + 2 + 4), 2 * 4)


# As in the paper's code for 28; where nothing would be left, as equal as possible.
CUTS = {
    28: [6, 6, 6, 6, 4],
    14: [3, 3, 3, 3, 2],
    12: [3, 3, 2, 2, 2],
    8: [2, 2, 2, 1, 1],
    5: [1, 1, 1, 1, 1],
}


@pytest.mark.parametrize("side", CUTS)
def test_crops_tile_the_map(side):
    layer = LocalGlobalAttention(shared=True)
    features = np.arange(side * side, dtype="float32").reshape(1, side, side, 1)
    layer.build(features.shape)
    crops = [np.asarray(crop)[0, ..., 0] for crop in layer.crops(features)]
    sizes = [(h, w) for h in CUTS[side] for w in CUTS[side]]
    assert [crop.shape for crop in crops] == sizes
    values = np.concatenate([crop.ravel() for crop in crops])
    assert sorted(values) == list(range(side * side))
    assert crops[6][0, 0] == features[0, CUTS[side][0], CUTS[side][0], 0]


def cut(x):
    """25 crops of a 28x28 map, written out."""
    edges = [0, 6, 12, 18, 24, 28]
    return [
        x[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
        for i in range(5)
        for j in range(5)
    ]


@pytest.mark.parametrize("shared", [True, False])
def test_equals_plain_loops(shared):
    features = np.random.default_rng(0).normal(size=(1, 28, 28, 2)).astype("float32")
    layer = LocalGlobalAttention(shared)
    layer(features)
    disturb(layer)
    pooled = []
    for index, crop in enumerate(cut(features[0])):
        attention = layer.local_attentions[0 if shared else index]
        mask = reference.scan_mask(crop, *attention.get_weights())
        pooled.append(reference.channel_means(crop * mask))
    local = [max(p[c] for p in pooled) for c in range(2)]
    mask = reference.scan_mask(features[0], *layer.global_attention.get_weights())
    whole = reference.channel_means(features[0] * mask)
    expected = np.concatenate([local, whole])
    expected /= np.sqrt(np.sum(expected**2))
    np.testing.assert_allclose(layer(features)[0], expected, atol=1e-5)


def test_the_official_bottom_strip_is_its_rows():
    features = np.arange(28 * 28, dtype="float32").reshape(1, 28, 28, 1)
    ours, official = (
        LocalGlobalAttention(official_bottom_strip=flag) for flag in (False, True)
    )
    for layer in (ours, official):
        layer.build(features.shape)
    for index, (a, b) in enumerate(
        zip(ours.crops(features), official.crops(features), strict=True)
    ):
        if index in (20, 21, 22, 23):
            row = features[0, 24 + index - 20, :24, 0]
            np.testing.assert_array_equal(np.asarray(b)[0, ..., 0], row.reshape(4, 6))
            assert not np.array_equal(a, b)
        else:
            np.testing.assert_array_equal(a, b)


def test_masks_lie_where_their_crops_were():
    features = np.random.default_rng(0).normal(size=(1, 28, 28, 2)).astype("float32")
    for flag in (False, True):
        layer = LocalGlobalAttention(official_bottom_strip=flag)
        _, masks = layer(features, return_attention=True)
        back = layer.paste_crops(layer.crops(features))
        np.testing.assert_array_equal(back, features)
        crops = [
            attention.mask(crop)
            for attention, crop in zip(
                layer.local_attentions, layer.crops(features), strict=True
            )
        ]
        np.testing.assert_allclose(masks[:, 0], layer.paste_crops(crops), atol=1e-6)
        np.testing.assert_allclose(
            masks[:, 1], layer.global_attention.mask(features), atol=1e-6
        )


def test_published_counts():
    for shared, scans in ((False, 26), (True, 2)):
        layer = LocalGlobalAttention(shared)
        layer.build((None, 28, 28, 512))
        assert count(layer.trainable_weights) == scans * 2_360_832


@pytest.mark.parametrize("shape", [(1, 4, 8, 2), (1, None, None, 2), (1, 28, 2)])
def test_maps_too_small_to_crop_are_refused(shape):
    with pytest.raises(ValueError, match="at least 5, got .*larger input size"):
        LocalGlobalAttention().build(shape)


def test_the_official_strip_needs_four_rows():
    with pytest.raises(ValueError, match="whose lowest strip has 2"):
        LocalGlobalAttention(official_bottom_strip=True).build((1, 14, 14, 2))
