import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
from onnx import TensorProto, checker, helper, save

from keras_fer import zoo
from keras_fer.runtime.exported import METADATA, ExportInfo
from keras_fer.runtime.onnx import OnnxModel
from keras_fer.zoo.presets import PRESETS

INFO = ExportInfo(
    labels=("a", "b"),
    input="uint8 RGB",
    input_size=8,
    preset=None,
    license=None,
    weights_sha256=None,
    precision="float32",
    keras_fer="0.1.0",
)


SAID = INFO.to_json()


def write(path, info=SAID, outputs=2):
    """A file whose outputs are the mean of the image, repeated."""
    shape = [None, None, None, 3]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axis"], ["column"]),
        helper.make_node("Tile", ["column", "repeats"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [
            helper.make_tensor_value_info(
                "probabilities", TensorProto.FLOAT, [None, outputs]
            )
        ],
        [
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
            helper.make_tensor("repeats", TensorProto.INT64, [2], [1, outputs]),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    network = helper.make_model(graph, opset_imports=opset, ir_version=9)
    if info is not None:
        helper.set_model_props(network, {METADATA: info})
    checker.check_model(network)
    save(network, path)
    return path


@pytest.fixture
def loaded(tmp_path):
    return OnnxModel(write(tmp_path / "model.onnx"))


def test_labels_and_info(loaded):
    assert loaded.labels == ("a", "b") and loaded.input_size == 8
    assert loaded.info == INFO


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_predict(loaded, batch_size):
    images = np.random.default_rng(0).integers(0, 256, (5, 7, 9, 3), dtype=np.uint8)
    outputs = loaded.predict(images, batch_size)
    assert outputs.shape == (5, 2) and outputs.dtype == np.float32
    np.testing.assert_allclose(outputs[:, 1], images.mean(axis=(1, 2, 3)), rtol=1e-5)


def test_gray_floats_and_sizes(loaded):
    images = [np.full((4, 4, 1), 10.4), np.full((9, 2, 3), 200)]
    np.testing.assert_allclose(loaded.predict(images)[:, 0], [10, 200])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((4, 4, 3)), r"got \(4, 4, 3\).*image\[None\]"),
        (np.zeros((1, 4, 4, 4)), r"image\[..., :3\]"),
        (np.zeros((0, 4, 4, 3)), "must not be empty"),
        (np.full((1, 4, 4, 3), np.nan), "must be finite and in 0–255"),
        (np.full((1, 4, 4, 3), np.inf), "must be finite and in 0–255"),
        (np.full((1, 4, 4, 3), -1), "from -1 to -1"),
        (np.full((1, 4, 4, 3), 256.0), "to 256.0"),
        (np.full((1, 4, 4, 3), "x"), "must be numbers"),
    ],
)
def test_bad_images(loaded, images, message):
    with pytest.raises(ValueError, match=message):
        loaded.predict(images)


def test_bad_batch_size(loaded):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        loaded.predict(np.zeros((1, 4, 4, 3)), batch_size=0)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (None, "was not written by keras_fer.export"),
        ("", "metadata is malformed"),
        ("[]", "metadata is malformed"),
        ("{}", "metadata is malformed"),
        ("[" * 100_000, "metadata is malformed"),
        (SAID.replace('"a", "b"', '"a"'), "metadata is malformed"),
        (SAID.replace('"a", "b"', "1, 2"), "metadata is malformed"),
        (SAID.replace('"a"', '"a", "c"'), "3 labels and has 2 outputs"),
    ],
)
def test_foreign_files(tmp_path, info, message):
    with pytest.raises(ValueError, match=message) as error:
        OnnxModel(write(tmp_path / "model.onnx", info))
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("content", [b"", b"no model", "half"])
def test_damaged_files(tmp_path, content, capfd):
    path = write(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:150] if content == "half" else content)
    with pytest.raises(ValueError, match="model.onnx' is damaged or not an ONNX model"):
        OnnxModel(path)
    assert capfd.readouterr() == ("", "")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        OnnxModel(tmp_path / "model.onnx")


def test_without_onnxruntime(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        OnnxModel(write(tmp_path / "model.onnx"))


def test_it_needs_neither_keras_nor_tensorflow(tmp_path):
    path = write(tmp_path / "model.onnx")
    code = (
        "import sys, numpy; from keras_fer.runtime import OnnxModel\n"
        f"OnnxModel({str(path)!r}).predict(numpy.zeros((1, 5, 5, 3)))\n"
        "print([m for m in ('keras', 'tensorflow', 'onnx') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert output.stdout.strip() == "[]", output.stderr


def test_embeddings_need_a_last_layer(loaded):
    with pytest.raises(ValueError, match="dense layer and a softmax.*zoo.load"):
        loaded.embed(np.zeros((1, 4, 4, 3), np.uint8))


@pytest.mark.parametrize("name", PRESETS)
def test_embeddings_give_the_probabilities(name):
    """The weights of the last layer, from the `.h5` file, turn one into the other."""
    model = zoo.load(name, runtime="onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    if zoo.info(name).architecture == "ScanCCI":
        # Five votes, so no dense layer is the last one.
        with pytest.raises(ValueError, match="embed needs a graph that ends in"):
            model.embed(images)
        return
    features = model.embed(images, batch_size=2)
    assert features.dtype == np.float32 and len(features) == 3
    info = zoo.info(name)
    weights = pathlib.Path(zoo.__file__).with_name("weights") / info.weights
    with h5py.File(weights) as file:
        names = []
        file.visit(names.append)
        found = [file[name] for name in names if isinstance(file[name], h5py.Dataset)]
        found = [each[:] for each in found if each.shape[-1:] == (len(info.labels),)]
    bias, kernel = sorted(found, key=np.ndim)
    odds = np.exp((features @ kernel + bias) / info.temperature)
    expected = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict(images), expected, atol=1e-5)
