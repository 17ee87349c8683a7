"""Feature maps by name, and training from a layer on, in every paper's model."""

import keras
import numpy as np
import pytest

from keras_fer.models import IRAM, LLAM, AttentionNetwork, PAttLite, ScanCCI
from tests.contract import settle
from tests.marks import rest_medium

LIGHT = {"input_size": 48, "backbone": "mobilenet_v1"}
BUILDERS = {
    "patt_lite": lambda: PAttLite(input_size=48, backbone_weights=None),
    "iram": lambda: IRAM(**LIGHT),
    "llam": lambda: LLAM(**LIGHT),
    "scan_cci": lambda: ScanCCI(**LIGHT, shared=True),
    "pal": lambda: AttentionNetwork(input_size=48, backbone="resnet18"),
}


@pytest.fixture(scope="module", params=rest_medium(BUILDERS))
def model(request, images):
    keras.utils.set_random_seed(0)
    model = BUILDERS[request.param]()
    settle(model, images)
    return model


def test_feature_maps_are_those_inside(model, images):
    backbone = model.get_layer("backbone")
    names = [*model.feature_layers]
    found = model.feature_extractor([*names, "logits"])(images[:2])
    for name in names:
        assert found[name].shape[1:] == model.feature_layers[name]
    normalized = model.get_layer("normalization")(images[:2])
    np.testing.assert_array_equal(found["normalization"], normalized)
    first = backbone.layers[1]
    np.testing.assert_allclose(found[first.name], first(normalized), atol=1e-5)
    # What the backbone returns is among the maps of its layers.
    for output in keras.tree.flatten(backbone(normalized)):
        same = [name for name in names if found[name].shape == output.shape]
        assert any(np.abs(found[name] - output).max() < 1e-4 for name in same)
    probabilities = model.get_layer("probabilities")(found["logits"])
    if len(probabilities.shape) == 2:  # Without votes.
        expected = model.predict(images[:2], verbose=0)
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert model.feature_layers["normalization"] == (48, 48, 3)
    assert found["logits"].shape[-1] == len(model.labels)
    assert len(names) > 10
    with pytest.raises(ValueError, match=f"got 'nose'. Those .*{names[3]}"):
        model.feature_extractor(["nose"])
    with pytest.raises(ValueError, match="at least one layer"):
        model.feature_extractor([])


def changed_layers(model, images):
    """Names of the layers whose weights a step of `fit` changes."""

    def weights():
        return {v.path: np.array(v) for v in model.variables}

    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    before = weights()
    model.fit(images, np.arange(len(images)) % 7, verbose=0, batch_size=len(images))
    return {path for path, value in weights().items() if (value != before[path]).any()}


def test_the_last_block_and_the_head_are_trained(model, images):
    backbone = model.get_layer("backbone")
    kernels = [
        layer for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)
    ]
    first = kernels[-2]
    model.train_from(first.name)
    changed = changed_layers(model, images[:8])
    at = backbone.layers.index(first)
    frozen = {v.path for layer in backbone.layers[:at] for v in layer.variables}
    assert not changed & frozen
    assert first.kernel.path in changed
    assert model.get_layer("logits").kernel.path in changed
    norms = [
        layer.moving_mean.path
        for layer in backbone.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert not changed & {*norms}

    model.train_from("logits")
    logits = {v.path for v in model.get_layer("logits").variables}
    assert {v.path for v in model.trainable_variables} >= logits
    assert not {v.path for v in backbone.trainable_variables}
    model.train_from(backbone.layers[1].name)
    assert kernels[0].kernel.path in {v.path for v in model.trainable_variables}
    with pytest.raises(ValueError, match="layer must name a layer.*got 'nose'.*logits"):
        model.train_from("nose")
