import json
import pathlib
import subprocess
import sys

import numpy as np

import keras_fer


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


def test_a_saved_model_comes_back_in_a_new_process(tmp_path, images):
    """Whichever of keras and keras_fer is imported first."""
    model = keras_fer.zoo.load("patt_lite")
    expected = model.predict(images, verbose=0)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    for imports in ("keras_fer, keras", "keras, keras_fer", "keras_fer.layers, keras"):
        output = run(
            f"import {imports}, json, numpy as np\n"
            "model = keras.saving.load_model('model.keras')\n"
            "images = np.load('images.npy')\n"
            "print(json.dumps([model.labels, model.input_size,"
            " model.predict(images, verbose=0).tolist()]))",
            cwd=tmp_path,
        )
        labels, size, probabilities = json.loads(output)
        assert (tuple(labels), size) == (model.labels, model.input_size)
        np.testing.assert_allclose(probabilities, expected, atol=1e-6)
