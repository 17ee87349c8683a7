import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import keras_fer

ROOT = pathlib.Path(__file__).parents[1]


def run(code, **options):
    return subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        **options,
    ).stdout


def test_importing_is_light():
    heavy = run(
        "import sys, keras_fer, keras_fer.zoo, keras_fer.faces; keras_fer.zoo.list();"
        "print({'tensorflow', 'keras', 'cv2', 'mtcnn', 'matplotlib'} & {*sys.modules})"
    )
    assert heavy.strip() == "set()"


def test_the_public_names_are_there():
    for name in keras_fer.__all__:
        assert getattr(keras_fer, name) is not None
    assert "zoo" in dir(keras_fer)
    assert pathlib.Path(keras_fer.__file__).with_name("py.typed").is_file()
    with pytest.raises(AttributeError, match="nonsense"):
        _ = keras_fer.nonsense


def test_the_version_is_written_once():
    namespace = {}
    exec((ROOT / "keras_fer" / "_version.py").read_text("utf-8"), namespace)
    assert keras_fer.__version__ == namespace["__version__"]


USER = """
import keras_fer

faces = keras_fer.analyze("x.jpg")
reveal_type(keras_fer.analyze)
reveal_type(faces)
for face in faces:
    reveal_type(face.label)
reveal_type(keras_fer.LABELS)
reveal_type(keras_fer.explain)
reveal_type(keras_fer.training.multi_worker)
keras_fer.nonsense
keras_fer.analyze()
"""


@pytest.mark.medium
def test_a_type_checker_knows_the_lazy_attributes(tmp_path, pytestconfig):
    """Which a user's program is checked against, without settings of ours."""
    (tmp_path / "user.py").write_text(USER)
    cache = pytestconfig.cache.mkdir("mypy")
    arguments = f"--config-file= --cache-dir={cache} --follow-imports=silent user.py"
    output = subprocess.run(
        [sys.executable, "-m", "mypy", "--ignore-missing-imports", *arguments.split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
    ).stdout
    revealed = dict(re.findall(r'user.py:(\d+): note: Revealed type is "(.+)"', output))
    function, faces, label, labels, explain, multi_worker = revealed.values()
    # For one image and, of an iterable, with errors raised and returned.
    assert function.startswith("Overload(def (image: ")
    assert re.findall(r"\) -> (list\[.*?\])(?=, def \(image|\)$)", function) == [
        faces,
        f"list[{faces}]",
        f"list[{faces} | keras_fer.faces.images.ImageError]",
    ]
    assert faces == "list[keras_fer.faces.detect.base.Face]"
    assert label in ("str", "str | None")
    assert labels.startswith("tuple[")
    assert explain.startswith("def (model: ")
    assert multi_worker.startswith("def (model: ")
    errors = re.findall(r"user.py:(\d+): error: (.+?)  \[(.+)\]", output)
    assert [(line, code) for line, _, code in errors] == [
        ("12", "attr-defined"),
        ("13", "call-overload"),
    ], output
    assert 'Module has no attribute "nonsense"' in errors[0][1]


@pytest.mark.medium
def test_a_saved_model_comes_back_in_a_new_process(tmp_path, images):
    """Whichever of keras and keras_fer is imported first."""
    model = keras_fer.zoo.load("patt_lite")
    expected = np.asarray(model(images))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    for imports in ("keras_fer, keras", "keras, keras_fer", "keras_fer.layers, keras"):
        output = run(
            f"import {imports}, json, numpy as np\n"
            "model = keras.saving.load_model('model.keras')\n"
            "images = np.load('images.npy')\n"
            "print(json.dumps([model.labels, model.input_size,"
            " np.asarray(model(images)).tolist()]))",
            cwd=tmp_path,
        )
        labels, size, probabilities = json.loads(output)
        assert (tuple(labels), size) == (model.labels, model.input_size)
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
