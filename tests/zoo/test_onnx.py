import dataclasses
import shutil

import numpy as np
import pytest

from keras_fer import zoo
from keras_fer.zoo import onnx
from keras_fer.zoo.presets import PRESETS
from tests.marks import rest_medium
from zoo import golden

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(params=rest_medium(PRESETS))
def loaded(request):
    return zoo.load(request.param, runtime="onnx")


def test_what_it_says(loaded):
    preset = PRESETS[loaded.info.preset]
    assert loaded.labels == preset.labels
    assert loaded.input_size == preset.arguments["input_size"]
    assert loaded.info.weights_sha256 == preset.sha256
    assert loaded.info.precision == "float16"


def test_it_predicts_what_the_keras_model_predicts(loaded, images):
    model = zoo.load(loaded.info.preset)
    batches = [images, *golden.inputs().values()]
    for batch in batches:
        expected = np.asarray(model(batch))
        outputs = loaded.predict(batch)
        # Weights are stored in half precision.
        np.testing.assert_allclose(outputs, expected, atol=0.02)
        assert (outputs.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.95


def test_a_prediction_does_not_depend_on_the_batch(loaded, images):
    together = loaded.predict(images)
    for order, size in ((np.arange(40), 1), (np.arange(40)[::-1], 7)):
        outputs = loaded.predict(images[order], batch_size=size)
        np.testing.assert_allclose(outputs, together[order], atol=1e-5)


def test_only_presets_as_they_are():
    for options in (
        {"labels": ["a", "b"]},
        {"num_classes": 3},
        {"weights": None},
        {"revision": "main"},
    ):
        with pytest.raises(ValueError, match="loads a preset as it is"):
            zoo.load("patt_lite", runtime="onnx", **options)
    with pytest.raises(ValueError, match="runtime must be 'keras' or 'onnx'"):
        zoo.load("patt_lite", runtime="torch")


def test_a_changed_or_missing_file_is_refused(tmp_path, monkeypatch):
    preset = PRESETS["iram.fer2013"]
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(onnx, "__file__", str(tmp_path / "onnx.py"))
    with pytest.raises(FileNotFoundError, match="Reinstall keras-fer"):
        onnx.load_onnx(preset)
    other = PRESETS["llam.fer2013"]
    monkeypatch.undo()
    source = onnx.pathlib.Path(onnx.__file__).with_name("weights") / other.onnx
    shutil.copy(source, folder / preset.onnx)
    monkeypatch.setattr(onnx, "__file__", str(tmp_path / "onnx.py"))
    with pytest.raises(ValueError, match="is not the published file of iram.fer2013"):
        onnx.load_onnx(preset)
    with pytest.raises(ValueError, match="has no ONNX file"):
        onnx.load_onnx(dataclasses.replace(preset, onnx=None))
