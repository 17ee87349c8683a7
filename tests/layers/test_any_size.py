import keras
import numpy as np
import pytest

from keras_fer import layers

ANY_SIZE = [
    layers.SqueezeExcitation,
    layers.EfficientChannelAttention,
    layers.CBAM,
    layers.LosslessAttention,
    layers.InformationReuseAttention,
    layers.SpatioChannelAttention,
    layers.PatchTokenAttention,
]


@pytest.mark.parametrize("kind", ANY_SIZE)
def test_a_layer_that_was_built_without_a_size_takes_every_size(kind):
    layer = kind()
    symbols = [keras.Input((None, None, 8))]
    if isinstance(layer, layers.LosslessAttention):
        symbols.append(keras.Input((None, None, 8)))
    model = keras.Model(symbols, layer(*symbols))
    for height, width in ((4, 4), (7, 3)):
        rng = np.random.default_rng(0)
        shape = (2, height, width, 8)
        inputs = [rng.normal(size=shape).astype("float32") for _ in symbols]
        fixed = kind()
        fixed(*inputs)
        fixed.set_weights(layer.get_weights())
        expected = fixed(*inputs)
        assert expected.shape == shape
        outputs = model.predict(inputs, verbose=0)
        np.testing.assert_allclose(outputs, expected, atol=1e-5)
