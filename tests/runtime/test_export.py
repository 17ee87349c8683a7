import json
import os
import sys

import keras
import numpy as np
import pytest

import keras_fer
from keras_fer import models
from keras_fer.runtime import LiteRTModel, OnnxModel, export

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports go through TensorFlow"
)
SIZES = [(48, 48), (31, 77), (96, 96), (200, 150), (9, 9)]


@pytest.fixture(scope="module")
def files(model, tmp_path_factory, photos):
    """Paths of the model in each format and precision, written once."""
    folder, known = tmp_path_factory.mktemp("exports"), {}

    def get(format, precision):
        key = (format, precision)
        if key not in known:
            suffix = {"onnx": ".onnx", "litert": ".tflite"}.get(format, "")
            path = folder / f"{format}_{precision}{suffix}"
            calibration = photos if precision == "int8" else None
            known[key] = export(model, path, *key, calibration=calibration)
        return known[key]

    return get


def batch(size):
    return np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)


def run_litert(path, images):
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    (entry,) = interpreter.get_input_details()
    assert entry["dtype"] == np.uint8
    interpreter.resize_tensor_input(entry["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(entry["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_onnx_equals_keras(model, files, size):
    images = batch(size)
    exported = OnnxModel(files("onnx", "float32"))
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(exported.predict(images), expected, atol=1e-5)
    # Batch independence.
    alone = np.concatenate([exported.predict(image[None]) for image in images[::-1]])
    np.testing.assert_allclose(alone[::-1], expected, atol=1e-5)


@pytest.mark.medium
@pytest.mark.parametrize("size", SIZES[:3], ids=str)
def test_litert_equals_keras(model, files, size):
    images = batch(size)
    outputs = run_litert(files("litert", "float32"), images)
    np.testing.assert_allclose(outputs, model.predict(images, verbose=0), atol=1e-5)


@pytest.mark.medium
def test_saved_model_equals_keras(model, files):
    import tensorflow as tf

    path = files("saved_model", "float32")
    images = batch((31, 77))
    loaded = tf.saved_model.load(str(path))
    outputs = loaded.serve(images)
    np.testing.assert_allclose(outputs, model.predict(images, verbose=0), atol=1e-5)
    said = json.loads((path / "assets.extra" / "keras_fer.json").read_text())
    assert said["labels"] == list(model.labels)


@pytest.mark.medium
def test_openvino_equals_keras(model, tmp_path):
    openvino = pytest.importorskip("openvino")
    path = export(model, tmp_path / "model.xml", "openvino")
    compiled = openvino.compile_model(str(path), "CPU")
    for size in SIZES:
        images = batch(size)
        expected = model.predict(images, verbose=0)
        np.testing.assert_allclose(compiled(images)[0], expected, atol=1e-5)


@pytest.mark.medium
def test_half_precision_takes_half_the_room(model, files, photos):
    full, half = files("onnx", "float32"), files("onnx", "float16")
    assert os.path.getsize(half) < 0.55 * os.path.getsize(full)
    outputs = OnnxModel(half).predict(photos)
    np.testing.assert_allclose(outputs, model.predict(photos, verbose=0), atol=0.02)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("format", "runtime"), [("onnx", OnnxModel), ("litert", LiteRTModel)]
)
def test_int8_takes_a_third_of_the_room(model, files, photos, format, runtime):
    full, small = files(format, "float32"), files(format, "int8")
    assert os.path.getsize(small) < 0.4 * os.path.getsize(full)
    exported = runtime(small)
    assert exported.info.precision == "int8"
    outputs = exported.predict(photos)
    expected = model.predict(photos, verbose=0)
    np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-3)
    assert np.abs(outputs - expected).mean() < 0.1
    # Resizing is not quantized: other sizes than those of the calibration work.
    for size in SIZES[2:]:
        images = batch(size)
        difference = exported.predict(images) - model.predict(images, verbose=0)
        assert np.abs(difference).mean() < 0.1
        # Batch independence, up to activations that are rounded to the next step.
        alone = np.concatenate([exported.predict(image[None]) for image in images])
        np.testing.assert_allclose(alone, exported.predict(images), atol=0.02)


