"""Models of the user's own, by the path of a file."""

import json
import pathlib

import numpy as np
import pytest

import keras_fer
from keras_fer import models, zoo
from keras_fer.cli import main
from keras_fer.cli.predict import sample_portrait
from tests.contract import disturb

LABELS = ("calm", "tense", "other")


@pytest.fixture(scope="module")
def saved(images, tmp_path_factory):
    """A fine-tuned model and its file, in a folder as of a run."""
    path = tmp_path_factory.mktemp("run") / "model.keras"
    model = models.PAttLite(labels=LABELS, input_size=48, backbone_weights=None)
    disturb(model)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(images, np.arange(40) % 3, epochs=1, verbose=0)
    model.save(path)
    return model, path


def test_load_and_info(saved, images):
    model, path = saved
    for name in (path, str(path), path.parent, str(path.parent)):
        loaded = zoo.load(name)
        np.testing.assert_allclose(
            loaded.predict(images, verbose=0),
            model.predict(images, verbose=0),
            atol=1e-6,
        )
        assert loaded.compiled and loaded.labels == LABELS
    info = zoo.info(path)
    assert (info.name, info.architecture) == (str(path), "PAttLite")
    assert info.labels == LABELS and info.parameters == model.count_params()
    head = zoo.load(path, labels=LABELS[::-1])
    np.testing.assert_allclose(
        head.predict(images, verbose=0),
        model.predict(images, verbose=0)[:, ::-1],
        atol=1e-6,
    )
    head.fit(images, np.arange(40) % 3, epochs=1, verbose=0)


def test_every_command_takes_it(saved, capsys, tmp_path):
    portrait_path, (_, path) = sample_portrait(), saved
    (expected,) = keras_fer.analyze(portrait_path, model=path, detector="haar")
    assert set(expected.probabilities) == set(LABELS)
    words = ["predict", portrait_path, "--detector", "haar", "--json", "--model"]
    assert main([*words, str(path)]) == 0
    (face,) = json.loads(capsys.readouterr().out)["faces"]
    assert face == expected.to_dict()
    assert main(["info", str(path.parent)]) == 0
    assert "calm, tense, other" in capsys.readouterr().out
    assert main(["export", str(path), str(tmp_path / "a.onnx")]) == 0
    exported = keras_fer.runtime.OnnxModel(tmp_path / "a.onnx")
    assert exported.labels == LABELS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": None}, "is a file: weights, num_classes, revision and balanced"),
        ({"balanced": True}, "is a file: weights, num_classes, revision and balanced"),
        ({"runtime": "onnx"}, "is a file for Keras. Write one for ONNX Runtime"),
    ],
)
def test_options_of_presets_are_refused(saved, options, message):
    with pytest.raises(ValueError, match=message):
        zoo.load(saved[1], **options)


def test_what_is_not_there(tmp_path, capsys):
    for name in ("gone.keras", pathlib.Path("gone"), tmp_path):
        for function in (zoo.load, zoo.info):
            with pytest.raises(
                FileNotFoundError, match="There is no file '.*keras|gone"
            ):
                function(name)
    for command in (["info"], ["predict", "a.jpg", "--model"]):
        assert main([*command, "gone.keras"]) == 1
        assert "There is no file 'gone.keras'" in capsys.readouterr().err
