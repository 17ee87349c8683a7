import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

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


@pytest.fixture
def pictures():
    """Forty grey pictures of smooth noise, uint8 (40, 48, 48, 1)."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (40, 6, 6, 1))
    return coarse.repeat(8, axis=1).repeat(8, axis=2).astype("uint8")
