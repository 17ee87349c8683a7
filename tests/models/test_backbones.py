import inspect

import keras
import numpy as np
import pytest

from keras_fer import models
from keras_fer.models import backbones
from tests.contract import count, disturb

SIDES = {f"stride_{2**power}": 64 // 2**power for power in range(6)}


@pytest.mark.parametrize("kind", backbones.BACKBONES)
def test_maps_are_named_by_their_strides(kind):
    backbone = backbones.build_backbone(kind, 64, weights=None)
    assert backbone.name == "backbone"
    for stride, tensor in backbone.output.items():
        assert tensor.shape[1] == tensor.shape[2] == SIDES[stride]
    assert {"stride_8", "stride_16"} <= set(backbone.output)


# Trainable parameters as torchvision counts them, without the classifiers.
@pytest.mark.medium
@pytest.mark.parametrize(
    ("kind", "cut", "parameters"),
    [
        ("resnet18", "stride_32", 11_689_512 - 513_000),
        ("resnet50", "stride_32", 25_557_032 - 2_049_000),
        ("resnet50", "stride_16", 8_543_296),
        ("vgg16", "stride_16", 138_357_544 - 123_642_856),
    ],
)
def test_published_counts(kind, cut, parameters):
    backbone = backbones.BACKBONES[kind](64, cut, weights=None)
    assert count(backbone.trainable_weights) == parameters


def test_resnet50_strides_in_the_3x3():
    backbone = backbones.resnet50(64, "stride_8")
    strides = {
        layer.name: layer.strides
        for layer in backbone.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.strides != (1, 1)
    }
    assert strides == {
        "conv1_conv": (2, 2),
        "conv3_block1_0_conv": (2, 2),
        "conv3_block1_2_conv": (2, 2),
    }


@pytest.mark.medium
def test_mobilenet_is_cut_anywhere(images):
    whole = keras.applications.MobileNet(
        input_shape=(64, 64, 3), include_top=False, weights=None
    )
    disturb(whole)
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    for cut, stride in (
        ("conv_dw_9_relu", "stride_16"),
        ("conv_pw_4_bn", "stride_8"),
        ("conv_pw_13_relu", "stride_32"),
    ):
        backbone = backbones.mobilenet_v1(64, cut, weights=None)
        for layer in backbone.layers[1:]:
            layer.set_weights(whole.get_layer(layer.name).get_weights())
        expected = keras.Model(whole.input, whole.get_layer(cut).output)
        maps = backbone.predict(x, verbose=0)
        assert max(maps, key=lambda name: int(name[7:])) == stride
        np.testing.assert_allclose(
            maps[stride], expected.predict(x, verbose=0), atol=1e-5
        )
        np.testing.assert_array_equal(backbones.last_feature_map(maps), maps[stride])


def test_vgg_sees_images_as_its_weights_expect_them():
    """BGR minus the mean of ImageNet, as `preprocess_input` makes it."""
    backbone = backbones.vgg16(64, "block1_conv1", weights=None)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3))
    first = keras.Model(backbone.input, backbone.get_layer("block1_conv1").input)
    np.testing.assert_allclose(
        first.predict(images / 127.5 - 1, verbose=0),
        keras.applications.vgg16.preprocess_input(images.astype("float32")),
        atol=1e-3,
    )


def test_insertion_points_get_what_the_block_received():
    """F_prev of the first point is the output of the layer before the block."""
    taken = {}

    def attention(features, previous, name):
        taken[name] = previous
        return features

    plain = backbones.mobilenet_v1(64, weights=None)
    backbone = backbones.mobilenet_v1(64, weights=None, attention=attention)
    assert list(taken) == [
        f"conv_pw_{block}_relu_attention" for block in (3, 5, 7, 8, 9, 10, 11)
    ]
    backbone.set_weights(plain.get_weights())
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    previous = keras.Model(backbone.input, taken["conv_pw_7_relu_attention"])
    expected = keras.Model(plain.input, plain.get_layer("conv_pw_6_relu").output)
    np.testing.assert_allclose(previous(x), expected(x), atol=1e-5)


@pytest.mark.medium
def test_an_attention_at_the_cut_is_part_of_the_map():
    def zero(features, previous, name):
        return keras.layers.Rescaling(0.0, name=name)(features)

    for kind in backbones.BACKBONES:
        backbone = backbones.BACKBONES[kind](
            64, "stride_16", weights=None, attention=zero
        )
        maps = backbone(np.ones((1, 64, 64, 3), "float32"))
        if kind.startswith("resnet"):  # Its shortcuts pass by.
            continue
        assert not np.asarray(maps["stride_16"]).any()


def test_weights_come_back(tmp_path):
    backbone = backbones.resnet18(64, "stride_8")
    disturb(backbone)
    backbone.save_weights(tmp_path / "backbone.weights.h5")
    again = backbones.resnet18(64, "stride_8", weights=tmp_path / "backbone.weights.h5")
    for a, b in zip(backbone.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_model_downloads_weights_unless_asked():
    functions = [getattr(models, name) for name in models.__all__]
    functions = [each for each in functions if inspect.isfunction(each)]
    assert len(functions) == 5
    for each in functions:
        assert inspect.signature(each).parameters["backbone_weights"].default is None
    for each in backbones.BACKBONES.values():
        assert inspect.signature(each).parameters["weights"].default is None


@pytest.mark.medium
def test_other_cuts_are_refused():
    for build in backbones.BACKBONES.values():
        with pytest.raises(
            ValueError, match="cut must be .*stride_8.*got 'conv_dw_99'"
        ):
            build(64, "conv_dw_99", weights=None)
