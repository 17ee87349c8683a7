import hashlib
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from keras_fer import zoo
from keras_fer.hub import release
from keras_fer.models import PAttLite
from keras_fer.models.saved import load_saved
from keras_fer.runtime import LiteRTModel, OnnxModel
from tests.hub_server import HubServer

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports go through TensorFlow"
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small `.keras` file."""
    path = tmp_path_factory.mktemp("saved") / "mine.keras"
    keras.utils.set_random_seed(0)
    model = PAttLite(labels=["calm", "tense"], input_size=48, backbone_weights=None)
    model.save(path)
    return path


@pytest.fixture
def faces(tmp_path):
    """A folder of images of different sizes, one of them damaged."""
    folder, rng = tmp_path / "faces", np.random.default_rng(0)
    folder.mkdir()
    for number in range(6):
        image = rng.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
    (folder / "6.png").write_bytes(b"damaged")
    return folder


@tensorflow_only
@pytest.mark.medium
def test_a_preset(run, tmp_path, images):
    path = tmp_path / "model.onnx"
    status, output, errors = run("export", "patt_lite", path, "--precision", "float16")
    assert (status, errors) == (0, "")
    assert output == f"{path}: onnx, float16, 2.1 MiB\n"
    exported = OnnxModel(path)
    known = zoo.info("patt_lite")
    assert exported.info.preset == known.name == "patt_lite.ferplus"
    assert exported.info.weights_sha256 == known.sha256
    bundled = zoo.load("patt_lite", runtime="onnx")
    np.testing.assert_allclose(
        exported.predict(images), bundled.predict(images), atol=1e-5
    )


@tensorflow_only
@pytest.mark.medium
def test_a_saved_model(run, tmp_path, saved, images):
    path = tmp_path / "model.tflite"
    status, _, errors = run("export", saved, path)
    assert (status, errors) == (0, "")
    exported = LiteRTModel(path)
    assert exported.labels == ("calm", "tense") and exported.info.preset is None
    expected = keras.saving.load_model(saved).predict(images, verbose=0)
    np.testing.assert_allclose(exported.predict(images), expected, atol=1e-5)


@tensorflow_only
@pytest.mark.medium
def test_a_model_of_the_hub(saved, tmp_path):
    """In a process of its own: the client reads its settings at import."""
    card = "---\nlicense: mit\n---\n"
    release.write(load_saved(saved), tmp_path / "release", {}, card)
    files = {path.name: path.read_bytes() for path in (tmp_path / "release").iterdir()}
    path = tmp_path / "model.onnx"
    with HubServer() as server:
        commit = server.add_repo("user/repo", files)
        command = [sys.executable, "-m", "keras_fer.cli", "export", "hf://user/repo"]
        process = subprocess.run(
            [*command, str(path)],
            env={**os.environ, **server.environment(tmp_path / "home")},
            capture_output=True,
            text=True,
        )
    assert process.returncode == 0, process.stderr
    exported = OnnxModel(path)
    assert exported.labels == ("calm", "tense")
    digest = hashlib.sha256(files[release.WEIGHTS]).hexdigest()
    assert exported.info.preset == f"hf://user/repo@{commit}"
    assert exported.info.weights_sha256 == digest


@tensorflow_only
@pytest.mark.medium
def test_int8(run, tmp_path, saved, faces):
    path = tmp_path / "model.onnx"
    arguments = ("export", saved, path, "--precision", "int8", "--calibration", faces)
    status, output, errors = run(*arguments)
    assert status == 0 and "int8" in output and "calibrated on 6 images" in output
    assert errors.count("\n") == 1 and "6.png" in errors
    assert OnnxModel(path).info.precision == "int8"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("patt_lit", "a.onnx"), "Did you mean patt_lite"),
        (("patt_lite", "a.pb"), "FILE must end in .onnx, .tflite, .xml"),
        (("patt_lite", "a"), "or --format be given"),
        (("patt_lite", "a.onnx", "--format", "pt"), "invalid choice: 'pt'"),
        (("patt_lite", "a.onnx", "--precision", "int8"), "go together"),
        (("patt_lite", "a.onnx", "--calibration", "faces"), "go together"),
    ],
)
def test_wrong_usage(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, output, errors = run("export", *arguments)
    assert (status, output) == (2, "")
    assert message in errors.splitlines()[-1]
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("patt_lite", "taken.onnx"), "exists. Pass overwrite=True or --overwrite"),
        (("patt_lite", "folder.onnx", "--overwrite"), "is a folder, which is not"),
        (("patt_lite", "folder", "--format", "saved_model", "--overwrite"), "is a fol"),
        (("patt_lite", "model.xml"), "model.bin' exists"),
        (("patt_lite", "nowhere/a.onnx"), "There is no folder 'nowhere'"),
        (("patt_lite", "/proc/a.onnx"), "'/proc/a.onnx' cannot be written"),
        (("patt_lite", "a.tflite", "--format", "onnx"), "path must end in .onnx"),
        (("patt_lite", "a.xml", "--precision", "int8", "--calibration", "folder.onnx"),
         "has no images to calibrate with"),
        (("patt_lite", "a.onnx", "--precision", "int8", "--calibration", "gone"),
         "There is no folder 'gone'"),
        (("gone.keras", "a.onnx"), "There is no file 'gone.keras'"),
        (("damaged.keras", "taken.onnx", "--overwrite"), "No model can be read from"),
    ],
)  # fmt: skip
@tensorflow_only
def test_one_line_and_nothing_is_changed(
    run, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    for name in ("folder", "folder.onnx"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    for name in ("taken.onnx", "model.bin", "damaged.keras"):
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    status, output, errors = run("export", *arguments)
    assert (status, output) == (1, "")
    assert errors.startswith("keras-fer: ") and errors.count("\n") == 1
    assert message in errors
    assert sorted(tmp_path.rglob("*")) == before
    assert {p.read_text() for p in before if p.is_file()} == {"mine"}


@pytest.mark.parametrize(
    ("file", "package"), [("a.onnx", "tf2onnx"), ("a.xml", "openvino")]
)
def test_without_a_converter(run, tmp_path, monkeypatch, file, package):
    monkeypatch.setitem(sys.modules, package, None)
    status, _, errors = run("export", "patt_lite", tmp_path / file)
    assert status == 1 and errors.count("\n") == 1
    assert f"This export needs '{package}'" in errors and "pip install" in errors
    assert not [*tmp_path.iterdir()]
