import importlib.util
import json
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# JAX compiles what it has compiled before, also in other processes, only once.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import numpy as np
import pytest

REAL_DATA = pathlib.Path(
    os.environ.get(
        "KERAS_FER_DATA",
        pathlib.Path(__file__).parents[2] / "shared" / "data" / "fer2013",
    )
)


@pytest.fixture(scope="session")
def real_data():
    """Folder with the real FER2013 arrays; see zoo/data.py."""
    if not (REAL_DATA / "train.npz").is_file():
        pytest.skip("real data are absent: set KERAS_FER_DATA to a FER2013 folder")
    return REAL_DATA


@pytest.fixture(scope="session")
def images():
    """Forty gray images of smooth noise, uint8 (40, 48, 48, 1)."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 6, 6, 1))
    return coarse.repeat(8, axis=1).repeat(8, axis=2).astype("uint8")


@pytest.fixture(scope="class")
def built(request, images):
    """The model of a `ModelContract`, with weights that tell the images apart."""
    from tests.contract import disturb, settle

    model = request.cls.build()
    disturb(model)
    settle(model, images)
    return model


@pytest.fixture(scope="session")
def other_backend(tmp_path_factory):
    """Function that saves a model and predicts with it in a process of its own.

    That process runs on JAX where the tests run on TensorFlow, and the other way round.
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
