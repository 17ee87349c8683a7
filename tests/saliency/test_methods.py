import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops
from PIL import Image
from scipy import ndimage

import keras_fer
from keras_fer.layers import (
    CBAM,
    ComplementaryContext,
    EfficientChannelAttention,
    InformationReuseAttention,
    LocalGlobalAttention,
    PatchTokenAttention,
    SpatioChannelAttention,
    SqueezeExcitation,
)
from keras_fer.models import PAttLite, ScanCCI
from keras_fer.saliency import METHODS, Probe, explain

SIDES = (14, 12)
GRADIENTS = [method for method in METHODS if method != "attention"]


def noise(number, channels=3, seed=0):
    shape = (number, *SIDES, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype("float32")


def linear_head(seed=0):
    """Convolution, average, softmax: its gradients fit on a line."""
    keras.utils.set_random_seed(seed)
    images = keras.Input((*SIDES, 3))
    x = layers.Rescaling(1 / 255)(images)
    x = layers.Conv2D(5, 3, activation="relu", bias_initializer="normal", name="map")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(4, "softmax", name="head")(x))


def forward(model, images):
    """The map, the logits and the head's weights, in NumPy."""
    kernel, bias = map(np.asarray, model.get_layer("map").get_weights())
    windows = np.lib.stride_tricks.sliding_window_view(images / 255, (3, 3), (1, 2))
    features = np.maximum(np.einsum("nyxcij,ijck->nyxk", windows, kernel) + bias, 0)
    weights, bias = map(np.asarray, model.get_layer("head").get_weights())
    return features, features.mean((1, 2)) @ weights + bias, weights


def enlarged(heat):
    """Maps at the images' size with a maximum of 1, by Pillow."""
    maps = [
        Image.fromarray(one.astype("float32")).resize(SIDES[::-1], Image.BILINEAR)
        for one in heat
    ]
    return np.stack([np.asarray(one) / max(np.max(one), 1e-30) for one in maps])


def test_grad_input_is_that_of_the_line():
    model, images = linear_head(), noise(3)
    features, logits, weights = forward(model, images)
    # S = sum_k |z_k| and z_k = sum_c W_ck mean(f_c) + b_k.
    gradient = np.sign(logits) @ weights.T / (12 * 10)
    expected = np.abs(gradient)[:, None, None] * features
    received = explain(model, images, "grad_input")
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, enlarged(expected.mean(-1)), atol=1e-5)
    np.testing.assert_array_equal(received.max((1, 2)), 1)


def test_grad_cam_is_that_of_the_line():
    some_negative = False
    for seed in range(4):
        model, images = linear_head(seed), noise(3, seed=seed)
        features, logits, weights = forward(model, images)
        alpha = weights.T[logits.argmax(-1)] / (12 * 10)
        weighted = (alpha[:, None, None] * features).sum(-1)
        some_negative |= (weighted < 0).any()
        expected = enlarged(np.maximum(weighted, 0))
        received = explain(model, images, "grad_cam")
        np.testing.assert_allclose(received, expected, atol=1e-5)
    assert some_negative


def test_hires_cam_is_that_of_the_line():
    some_negative = False
    for seed in range(4):
        model, images = linear_head(seed), noise(3, seed=seed)
        features, logits, weights = forward(model, images)
        chosen = np.eye(4)[logits.argmax(-1)]
        gradient = (chosen - (1 - chosen) / 3) @ weights.T / (12 * 10)
        weighted = (gradient[:, None, None] * features).sum(-1)
        some_negative |= (weighted < 0).any()
        received = explain(model, images, "hires_cam", "map")
        expected = enlarged(np.maximum(weighted, 0))
        np.testing.assert_allclose(received, expected, atol=1e-5)
    assert some_negative


