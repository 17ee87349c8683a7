import hashlib
import inspect
import shutil

import keras
import numpy as np
import pytest

import keras_fer
from keras_fer import models, zoo
from keras_fer.zoo import loading
from keras_fer.zoo.presets import DEFAULTS, PRESETS
from tests.contract import assert_batch_independent
from tests.marks import rest_medium
from zoo.cost import count_macs
from zoo.shelf import Shelf

SCORES = {"accuracy": "accuracy", "macro_f1": "macro_f1", "uar": "mean_recall"}


def predict(model, images):
    """Without the graph of `predict`, which takes seconds to trace."""
    return np.asarray(model(images))


def test_names():
    assert zoo.list() == sorted([*DEFAULTS, *PRESETS])
    assert zoo.list("patt*fer2013") == ["patt_lite.fer2013"]
    assert zoo.list(pretrained=True) == zoo.list()
    assert zoo.list(pretrained=False) == []
    assert zoo.info("patt_lite") is zoo.info("patt_lite.ferplus")


@pytest.mark.parametrize(
    ("name", "near"), [("pattlite", "patt_lite"), ("patt_lite.ferpuls", "ferplus")]
)
@pytest.mark.parametrize("function", [zoo.info, zoo.load])
def test_unknown_names_get_suggestions(function, name, near):
    with pytest.raises(ValueError, match=f"name must .*, got '{name}'.*mean.*{near}"):
        function(name)


@pytest.mark.parametrize("name", rest_medium(PRESETS))
def test_presets_say_the_truth(name):
    preset = PRESETS[name]
    file = loading.bundled(preset)
    # SCAN-CCI has two convolutions of 256 channels for attention alone.
    most = 6 if name == "scan_cci.ferplus" else 4
    assert file.stat().st_size < most * 2**20
    assert hashlib.sha256(file.read_bytes()).hexdigest() == preset.sha256
    model = zoo.load(name)
    assert isinstance(model, keras.Model) and model.compiled
    assert model.labels == preset.labels
    assert model.count_params() == preset.parameters
    assert count_macs(model) == preset.macs
    assert set(preset.arguments) <= set(
        inspect.signature(getattr(models, preset.architecture)).parameters
    )


@pytest.mark.parametrize("name", PRESETS)
def test_scores_are_those_of_the_results(name):
    preset = PRESETS[name]
    result = Shelf().evaluations(name)[None]
    assert result["sha256"] == preset.sha256
    assert result["labels"] == list(preset.labels)
    assert preset.score == {
        name: round(result["all"][metric], 1) for metric, name in SCORES.items()
    }
    assert preset.balance.score == {
        name: round(result["balanced"]["all"][metric], 1)
        for metric, name in SCORES.items()
    }
    # What it is for.
    assert preset.balance.score["mean_recall"] > preset.score["mean_recall"]
    for part in ("all", "without_duplicates"):
        confusion = np.array(result[part]["confusion"])
        assert confusion.sum() == result[part]["n"]
        accuracy = 100 * confusion.trace() / confusion.sum()
        assert accuracy == pytest.approx(result[part]["accuracy"])


@pytest.mark.parametrize("runtime", ["keras", "onnx"])
def test_balanced_probabilities_make_up_for_the_prior(images, runtime):
    """Bayes' theorem: they are divided by a power of the frequencies in training."""
    balance = zoo.info("patt_lite").balance
    assert sum(balance.prior) == pytest.approx(1, abs=1e-4)
    odds = zoo.load("patt_lite", runtime=runtime).predict(images)
    odds = odds / np.power(balance.prior, balance.tau)
    model = zoo.load("patt_lite", runtime=runtime, balanced=True)
    np.testing.assert_allclose(
        model.predict(images), odds / odds.sum(axis=1, keepdims=True), atol=1e-5
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"labels": ["a", "b"]},
        {"num_classes": 3},
        {"weights": None},
        {"revision": "main"},
        {"weights": "mine.weights.h5"},
    ],
    ids=str,
)
def test_only_a_preset_as_it_is_can_be_balanced(arguments):
    with pytest.raises(ValueError, match="balanced=True is for a preset as it is"):
        zoo.load("patt_lite", balanced=True, **arguments)


@pytest.mark.medium
@pytest.mark.parametrize("name", PRESETS)
def test_predictions_do_not_depend_on_batch_dependence(name, images):
    assert_batch_independent(zoo.load(name), images)


@pytest.mark.medium
def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    copy = tmp_path / "copy.weights.h5"
    shutil.copy(loading.bundled(zoo.info("patt_lite")), copy)
    monkeypatch.setattr(loading, "bundled", lambda preset: copy)
    zoo.load("patt_lite")
    changed = bytearray(copy.read_bytes())
    changed[len(changed) // 2] ^= 1
    copy.write_bytes(changed)
    with pytest.raises(ValueError, match="not the published ones: the sha256 of"):
        zoo.load("patt_lite")


def test_a_missing_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "bundled", lambda preset: tmp_path / "gone.weights.h5")
    with pytest.raises(FileNotFoundError, match="Reinstall keras-fer"):
        zoo.load("patt_lite")
    with pytest.raises(FileNotFoundError, match="Reinstall keras-fer"):
        zoo.load("patt_lite", num_classes=3)