@pytest.mark.medium
def test_what_the_file_says(model, files):
    info = OnnxModel(files("onnx", "float16")).info
    assert info.labels == tuple(model.labels)
    assert info.input_size == 48 and info.precision == "float16"
    assert info.preset is None and info.keras_fer == keras_fer.__version__


@pytest.mark.medium
def test_a_litert_file_says_the_same(model, files):
    from tensorflow.lite.tools import flatbuffer_utils

    network = flatbuffer_utils.read_model(str(files("litert", "float32")))
    (entry,) = (e for e in network.metadata if e.name == b"keras_fer")
    said = json.loads(bytes(network.buffers[entry.buffer].data))
    assert said["labels"] == list(model.labels) and said["input_size"] == 48


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("AttentionNetwork", {"backbone": "mobilenet_v1", "attention": "cbam"}),
        ("AttentionNetwork", {"backbone": "vgg16"}),
        ("AttentionNetwork", {"backbone": "resnet50", "attention": "se"}),
        ("IRAM", {"backbone": "mobilenet_v1"}),
        ("LLAM", {"backbone": "resnet18"}),
        ("PAttLite", {"attention": "none"}),
        ("ScanCCI", {"backbone": "mobilenet_v1", "shared": True}),
    ],
)
def test_every_model_and_backbone_exports(tmp_path, name, arguments):
    network = getattr(models, name)(
        7, input_size=64, backbone_weights=None, **arguments
    )
    images = batch((50, 40))
    expected = network.predict(images, verbose=0)
    path = export(network, tmp_path / "model.onnx")
    np.testing.assert_allclose(OnnxModel(path).predict(images), expected, atol=1e-4)
    path = export(network, tmp_path / "model.tflite", "litert")
    np.testing.assert_allclose(run_litert(path, images), expected, atol=1e-4)


def test_an_existing_file_stays(model, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(model, path)
    assert path.read_text() == "mine"


def test_a_failed_export_leaves_the_old_file(model, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_text("mine")
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match=r'pip install "keras-fer\[export\]"'):
        export(model, path, overwrite=True)
    assert path.read_text() == "mine"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.medium
def test_overwrite(model, tmp_path):
    path = tmp_path / "model.v1"
    for _ in range(2):
        export(model, path, "saved_model", overwrite=True)
    assert (path / "saved_model.pb").is_file() and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "a.onnx", "format": "pt"}, "format must be one of onnx, litert"),
        ({"path": "a.onnx", "precision": "int4"}, "precision must be one of float32"),
        ({"path": "a", "format": "saved_model", "precision": "int8"}, "saved_model"),
        ({"path": "a.pb"}, "path must end in .onnx"),
        ({"path": "a.xml", "format": "saved_model"}, "path must be a folder"),
        ({"path": "a.onnx", "precision": "int8"}, "calibration must be given"),
        ({"path": "a.onnx", "calibration": np.zeros((1, 8, 8, 3))}, "calibration"),
        (
            {"path": "a.onnx", "precision": "int8", "calibration": np.zeros((8, 8, 3))},
            "images must have shape",
        ),
    ],
)
def test_bad_arguments(model, tmp_path, arguments, message):
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(ValueError, match=message):
        export(model, **arguments)
    assert not [*tmp_path.iterdir()]


@pytest.mark.medium
def test_images_of_different_sizes_calibrate(model, tmp_path):
    faces = [np.full((size, 40, 1), size, "uint8") for size in (30, 50)]
    path = export(model, tmp_path / "a.onnx", "onnx", "int8", calibration=faces)
    assert OnnxModel(path).info.precision == "int8"
    with pytest.raises(ValueError, match="calibration must have images"):
        export(model, tmp_path / "b.onnx", "onnx", "int8", calibration=[])


def test_a_folder_is_not_replaced(model, tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(FileExistsError, match="is a folder, which is not replaced"):
        export(model, tmp_path, "saved_model", overwrite=True)
    assert (tmp_path / "mine.txt").exists()


def test_a_missing_folder(model, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        export(model, tmp_path / "nowhere" / "model.onnx")