def test_hires_cam_adds_its_layers():
    """Each map is divided by its largest magnitude; the finest gives the size."""
    keras.utils.set_random_seed(0)
    images = keras.Input((24, 24, 3))
    x = layers.Rescaling(1 / 255, name="fine")(images)
    options = {"padding": "same", "strides": 2, "activation": "relu"}
    x = layers.Conv2D(4, 3, **options, name="middle")(x)
    x = layers.Conv2D(4, 3, **options, name="coarse")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(3, "softmax")(x))
    batch = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3)).astype("uint8")
    fused = 0
    for name in ("coarse", "middle", "fine"):
        values = Probe(model, name)(batch, lambda z: 1.5 * ops.max(z, -1) - sum_(z) / 2)
        values = {key: ops.convert_to_numpy(value) for key, value in values.items()}
        maps = (values["gradient"] * values["features"]).sum(-1)
        maps /= np.abs(maps).max((1, 2), keepdims=True)
        resized = [Image.fromarray(m).resize((24, 24), Image.BILINEAR) for m in maps]
        fused += np.stack([np.asarray(each) for each in resized])
    fused = np.maximum(fused, 0)
    expected = fused / fused.max((1, 2), keepdims=True)
    np.testing.assert_allclose(explain(model, batch, "hires_cam"), expected, atol=1e-4)


def sum_(logits):
    return ops.sum(logits, axis=-1)


def test_smooth_grad_of_a_linear_model():
    """There, no noise changes the gradient, which is that of the line."""
    keras.utils.set_random_seed(0)
    images = keras.Input((None, None, 3))
    x = layers.Flatten()(layers.Reshape((*SIDES, 3))(images))
    dense = layers.Dense(4, "softmax", bias_initializer="normal")
    model = keras.Model(images, dense(x))
    batch = noise(3)
    kernel, bias = map(np.asarray, dense.get_weights())
    chosen = np.eye(4)[(batch.reshape(3, -1) @ kernel + bias).argmax(-1)]
    gradient = ((chosen - (1 - chosen) / 3) @ kernel.T).reshape(batch.shape)
    deviation = batch - batch.mean((1, 2), keepdims=True)
    maps = np.maximum((gradient * deviation).sum(-1), 0)
    sigma = [side / 32 for side in SIDES]
    options = {"mode": "constant", "truncate": 40}
    share = ndimage.gaussian_filter(np.ones(SIDES), sigma, **options)
    expected = [ndimage.gaussian_filter(m, sigma, **options) / share for m in maps]
    expected = np.stack([each / each.max() for each in expected])
    received = explain(model, batch, "smooth_grad")
    np.testing.assert_allclose(received, expected, atol=1e-4)


def test_grad_input_is_clipped_at_zero():
    images = keras.Input((*SIDES, 1))
    x = layers.Conv2D(1, 1, kernel_initializer="ones", name="map")(images - 128)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(3)(x))
    gray = noise(1, 1)
    expected = np.maximum(gray[..., 0] - 128, 0) / (gray.max() - 128)
    received = explain(model, gray, "grad_input")
    np.testing.assert_allclose(received, expected, atol=1e-5)


# Methods that have other layers than those with feature maps, or none.
LAYER = {"attention": None, "smooth_grad": None}


@pytest.mark.parametrize("method", METHODS)
def test_the_maximum_is_where_the_evidence_is(method):
    """A patch above a threshold alone drives the logits."""
    images = keras.Input((None, None, 1))
    options = {"kernel_initializer": "ones", "activation": "relu"}
    x = layers.Rescaling(1 / 255)(layers.Resizing(24, 24)(images))
    threshold = keras.initializers.Constant(-0.5)
    x = layers.Conv2D(4, 1, bias_initializer=threshold, name="map", **options)(x)
    x = EfficientChannelAttention()(x)
    x = layers.GlobalAveragePooling2D()(x)
    head = layers.Dense(2, "softmax")
    model = keras.Model(images, head(x))
    head.set_weights([np.eye(4, 2) * [2, 1], np.zeros(2)])
    batch = np.full((2, 48, 60, 1), 20, "uint8")
    batch[0, 8:16, 30:40] = 250
    batch[1, 36:44, 5:15] = 250
    for heat, (rows, columns) in zip(
        explain(model, batch, method, LAYER.get(method, "map")),
        (((8, 16), (30, 40)), ((36, 44), (5, 15))),
        strict=True,
    ):
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert rows[0] <= row < rows[1] and columns[0] <= column < columns[1]
        filtered = method == "smooth_grad"
        least = 0.15 if filtered else 0.3
        assert heat[rows[0] : rows[1], columns[0] : columns[1]].min() > least
        # A position of the map is at most 2.5 pixels wide, and so is the filter.
        heat[rows[0] - 3 : rows[1] + 3, columns[0] - 3 : columns[1] + 3] = 0
        assert heat.max() <= (0.2 if filtered else 0)