@pytest.mark.medium
def test_random_weights_only_when_asked(images):
    trained, again = zoo.load("patt_lite"), zoo.load("patt_lite")
    drawn = zoo.load("patt_lite", weights=None)
    same, different = (predict(model, images) for model in (again, drawn))
    np.testing.assert_array_equal(predict(trained, images), same)
    assert np.abs(same - different).max() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be an integer .* got 0"),
        ({"num_classes": 3, "labels": ["a", "b"]}, "num_classes=3 and 2 labels"),
        ({"labels": ["a"]}, "labels must be at least two distinct names"),
        ({"weights": "hf://repo"}, "An address must be .*, got 'hf://repo'"),
        ({"revision": "v1"}, "revision must be left out for what is not on the Hub"),
        ({"weights": __file__}, "weights must be a .weights.h5 file, got"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        zoo.load("patt_lite", **arguments)


@pytest.mark.medium
def test_a_new_head_starts_from_the_trained_network(images):
    trained = zoo.load("patt_lite")
    model = zoo.load("patt_lite", num_classes=3)
    assert model.labels == ("class_0", "class_1", "class_2")
    old, new = (
        keras.Model(net.input, net.get_layer("logits").input)
        for net in (trained, model)
    )
    np.testing.assert_array_equal(predict(old, images), predict(new, images))
    history = model.fit(images, np.arange(40) % 3, epochs=2, verbose=0).history
    assert set(history) == {"accuracy", "loss"} and np.isfinite(history["loss"]).all()


@pytest.mark.medium
def test_the_presets_own_classes_keep_the_head(images):
    expected = predict(zoo.load("patt_lite"), images)
    for arguments in ({"num_classes": 8}, {"labels": keras_fer.LABELS}):
        same = predict(zoo.load("patt_lite", **arguments), images)
        np.testing.assert_array_equal(same, expected)
    turned = zoo.load("patt_lite", labels=keras_fer.LABELS[::-1])
    np.testing.assert_allclose(predict(turned, images)[:, ::-1], expected, atol=1e-6)


class TestOwnWeights:
    @pytest.fixture
    def file(self, tmp_path):
        model = zoo.load("patt_lite", labels=["a", "b", "c"])
        model.save_weights(tmp_path / "mine.weights.h5")
        self.model = model
        return tmp_path / "mine.weights.h5"

    @pytest.mark.parametrize(
        "kind", rest_medium([str, lambda file: file, lambda file: file.parent])
    )
    def test_come_back(self, file, kind, images):
        model = zoo.load("patt_lite", kind(file), labels=["a", "b", "c"])
        assert model.labels == ("a", "b", "c")
        np.testing.assert_array_equal(
            predict(model, images), predict(self.model, images)
        )

    def test_of_other_classes_get_a_new_head(self, file):
        assert zoo.load("patt_lite", file, labels=["x", "y"]).labels == ("x", "y")

    def test_without_names_are_refused(self, file):
        with pytest.raises(ValueError, match="labels must name the 3 classes"):
            zoo.load("patt_lite", file)

    def test_that_are_damaged_are_refused(self, file):
        file.write_bytes(file.read_bytes()[:5000])
        with pytest.raises(
            ValueError, match="weights must be a .weights.h5 file of this"
        ):
            zoo.load("patt_lite", file, labels=["a", "b", "c"])

    def test_of_another_model_are_refused(self, file):
        other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        other.save_weights(file)
        with pytest.raises(
            ValueError, match="weights must be a .weights.h5 file of this"
        ):
            zoo.load("patt_lite", file, labels=["a", "b", "c"])

    @pytest.mark.parametrize("value", rest_medium([np.nan, np.inf]))
    def test_that_are_not_finite_are_refused(self, file, value):
        self.model.get_layer("logits").bias.assign([0, value, 0])
        self.model.save_weights(file)
        with pytest.raises(ValueError, match="has NaN or infinity in layers/"):
            zoo.load("patt_lite", file, labels=["a", "b", "c"])

    def test_that_are_not_there_are_refused(self, tmp_path):
        for weights in (tmp_path, tmp_path / "none.weights.h5"):
            with pytest.raises(FileNotFoundError, match="weights must be"):
                zoo.load("patt_lite", weights)


@pytest.mark.slow
def test_fine_tuning_beats_the_same_head_on_random_weights(real_data):
    """Three classes, 100 faces each; 200 each held back."""
    from zoo import data

    faces = data.fer2013(real_data, "public_test")
    names = ("happiness", "surprise", "anger")
    classes = [faces.labels.index(name) for name in names]
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.flatnonzero(faces.classes == c))[:300] for c in classes]
    few, held = ([row[part] for row in rows] for part in (slice(100), slice(100, 300)))
    scores = {}
    for weights in ("default", None):
        keras.utils.set_random_seed(0)
        model = zoo.load("patt_lite", weights, labels=names)
        truth = np.repeat(np.arange(3), 100)
        model.fit(faces.images[np.concatenate(few)], truth, epochs=5, verbose=0)
        _, scores[weights] = model.evaluate(
            faces.images[np.concatenate(held)], np.repeat(np.arange(3), 200), verbose=0
        )
    print(scores)
    assert scores["default"] > scores[None] + 0.2


def test_the_batch_norm_of_the_backbone_can_be_trained_again():
    model = zoo.load("patt_lite")
    layers = model.get_layer("backbone").layers
    norms = [
        each for each in layers if isinstance(each, keras.layers.BatchNormalization)
    ]
    assert norms and not any(each.trainable for each in norms)
    for each in layers:  # As the docstring of `zoo.load` says.
        each.trainable = True
    before = len(model.trainable_weights)
    assert all(each.trainable for each in norms)
    frozen = zoo.load("patt_lite")
    assert before == len(frozen.trainable_weights) + 2 * len(norms)
