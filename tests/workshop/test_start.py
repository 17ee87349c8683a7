import dataclasses
import json

import numpy as np
import pytest

import keras_fer
from keras_fer import models
from keras_fer.labels import LABELS
from tests.workshop.train_worker import PLAIN, draw
from zoo import start, train
from zoo.recipe import Stage

SIZE = 64


def build(labels, **options):
    options = {"input_size": SIZE, **options}
    return models.PAttLite(labels=labels, backbone_weights=None, **options)


def row(model, label):
    """The row of the last layer that belongs to a label."""
    kernel, bias = model.get_layer("logits").get_weights()
    place = model.labels.index(label)
    return np.append(kernel[:, place], bias[place])


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A saved model with labels of its own spelling and order."""
    path = tmp_path_factory.mktemp("start") / "given.keras"
    model = build(("sad", "Happy", "bored", "fear"))
    model.get_layer("logits").set_weights(
        [
            np.random.default_rng(0).normal(size=weight.shape)
            for weight in model.get_layer("logits").get_weights()
        ]
    )
    model.save(path)
    return path, model


def test_labels_are_matched_by_name(given):
    path, other = given
    model = build(LABELS[:7])
    with pytest.warns(UserWarning, match="4 of 7 classes are untrained"):
        found = start.start_from(path, model)
    assert found.labels == other.labels and found.kept == ("sad", "Happy", "fear")
    assert found.sha256 == keras_fer.zoo.info(path).sha256
    for mine, theirs in (("sadness", "sad"), ("happiness", "Happy"), ("fear", "fear")):
        np.testing.assert_array_equal(row(model, mine), row(other, theirs))
    for layer in ("backbone", "patches"):
        pairs = (each.get_layer(layer).get_weights() for each in (model, other))
        for one, another in zip(*pairs, strict=True):
            np.testing.assert_array_equal(one, another)


def test_a_preset_gives_its_eight_rows_in_another_order():
    model = build(LABELS[::-1], **keras_fer.zoo.info("patt_lite.ferplus").arguments)
    found = start.start_from("patt_lite.ferplus", model)
    preset = keras_fer.zoo.load("patt_lite.ferplus")
    assert set(found.kept) == set(LABELS)
    for label in LABELS:
        np.testing.assert_array_equal(row(model, label), row(preset, label))


def test_starts_that_do_not_fit_are_named(given, tmp_path):
    path, _ = given
    with pytest.raises(ValueError, match="must be a LLAM, .* is a PAttLite"):
        start.start_from(
            path,
            models.LLAM(
                7, input_size=SIZE, backbone="mobilenet_v1", backbone_weights=None
            ),
        )
    with pytest.raises(ValueError, match="some of the labels calm, tense, but .*bored"):
        start.start_from(path, build(("calm", "tense")))
    message = r"it has \d+ weights, not \d+. Its arguments: .*instead of 'none'"
    with pytest.raises(ValueError, match=message):
        start.start_from(path, build(LABELS[:7], attention="none"))
    with pytest.raises(FileNotFoundError, match="no file .*none.keras"):
        start.start_from(str(tmp_path / "none.keras"), build(LABELS[:7]))
    with pytest.raises(ValueError, match="Did you mean patt_lite"):
        start.start_from("patt_lit", build(LABELS[:7]))


@pytest.mark.medium
def test_a_run_starts_from_a_run(tmp_path):
    folder = draw(tmp_path)
    recipe = dataclasses.replace(
        PLAIN, stages=(Stage(1, 1e-9, 48, backbone="frozen"),), ema=None, name="one"
    )
    train.train(recipe, folder, tmp_path / "first")
    # At such a rate the second one ends where it starts.
    second = dataclasses.replace(recipe, start=str(tmp_path / "first"))
    train.train(second, folder, tmp_path / "second")
    one, two = (keras_fer.zoo.load(tmp_path / name) for name in ("first", "second"))
    for label in one.labels:
        np.testing.assert_allclose(row(two, label), row(one, label), atol=1e-5)
    facts = json.loads((tmp_path / "second" / "run.json").read_text())
    assert facts["start"]["name"] == str(tmp_path / "first")
    assert facts["start"]["sha256"] == keras_fer.zoo.info(tmp_path / "first").sha256
    assert facts["recipe"]["start"] == str(tmp_path / "first")


def test_a_run_starts_from_the_backbone_of_another_architecture():
    source = keras_fer.zoo.load("patt_lite.ferplus")
    model = models.LLAM(7, input_size=48, backbone="mobilenet_v1")
    before = [layer.get_weights() for layer in model.get_layer("backbone").layers]
    started = start.copy_backbone("patt_lite.ferplus", model)
    assert started.sha256 == keras_fer.zoo.info("patt_lite.ferplus").sha256
    ends = {layer.name for layer in source.get_layer("backbone").layers}
    changed = set()
    for layer, old in zip(model.get_layer("backbone").layers, before, strict=True):
        if any(map(np.any, map(np.subtract, layer.get_weights(), old))):
            changed.add(layer.name)
            expected = source.get_layer("backbone").get_layer(layer.name)
            for one, other in zip(
                layer.get_weights(), expected.get_weights(), strict=True
            ):
                np.testing.assert_array_equal(one, other)
    # What PAtt-Lite has, and not what comes after conv_dw_9, or the attention.
    assert {"conv1", "conv_pw_8", "conv_dw_9"} <= changed <= ends
    other = models.LLAM(7, input_size=48, backbone="resnet18")
    message = "start_backbone must .*, but 'patt_lite.ferplus' has another one"
    with pytest.raises(ValueError, match=message):
        start.copy_backbone("patt_lite.ferplus", other)
