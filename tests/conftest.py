import importlib.util
import json
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# JAX reuses compiled functions between processes and runs.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import numpy as np
import pytest

# Files outside the repository that tests use, in a folder named by KERAS_FER_SHARED, by
# default `shared` beside the repository.
SHARED = {
    "fer2013": "data/fer2013",  # see zoo/data.py
    "yunet": "detectors/yunet_n_dynamic.onnx",
    "mobilenet_v1": "weights/mobilenet_v1_1.0_224_imagenet_to_conv_dw_13.h5",
    "astronaut": "photos/astronaut.png",
}
# The package's own variables come first.
VARIABLES = {"fer2013": "KERAS_FER_DATA", "yunet": "KERAS_FER_YUNET"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """`-m "not slow"` leaves out what takes seconds, too."""
    for item in items:
        if item.get_closest_marker("medium"):
            # A slow test in a class or function of medium ones stays out of CI.
            slow = item.get_closest_marker("slow")
            item.add_marker("by_name" if slow else "slow")


@pytest.fixture(scope="session")
def shared():
    """Function of a name in `SHARED`: its path; skips the test if it is absent."""
    beside = pathlib.Path(__file__).parents[2] / "shared"
    folder = pathlib.Path(os.environ.get("KERAS_FER_SHARED", beside))

    def find(name):
        variable = VARIABLES.get(name, "")
        path = pathlib.Path(os.environ.get(variable, folder / SHARED[name]))
        if not path.exists():
            pytest.skip(f"{name} is absent: set {variable or 'KERAS_FER_SHARED'}")
        return path

    return find


@pytest.fixture(scope="session")
def real_data(shared):
    """Folder with the real FER2013 arrays."""
    return shared("fer2013")


@pytest.fixture(scope="session")
def images():
    """Forty grayscale images of smooth noise, uint8 (40, 48, 48, 1)."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 6, 6, 1))
    return coarse.repeat(8, axis=1).repeat(8, axis=2).astype("uint8")


@pytest.fixture(scope="class")
def built(request, images):
    """The model of a `ModelContract`, with weights that separate the images."""
    from tests.contract import disturb, settle

    model = request.cls.build()
    disturb(model)
    settle(model, images)
    return model


@pytest.fixture(scope="session")
def other_backend(tmp_path_factory):
    """Function that saves a model and predicts with it in another process.

    The process runs on JAX if the tests run on TensorFlow, and vice versa.
    """
    import keras

    backend = "tensorflow" if keras.backend.backend() == "jax" else "jax"
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    process = subprocess.Popen(
        [sys.executable, pathlib.Path(__file__).with_name("other_backend.py")],
        env={**os.environ, "KERAS_BACKEND": backend},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().strip() == backend
    folder = tmp_path_factory.mktemp("other_backend")
    paths = [str(folder / name) for name in ("model.keras", "in.npz", "out.npy")]

    def predict(model, inputs):
        model.save(paths[0])
        np.savez(paths[1], *inputs)
        print(json.dumps(paths), file=process.stdin, flush=True)
        assert process.stdout.readline().strip() == "ok"
        return np.load(paths[2])

    yield predict
    process.stdin.close()
    process.wait()
