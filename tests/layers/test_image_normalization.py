import keras
import numpy as np
import pytest
from PIL import Image

from keras_fer.layers import ImageNormalization
from tests.contract import LayerContract


class TestContract(LayerContract):
    layer = ImageNormalization
    arguments = {"size": 8, "grayscale": True}
    shapes = ((20, 14, 3),)
    output = (8, 8, 3)


def reference(image, size):
    """Pillow's antialiased resize of each channel, in floats."""
    channels = [
        Image.fromarray(channel.astype("float32")).resize(
            (size, size), Image.Resampling.BILINEAR
        )
        for channel in np.moveaxis(image, -1, 0)
    ]
    return np.stack(channels, axis=-1) / 127.5 - 1


@pytest.mark.parametrize("shape", [(48, 48), (31, 77), (300, 200)])
def test_equals_pillow(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3))
    outputs = np.asarray(ImageNormalization(64)(image[None].astype("uint8")))
    np.testing.assert_allclose(outputs[0], reference(image, 64), atol=1e-4)


@pytest.mark.parametrize("grayscale", [False, True])
def test_gray_is_rgb_with_equal_channels_and_floats_are_bytes(images, grayscale):
    layer = ImageNormalization(32, grayscale)
    gray = np.asarray(layer(images))
    color = np.asarray(layer(images.repeat(3, axis=-1).astype("float32")))
    assert gray.shape == (40, 32, 32, 3)
    np.testing.assert_allclose(gray, color, atol=1e-5)
    assert gray.min() >= -1 - 1e-5 and gray.max() <= 1 + 1e-5


@pytest.mark.parametrize("shape", [(48, 48), (31, 77), (300, 200), (1, 5)])
@pytest.mark.parametrize("size", [1, 64, 96])
def test_equals_antialiased_resizing(shape, size):
    images = np.random.default_rng(0).integers(0, 256, (2, *shape, 3))
    images = images.astype("float32")
    expected = keras.ops.image.resize(images, (size, size), antialias=True)
    np.testing.assert_allclose(
        np.asarray(ImageNormalization(size)(images)),
        np.asarray(expected) / 127.5 - 1,
        atol=2e-5,
    )


def test_it_compiles_with_xla():
    # Plain TensorFlow has no XLA kernel for antialiased resizing.
    model = keras.Sequential([ImageNormalization(8), keras.layers.Flatten()])
    model.compile(jit_compile=True)
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 14, 3))
    expected = np.asarray(ImageNormalization(8)(images.astype("uint8")))
    predicted = model.predict(images.astype("uint8"), verbose=0)
    np.testing.assert_allclose(predicted, expected.reshape(2, -1), atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_resizing_is_float32_under_mixed_precision(policy):
    images = np.random.default_rng(0).integers(0, 256, (1, 300, 200, 3))
    half = ImageNormalization(32, dtype=policy)(images.astype("uint8"))
    full = ImageNormalization(32)(images.astype("uint8"))
    full = keras.ops.cast(full, half.dtype)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(keras.ops.cast(half, "float32")),
        keras.ops.convert_to_numpy(keras.ops.cast(full, "float32")),
    )


def test_grayscale_takes_colors_away():
    pure = np.zeros((3, 8, 8, 3), "uint8")
    pure[[0, 1, 2], ..., [0, 1, 2]] = 255
    outputs = np.asarray(ImageNormalization(8, grayscale=True)(pure))
    # Luma of ITU-R BT.601.
    np.testing.assert_allclose(
        outputs[:, 0, 0],
        2 * np.array([[0.299], [0.587], [0.114]]).repeat(3, 1) - 1,
        atol=1e-5,
    )


@pytest.mark.parametrize("shape", [(48, 48, 3), (2, 48, 48, 4), (2, 48, 48)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="images must have shape"):
        ImageNormalization(64)(np.zeros(shape))


@pytest.mark.parametrize("size", [0, -3, 48.5, None])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="size must be a positive integer"):
        ImageNormalization(size)
