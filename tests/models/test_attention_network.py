import numpy as np
import pytest

from keras_fer.layers import LosslessAttention
from keras_fer.models import IRAM, LLAM, AttentionNetwork
from keras_fer.models.attention_network import ATTENTIONS
from tests.contract import ModelContract, count
from tests.models.published import (
    COSTS,
    MOBILENET,
    MOBILENET_CHANNELS,
    RESNET18,
    RESNET18_CHANNELS,
)


class TestContract(ModelContract):
    model = AttentionNetwork
    arguments = {
        "input_size": 48,
        "backbone": "mobilenet_v1",
        "attention": "cbam",
        "dropout": 0.1,
    }
    parameters = (
        MOBILENET[0] + sum(map(COSTS["cbam"], MOBILENET_CHANNELS)) + 512 * 3 + 3,
        MOBILENET[1],
    )


@pytest.mark.medium
@pytest.mark.parametrize("attention", COSTS)
def test_attentions_have_the_same_insertion_points(attention):
    assert set(COSTS) == set(ATTENTIONS)
    model = AttentionNetwork(7, input_size=48, attention=attention)
    expected = RESNET18[0] + sum(map(COSTS[attention], RESNET18_CHANNELS)) + 512 * 7 + 7
    assert count(model.trainable_weights) == expected
    layers = [layer.name for layer in model.get_layer("backbone").layers]
    inserted = [name for name in layers if name.endswith("attention")]
    assert len(inserted) == (0 if attention == "none" else 8)


@pytest.mark.medium
def test_papers_are_this_network(images):
    for model, attention in ((LLAM, "llam"), (IRAM, "iram")):
        for backbone in ("resnet18", "mobilenet_v1"):
            theirs = model(7, input_size=48, backbone=backbone)
            ours = AttentionNetwork(
                7, input_size=48, backbone=backbone, attention=attention
            )
            both = [
                [(w.path, w.shape) for layer in each.layers for w in layer.weights]
                for each in (theirs, ours)
            ]
            assert both[0] == both[1]
            ours.set_weights(theirs.get_weights())
            np.testing.assert_array_equal(
                theirs.predict(images[:2], verbose=0),
                ours.predict(images[:2], verbose=0),
            )


@pytest.mark.medium
def test_an_attention_of_your_own(images):
    seen = []

    def mine(features, previous, name):
        seen.append((features.shape, previous.shape))
        return LosslessAttention(residual=True, spatial=True, name=name)(
            features, previous
        )

    model = AttentionNetwork(
        7, input_size=48, backbone="mobilenet_v1", attention=mine, backbone_weights=None
    )
    assert len(seen) == 7
    assert all(features == previous for features, previous in seen)
    assert model.predict(images[:2], verbose=0).shape == (2, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "best"}, "attention must be one of none, se, eca.*got 'best'"),
        (
            {"backbone": "resnet"},
            "backbone must be .*mobilenet_v1, resnet18.*got 'resnet'",
        ),
        ({"input_size": 32}, "input_size must be an integer from 48 to 1024, got 32"),
        ({"num_classes": 1}, "num_classes must be an integer of at least 2, got 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttentionNetwork(**arguments)


@pytest.mark.medium
def test_missing_backbone_weights_are_refused():
    for weights in ("nowhere.h5", "imagenet"):
        with pytest.raises(
            FileNotFoundError, match=f"backbone_weights must .*got '{weights}'"
        ):
            AttentionNetwork(7, input_size=48, backbone_weights=weights)


@pytest.mark.medium
def test_residual_branches_are_weighed_before_they_are_added(images):
    """With m = 1/2 everywhere a block is relu(shortcut + F / 2)."""
    plain = AttentionNetwork(7, input_size=48, attention="none")
    halved = AttentionNetwork(7, input_size=48, attention="llam")
    for layer in halved.get_layer("backbone").layers:
        if layer.name.endswith("attention"):
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
        elif layer.weights:
            weights = plain.get_layer("backbone").get_layer(layer.name).get_weights()
            # The last BatchNorm of a plain branch is halved by hand.
            if layer.name.endswith("_2_bn"):
                weights[:2] = [2 * w for w in weights[:2]]
            layer.set_weights(weights)
    halved.get_layer("logits").set_weights(plain.get_layer("logits").get_weights())
    np.testing.assert_allclose(
        halved.predict(images[:3], verbose=0),
        plain.predict(images[:3], verbose=0),
        atol=1e-5,
    )
