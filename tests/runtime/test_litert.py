import subprocess
import sys

import numpy as np
import pytest

from keras_fer.runtime import LiteRTModel
from keras_fer.runtime.exported import METADATA
from tests.runtime.test_onnx import SAID

pytest.importorskip("tensorflow")


def convert(outputs):
    """A file whose outputs are the mean of the image, repeated."""
    import tensorflow as tf

    image = tf.TensorSpec((None, None, None, 3), tf.uint8, "image")

    @tf.function(input_signature=[image])
    def mean(image):
        means = tf.reduce_mean(tf.cast(image, tf.float32), axis=(1, 2, 3))
        return tf.tile(means[:, None], (1, outputs))

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [mean.get_concrete_function()], mean
    )
    return converter.convert()


@pytest.fixture(scope="module")
def content():
    return convert(outputs=2)


def write(path, content, info=SAID):
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    network = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    if info is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(info.encode(), np.uint8)
        network.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA.encode(), len(network.buffers) - 1
        network.metadata = [*(network.metadata or []), entry]
    flatbuffer_utils.write_model(network, str(path))
    return path


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_predict(tmp_path, content, batch_size, capfd):
    loaded = LiteRTModel(write(tmp_path / "model.tflite", content), threads=1)
    assert loaded.labels == ("a", "b") and loaded.input_size == 8
    images = np.random.default_rng(0).integers(0, 256, (5, 7, 9, 3), dtype=np.uint8)
    outputs = loaded.predict(images, batch_size)
    assert outputs.shape == (5, 2) and outputs.dtype == np.float32
    np.testing.assert_allclose(outputs[:, 1], images.mean(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(loaded.predict(images[:2]), outputs[:2])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (None, "was not written by keras_fer.export"),
        ("[]", "metadata is malformed"),
        (SAID.replace('"a"', '"a", "c"'), "3 labels and has 2 outputs"),
    ],
)
def test_foreign_files(tmp_path, content, info, message):
    with pytest.raises(ValueError, match=message):
        LiteRTModel(write(tmp_path / "model.tflite", content, info))


@pytest.mark.parametrize("damage", ["empty", "text", "half", "onnx"])
def test_damaged_files(tmp_path, content, damage, capfd):
    path = write(tmp_path / "model.tflite", content)
    whole = path.read_bytes()
    damaged = {"empty": b"", "text": b"no model" * 50, "half": whole[: len(whole) // 2]}
    path.write_bytes(damaged.get(damage, b"\x08\x08\x12\x07tf2onnx" + bytes(100)))
    with pytest.raises(ValueError, match="is damaged or not a LiteRT model") as error:
        LiteRTModel(path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_flipped_bytes_are_an_error_or_harmless(tmp_path, content):
    """In a process of their own, which a crash would end."""
    path = write(tmp_path / "model.tflite", content)
    code = (
        "import numpy as np; from keras_fer.runtime import LiteRTModel\n"
        f"path = {str(path)!r}; whole = np.fromfile(path, np.uint8)\n"
        "rng, refused = np.random.default_rng(0), 0\n"
        "for _ in range(150):\n"
        "    damaged = whole.copy()\n"
        "    where = rng.integers(0, len(whole), 4)\n"
        "    damaged[where] ^= np.uint8(rng.integers(1, 256))\n"
        "    damaged.tofile(path)\n"
        "    try: LiteRTModel(path, threads=1)\n"
        "    except ValueError: refused += 1\n"
        "print(refused)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert int(process.stdout) > 15


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file"):
        LiteRTModel(tmp_path / "model.tflite")


def test_without_litert(tmp_path, content, monkeypatch):
    path = write(tmp_path / "model.tflite", content)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match="pip install ai-edge-litert"):
        LiteRTModel(path)


def test_it_needs_neither_keras_nor_tensorflow(tmp_path, content):
    path = write(tmp_path / "model.tflite", content)
    code = (
        "import sys, numpy; from keras_fer.runtime import LiteRTModel\n"
        f"LiteRTModel({str(path)!r}).predict(numpy.zeros((1, 5, 5, 3)))\n"
        "print([m for m in ('keras', 'tensorflow') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert output.stdout.strip() == "[]", output.stderr
