import keras
import numpy as np
import pytest

from keras_fer import zoo
from keras_fer.labels import LABELS
from keras_fer.models import PAttLite
from keras_fer.models.backbones import freeze_batch_norm, mobilenet_v1
from tests.contract import ModelContract, assert_batch_independent
from tests.marks import rest_medium
from zoo.cost import count_macs


def small(*args, **kwargs):
    return PAttLite(*args, **{"input_size": 48, **kwargs})


class TestContract(ModelContract):
    model = small
    arguments = {"grayscale": True}
    # The published count, whose last layer has 7 classes and whose attention a scale.
    parameters = (1_102_664 - 9_664 - 4 * 33, 9_664)


def test_published_counts():
    with pytest.warns(UserWarning, match="attends across the batch"):
        model = PAttLite(7, attention="batch_legacy")
    assert model.count_params() == 1_102_664
    assert round(count_macs(model) / 1e6) == 337
    assert model.get_layer("backbone").output["stride_16"].shape == (None, 14, 14, 512)


@pytest.mark.parametrize(("attention", "scale"), [("patch_tokens", 1), ("none", 0)])
def test_ours_differ_by_the_scale_alone(attention, scale):
    model = small(7, attention=attention)
    assert model.count_params() == 1_102_664 - 1 + scale


@pytest.mark.parametrize("size", rest_medium([48, 96, 224, 64, 112, 160], 2))
def test_input_sizes_share_weights_and_a_patch_grid(size, images):
    model = small(8, input_size=size)
    assert model.get_layer("patches").output.shape[1:] == (2, 2, 256)
    model.set_weights(small(8).get_weights())
    probabilities = model.predict(images[:2], verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def with_trained_weights(attention):
    """Random networks hardly tell images apart; trained ones do."""
    trained = zoo.load("patt_lite")
    model = PAttLite(8, input_size=64, attention=attention)
    for layer in model.layers:
        if layer.name != "attention":
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    return model


@pytest.mark.medium
@pytest.mark.parametrize("attention", ["patch_tokens", "none"])
def test_predictions_do_not_depend_on_the_batch(attention, images):
    assert_batch_independent(with_trained_weights(attention), images)


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:attention=.batch_legacy")
def test_the_published_attention_fails_that_test(images):
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_batch_independent(with_trained_weights("batch_legacy"), images)


@pytest.mark.parametrize(
    "shape", rest_medium([((31, 90),), ((48, 48),), ((300, 200),)])
)
def test_any_image_goes_in(shape):
    model = small(8)
    gray = np.random.default_rng(0).integers(0, 256, (2, *shape, 1)).astype("uint8")
    expected = model.predict(gray, verbose=0)
    assert expected.shape == (2, 8) and expected.dtype == "float32"
    for same in (gray.astype("float32"), gray.repeat(3, axis=-1)):
        np.testing.assert_allclose(model.predict(same, verbose=0), expected, atol=1e-6)
        np.testing.assert_allclose(model(same), expected, atol=1e-5)


def test_four_channels_are_refused():
    with pytest.raises(ValueError, match="drop an alpha channel"):
        small(8)(np.zeros((1, 48, 48, 4)))


@pytest.mark.parametrize(
    ("arguments", "labels"),
    [
        ({}, LABELS[:7]),
        ({"num_classes": 8}, LABELS),
        ({"num_classes": 2}, ("class_0", "class_1")),
        ({"labels": ["calm", "tense"]}, ("calm", "tense")),
    ],
)
def test_classes_have_names(arguments, labels):
    model = small(**arguments)
    assert model.labels == labels
    assert model.output.shape == (None, len(labels))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be .*got 0"),
        ({"num_classes": 1}, "num_classes must be .*got 1"),
        ({"num_classes": "7"}, "num_classes must be .*got '7'"),
        ({"num_classes": 3, "labels": ["a", "b"]}, "num_classes=3 and 2 labels"),
        ({"labels": ["a", "a"]}, r"two distinct names, got \('a', 'a'\)"),
        ({"labels": "ab"}, "labels must be a list of names, got 'ab'"),
        ({"input_size": 47}, "input_size must be an integer from 48 to 224, got 47"),
        ({"input_size": 225}, "input_size must be an integer from 48 to 224, got 225"),
        ({"attention": "batch"}, "attention must be .*got 'batch'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)


def test_missing_backbone_weights_are_refused():
    with pytest.raises(
        FileNotFoundError, match="backbone_weights must .*got 'nowhere.h5'"
    ):
        small(7, backbone_weights="nowhere.h5")


def test_backbone_weights_are_those_of_the_file(shared):
    import h5py

    path = shared("mobilenet_v1")
    backbone = mobilenet_v1(48, "conv_dw_9_relu", weights=path)
    with h5py.File(path) as file:
        stored = {}
        file.visititems(
            lambda name, item: (
                stored.update({name: item[()]})
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
    for layer in ("conv1", "conv_pw_8"):
        kernels = [value for name, value in stored.items() if f"{layer}/" in name]
        loaded = backbone.get_layer(layer).get_weights()[0]
        assert any(np.array_equal(loaded, kernel) for kernel in kernels)


@pytest.mark.medium
def test_a_fit_step_trains_everything_but_frozen_batch_norm(images):
    model = with_trained_weights("patch_tokens")
    backbone = model.get_layer("backbone")
    freeze_batch_norm(backbone)
    frozen = {weight.path for weight in backbone.non_trainable_weights}
    assert len(frozen) == 4 * 18
    before = {weight.path: weight.numpy() for weight in model.weights}
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images, np.arange(40) % 8, batch_size=20, verbose=0)
    for weight in model.weights:
        same = np.array_equal(before[weight.path], weight.numpy())
        assert same == (weight.path in frozen), weight.path