@pytest.mark.parametrize("method", GRADIENTS)
def test_nan_never_becomes_a_map(method):
    model, images = linear_head(), noise(20)
    images[-1, 3, 4, 0] = np.nan
    with pytest.raises(ValueError, match="images must have finite values, got NaN"):
        explain(model, images, method)
    head = model.get_layer("head")
    head.set_weights([np.nan * weight for weight in head.get_weights()])
    with pytest.raises(ValueError, match=f"model '{model.name}' returned NaN"):
        explain(model, noise(1), method)


def test_nothing_attributed_stays_zero():
    model = linear_head()
    for layer in (model.get_layer("map"), model.get_layer("head")):
        layer.set_weights([0 * weight for weight in layer.get_weights()])
    for method in GRADIENTS:
        np.testing.assert_array_equal(explain(model, noise(2), method), 0)


# Attention


def attending(attention, side=8):
    """A model with an attention layer in a nested backbone, and that backbone."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((side, side, 3))
    options = {"padding": "same", "activation": "relu"}
    x = layers.Conv2D(6, 3, **options, name="before")(inputs)
    x = attention(x)
    backbone = keras.Model(inputs, x, name="backbone")
    images = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 255)(layers.Resizing(side, side)(images))
    x = layers.Flatten()(backbone(x))
    return keras.Model(images, layers.Dense(3, "softmax")(x)), backbone


@pytest.fixture
def any_attention(monkeypatch):
    """Untrained attention, which prefers nothing, is shown as well."""
    monkeypatch.setattr("keras_fer.saliency.methods._LEAST_CONTRAST", 0)


RULES = {
    "spatial": (
        lambda: SpatioChannelAttention(name="attention"),
        lambda attention, features: attention.mean(-1),
    ),
    "both": (
        lambda: CBAM(name="attention"),
        lambda attention, features: attention.mean(-1),
    ),
    "local_global": (
        lambda: LocalGlobalAttention(name="attention"),
        lambda attention, features: attention.mean((1, -1)),
    ),
    "channel": (
        lambda: SqueezeExcitation(2, name="attention"),
        lambda attention, features: (attention * np.abs(features)).sum(-1),
    ),
    "votes": (
        lambda: ComplementaryContext(3, name="attention"),
        lambda attention, features: (attention * np.abs(features)).sum(-1),
    ),
    "tokens": (
        lambda: PatchTokenAttention(name="attention"),
        lambda attention, features: attention.mean(1).reshape(-1, 8, 8),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_attention_has_the_rule_of_its_kind(rule, any_attention):
    build, average = RULES[rule]
    layer = build()
    model, backbone = attending(layer)
    images = noise(2)
    small = ops.image.resize(images, (8, 8), data_format="channels_last") / 255
    features = keras.Model(backbone.input, backbone.get_layer("before").output)(small)
    _, attention = layer(features, return_attention=True)
    expected = enlarged(average(*map(ops.convert_to_numpy, (attention, features))))
    assert expected.std() > 1e-3
    received = explain(model, images, "attention")
    np.testing.assert_allclose(received, expected, atol=1e-5)


def test_attention_with_two_inputs(any_attention):
    layer = InformationReuseAttention()
    before = layers.Conv2D(6, 3, padding="same", name="previous")
    model, backbone = attending(lambda x: layer(x, before(x)))
    images = noise(2)
    small = ops.image.resize(images, (8, 8), data_format="channels_last") / 255
    features = keras.Model(backbone.input, backbone.get_layer("before").output)(small)
    _, attention = layer(features, before(features), return_attention=True)
    expected = enlarged(ops.convert_to_numpy(attention).mean(-1))
    received = explain(model, images, "attention")
    np.testing.assert_allclose(received, expected, atol=1e-5)


def test_the_last_attention_layer_in_the_path_or_a_named_one(any_attention):
    first = SpatioChannelAttention(name="first")
    last = SpatioChannelAttention(name="last")
    model, backbone = attending(lambda x: last(first(x)))
    images = noise(2)
    small = ops.image.resize(images, (8, 8), data_format="channels_last") / 255
    features = keras.Model(backbone.input, backbone.get_layer("before").output)(small)
    maps = {"first": first.mask(features), "last": last.mask(first(features))}
    maps = {name: enlarged(np.asarray(x).mean(-1)) for name, x in maps.items()}
    default = explain(model, images, "attention")
    np.testing.assert_allclose(default, maps["last"], atol=1e-5)
    named = explain(model, images, "attention", "first")
    np.testing.assert_allclose(named, maps["first"], atol=1e-5)
    assert np.abs(default - named).max() > 1e-3

    # A backbone that goes on to where the model does not.
    aside = SpatioChannelAttention(name="aside")
    inner = keras.Model(
        backbone.input,
        {"used": backbone.output, "not": aside(backbone.output)},
        name="inner",
    )
    x = layers.GlobalAveragePooling2D()(inner(backbone.input)["used"])
    model = keras.Model(backbone.input, layers.Dense(3)(x))
    received = explain(model, np.asarray(small) * 255, "attention")
    same = explain(model, np.asarray(small) * 255, "attention", "last")
    np.testing.assert_array_equal(received, same)
    with pytest.raises(ValueError, match="aside.*Candidates: first, last"):
        explain(model, np.asarray(small), "attention", "aside")


# Contracts


@pytest.mark.parametrize("method", METHODS)
def test_a_map_does_not_depend_on_the_other_images(method, any_attention):
    norm, attention = layers.BatchNormalization(), CBAM()
    model, _ = attending(lambda x: attention(norm(x)))
    images = noise(5)
    layer = LAYER.get(method, "before")
    together = explain(model, images, method, layer)
    assert together.std() > 1e-3
    order = [3, 1, 4, 0, 2]
    turned = explain(model, images[order], method, layer)
    np.testing.assert_allclose(turned, together[order], atol=1e-5)
    alone = [explain(model, image[None], method, layer)[0] for image in images]
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.fixture(scope="module")
def patt_lite():
    return PAttLite(input_size=48, backbone_weights=None)


@pytest.mark.parametrize("method", METHODS)
def test_patt_lite_on_gray_images_of_any_size(patt_lite, method):
    images = np.random.default_rng(3).integers(0, 256, (2, 80, 56, 1)).astype("uint8")
    heat = explain(patt_lite, images, method)
    assert heat.shape == (2, 80, 56) and heat.dtype == np.float32
    if method == "attention":  # Untrained, it prefers no position.
        assert not heat.any()
    else:
        assert heat.min() >= 0 and heat.max() == 1 and heat.std() > 0


@pytest.mark.parametrize(("least", "shown"), [(0.6, False), (0.4, True)])
def test_attention_is_shown_where_it_prefers_something(least, shown):
    class Given(layers.Layer):
        def call(self, x, return_attention=False):
            ramp = ops.linspace(least, 1.0, 8)
            attention = ops.broadcast_to(ramp[:, None, None], (2, 8, 8, 1))
            return (x, attention) if return_attention else x

    heat = explain(attending(Given())[0], noise(2), "attention")
    assert heat.any() == shown
    if shown:
        assert heat.min() == pytest.approx(least, abs=1e-3)


@pytest.mark.medium
def test_scan_cci_has_two_attention_layers(any_attention):
    model = ScanCCI(input_size=48, backbone="mobilenet_v1")
    maps = [
        explain(model, noise(2), "attention", layer)
        for layer in (None, "attention", "context")
    ]
    assert np.abs(maps[1] - maps[2]).max() > 1e-3
    assert any((maps[0] == each).all() for each in maps[1:])


@pytest.mark.parametrize("number", [0, 1, 16, 70])
def test_any_number_of_images(number):
    model, images = linear_head(), noise(70)
    received = explain(model, images[:number])
    assert received.shape == (number, *SIDES)
    if number > 1:
        alone = explain(model, images[number - 1 : number])
        np.testing.assert_allclose(received[-1:], alone, atol=1e-5)


def test_it_is_inference_and_leaves_the_model_alone():
    keras.utils.set_random_seed(4)
    images = keras.Input((*SIDES, 3))
    x = layers.Conv2D(4, 3, activation="relu")(images)
    x = layers.BatchNormalization()(x)
    x = SqueezeExcitation()(layers.Dropout(0.5)(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(3, "softmax")(x))
    before = [np.array(weight) for weight in model.get_weights()]
    config = model.get_config()
    for method in METHODS:
        first, again = (explain(model, noise(2), method) for _ in range(2))
        np.testing.assert_array_equal(first, again)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.get_config() == config


def test_new_weights_count_and_a_dropped_model_is_freed():
    model, images = linear_head(), noise(2)
    for method in GRADIENTS:
        explain(model, images, method)
    model.set_weights(linear_head(5).get_weights())
    received = explain(model, images, "grad_cam")
    expected = explain(linear_head(5), images, "grad_cam")
    np.testing.assert_allclose(received, expected, atol=1e-6)
    attentive, _ = attending(SqueezeExcitation())
    explain(attentive, images, "attention")
    dropped = [weakref.ref(model), weakref.ref(attentive)]
    del model, attentive
    gc.collect()
    assert [reference() for reference in dropped] == [None, None]


def test_the_gradients_take_a_layer_too():
    model = linear_head()
    default = explain(model, noise(1), "grad_cam")
    assert (explain(model, noise(1), "grad_cam", layer="map") == default).all()
    with pytest.raises(ValueError, match="layer must be None for smooth_grad"):
        explain(model, noise(1), "smooth_grad", layer="map")
    with pytest.raises(ValueError, match="'nose'.*Candidates: .*map"):
        explain(model, noise(1), "grad_cam", layer="nose")


def test_it_is_public():
    """Also after the package that holds it was imported."""
    assert keras_fer.explain is explain is keras_fer.saliency.explain
    assert "explain" in keras_fer.__all__


# Errors


def test_errors():
    model, images = linear_head(), noise(1)
    with pytest.raises(ValueError, match="grad_input, attention, got 'lime'"):
        explain(model, images, "lime")
    for wrong in (images[0], images[..., 0], noise(1, 4), images[None]):
        with pytest.raises(ValueError, match="images must have the shape"):
            explain(model, wrong)
    with pytest.raises(
        ValueError, match="needs a model with an attention layer.* Use another"
    ):
        explain(model, images, "attention")
    attentive, _ = attending(SqueezeExcitation(name="squeeze"))
    with pytest.raises(ValueError, match="got 'nose'. Candidates: squeeze"):
        explain(attentive, images, "attention", "nose")
    rows, _ = attending(lambda x: PatchTokenAttention()(layers.Reshape((64, 6))(x)))
    with pytest.raises(ValueError, match=r"got \(1, 64, 64\) over \(1, 64, 6\)"):
        explain(rows, images, "attention")


class Subclassed(keras.Model):
    def call(self, images):
        return ops.mean(images, axis=(1, 2))


@pytest.mark.parametrize("method", METHODS)
def test_models_of_other_kinds(method):
    pair = [keras.Input((*SIDES, 3)) for _ in range(2)]
    two = keras.Model(pair, layers.GlobalAveragePooling2D()(pair[0] + pair[1]))
    for model in ("patt_lite", Subclassed(), two):
        with pytest.raises(ValueError, match="functional or sequential model"):
            explain(model, noise(1), method)
