import keras
import numpy as np
import pytest
from keras import layers

from keras_fer.training import JointAugmentation
from tests.contract import assert_config_is_complete

MOVES = [
    [layers.RandomFlip("horizontal")],
    [layers.RandomRotation(0.1, fill_mode="constant")],
    [layers.RandomTranslation(0.2, 0.2, fill_mode="nearest")],
    [layers.RandomCrop(12, 10), layers.RandomFlip()],
    [layers.RandomZoom(0.3, fill_mode="reflect")],
]


@pytest.mark.parametrize("moves", MOVES)
def test_images_and_heatmaps_move_alike(moves):
    """An image that shows its own heatmap still does so afterwards."""
    heatmap = np.random.default_rng(0).random((16, 16, 16)).astype("float32")
    inputs = {"image": heatmap[..., None] * 255, "heatmap": heatmap}
    moved = JointAugmentation(moves)(inputs, training=True)
    image = np.asarray(moved["image"])[..., 0] / 255
    np.testing.assert_allclose(moved["heatmap"], image, atol=1e-5)
    assert not np.array_equal(image[:, :10, :10], heatmap[:, :10, :10])


def test_a_flip_mirrors_the_heatmap_too():
    heatmap = np.random.default_rng(0).random((64, 4, 4)).astype("float32")
    image = np.tile(np.arange(4.0)[None, None, :, None], (64, 4, 1, 3))
    layer = JointAugmentation([layers.RandomFlip("horizontal", seed=0)])
    moved = layer({"image": image, "heatmap": heatmap}, training=True)
    flipped = np.asarray(moved["image"])[:, 0, 0, 0] == 3
    assert 10 < flipped.sum() < 54
    expected = np.where(flipped[:, None, None], heatmap[..., ::-1], heatmap)
    np.testing.assert_allclose(moved["heatmap"], expected, atol=1e-6)


def test_light_changes_the_image_alone():
    inputs = {
        "image": np.full((8, 4, 4, 1), 100, "uint8"),
        "heatmap": np.full((8, 4, 4), 0.5, "float32"),
        "name": np.arange(8),
    }
    layer = JointAugmentation([], image_layers=[layers.RandomBrightness(0.5)])
    moved = layer(inputs, training=True)
    assert np.asarray(moved["image"]).std() > 1
    np.testing.assert_allclose(moved["heatmap"], 0.5, atol=1e-6)
    np.testing.assert_array_equal(moved["name"], np.arange(8))
    still = layer(inputs, training=False)
    np.testing.assert_allclose(still["image"], 100)


def test_heatmaps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"heatmap \(2, 3, 4\) and image \(2, 4, 4"):
        image, heatmap = np.ones((2, 4, 4, 1)), np.ones((2, 3, 4))
        JointAugmentation([])({"image": image, "heatmap": heatmap})


def test_config():
    layer = JointAugmentation(
        [layers.RandomFlip("horizontal", seed=1)], [layers.RandomContrast(0.2, seed=1)]
    )
    assert_config_is_complete(layer)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again.layers[0], layers.RandomFlip)
    assert again.image_layers[0].factor == layer.image_layers[0].factor
