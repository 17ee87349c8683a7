import pathlib

import keras
import numpy as np
import pytest

from keras_fer.models import PAttLite
from keras_fer.models.saved import load_saved


@pytest.fixture(scope="module")
def model():
    return PAttLite(labels=["a", "b"], input_size=48, backbone_weights=None)


def test_what_was_saved_is_loaded(model, images, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = load_saved(tmp_path / "model.keras")
    assert loaded.labels == ("a", "b")
    np.testing.assert_allclose(loaded(images[:2]), model(images[:2]), atol=1e-6)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load_saved(tmp_path / "model.keras")


@pytest.mark.parametrize("content", [b"", b"no model", "half"])
def test_damaged_files(model, tmp_path, content):
    path = tmp_path / "model.keras"
    model.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(ValueError, match="No model can be read") as error:
        load_saved(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_code_in_a_file_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((2,))
    touch = keras.layers.Lambda(lambda x: (x, open("ran", "w").close())[0])
    keras.Model(inputs, touch(inputs)).save("model.keras")
    pathlib.Path("ran").unlink()
    with pytest.raises(ValueError, match="No model can be read"):
        load_saved("model.keras")
    assert not pathlib.Path("ran").exists()


def test_another_kind_of_model(tmp_path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(
        tmp_path / "model.keras"
    )
    with pytest.raises(ValueError, match="holds another kind of model, a Sequential"):
        load_saved(tmp_path / "model.keras")


def test_nan(model, tmp_path):
    layer = model.get_layer("logits")
    weights = layer.get_weights()
    layer.set_weights([np.nan * each for each in weights])
    model.save(tmp_path / "model.keras")
    layer.set_weights(weights)
    with pytest.raises(ValueError, match="has NaN or infinity in logits"):
        load_saved(tmp_path / "model.keras")
