import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_fer.faces import detect
from keras_fer.faces.detect import mtcnn


def test_it_needs_neither_keras_nor_tensorflow():
    code = (
        "import sys, numpy\n"
        "sys.modules.update(keras=None, tensorflow=None)  # Makes imports fail.\n"
        "import keras_fer.faces as faces\n"
        "faces.detect(numpy.zeros((50, 50, 3)), 'mtcnn')\n"
        "print([m for m in ('keras', 'tensorflow', 'jax') if sys.modules.get(m)])"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    output = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert output.stdout.strip() == "[]"


def test_networks_equal_those_of_the_package():
    stages = pytest.importorskip("mtcnn.stages")
    theirs = (stages.StagePNet, stages.StageRNet, stages.StageONet)
    rng = np.random.default_rng(0)
    shapes = ((1, 37, 52, 3), (3, 24, 24, 3), (3, 48, 48, 3))
    for name, stage, shape in zip(mtcnn.NETWORKS, theirs, shapes, strict=True):
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        expected = stage().model((images - 127.5).astype("float32") / 128)
        outputs = mtcnn.load_network(name).run(None, {"images": images})
        *offsets, scores = (np.asarray(each) for each in expected)
        if name == "pnet":  # Offsets and the logit of the score in one map.
            (output,) = outputs
            output = output.transpose(0, 2, 3, 1)
            outputs = [output[..., :4], 1 / (1 + np.exp(-output[..., 4:]))]
        for output, reference in zip(outputs, [*offsets, scores[..., 1:]], strict=True):
            np.testing.assert_allclose(output, reference, atol=2e-5)


def test_faces_equal_those_of_the_package(portrait):
    package = pytest.importorskip("mtcnn")
    (theirs,) = package.MTCNN().detect_faces(portrait)
    (face,) = detect(portrait, "mtcnn")
    # The pyramids differ by a border, so boxes differ by a few pixels.
    np.testing.assert_allclose(face.box, theirs["box"], atol=12)
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    points = [theirs["keypoints"][name] for name in names]
    np.testing.assert_allclose(face.landmarks, points, atol=6)


@pytest.mark.parametrize("size", [48, 200])
def test_a_face_that_fills_the_image_is_found(portrait, size):
    part = Image.fromarray(portrait).crop((190, 120, 340, 320)).resize((size, size))
    (face,) = detect(np.array(part), "mtcnn")
    assert face.box[2] * face.box[3] > 0.5 * size**2


def test_a_damaged_cache_is_replaced(tmp_path, monkeypatch, portrait):
    monkeypatch.setenv("KERAS_FER_CACHE", str(tmp_path))
    mtcnn.load_network("pnet")
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:1000])
    mtcnn.load_network("pnet")
    assert file.read_bytes() == content
    assert [*tmp_path.iterdir()] == [file]


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_FER_CACHE", str(tmp_path / "file"))
    assert mtcnn.load_network("pnet").get_inputs()[0].name == "images"
