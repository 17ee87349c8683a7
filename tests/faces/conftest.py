import os

import matplotlib
import numpy as np
import pytest
from PIL import Image


def _detector(request):
    if request.param != "yunet":
        return request.param
    path = str(request.getfixturevalue("shared")("yunet"))
    if path.endswith("_dynamic.onnx"):
        pytest.importorskip("onnx", reason="OpenCV needs onnx for a dynamic YuNet file")
    return path


@pytest.fixture(params=["mtcnn", "haar", "yunet"])
def detector(request):
    return _detector(request)


@pytest.fixture(params=["mtcnn", "yunet"])
def landmark_detector(request):
    return _detector(request)


@pytest.fixture(scope="session")
def portrait_path():
    return os.path.join(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")


@pytest.fixture(scope="session")
def portrait(portrait_path):
    """One frontal face, about 220 pixels high, in 512x600."""
    return np.array(Image.open(portrait_path).convert("RGB"))


@pytest.fixture(scope="session")
def crowd(portrait):
    """Forty faces: five rows of eight."""
    face = Image.fromarray(portrait).crop((60, 20, 460, 420)).resize((120, 120))
    return np.tile(np.array(face), (5, 8, 1))


@pytest.fixture(scope="session")
def model():
    from keras_fer.models import PAttLite

    return PAttLite(8, input_size=64, backbone_weights=None)
