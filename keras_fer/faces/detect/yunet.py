"""YuNet (Wu et al., Machine Intelligence Research 20, 2023), run by OpenCV."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
from typing import Any

import numpy as np

from keras_fer.faces.detect.base import Detection, Detector, import_package

# The published model: its mirror on the Hugging Face Hub, its name, and its SHA-256 and
# size, which are those of the OpenCV Zoo.
REPOSITORY = "opencv/face_detection_yunet"
FILE = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
SIZE = 232_589


def published() -> str:
    """Path of the published model, which is downloaded on first use.

    Raises:
        FileNotFoundError: It is not in the cache of the Hugging Face Hub and cannot be
            downloaded.
        ValueError: What was downloaded is another file.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    advice = (
        f"Download {FILE} from the OpenCV Zoo yourself, and pass its path as detector "
        "or in the environment variable KERAS_FER_YUNET."
    )
    try:
        path = hf_hub_download(REPOSITORY, FILE)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise FileNotFoundError(
            f"detector='yunet' needs {FILE}, which is not in the cache and cannot be "
            f"downloaded from {REPOSITORY!r} on the Hugging Face Hub "
            f"({str(error).splitlines()[0]:.200}). {advice}"
        ) from error
    with open(path, "rb") as file:
        content = file.read(SIZE + 1)
    digest = hashlib.sha256(content).hexdigest()
    if len(content) != SIZE or digest != SHA256:
        raise ValueError(
            f"{path!r} is not the published {FILE}: its SHA-256 is {digest}, not "
            f"{SHA256}. Delete it to download it again. {advice}"
        )
    return path


@functools.lru_cache(maxsize=4)
def load(path: str) -> Detector:
    """Loads a YuNet `.onnx` file.

    Raises:
        ImportError: OpenCV is not installed.
        ValueError: There is no such file, or OpenCV cannot read it as YuNet.
    """
    cv2 = import_package("cv2")
    if not os.path.isfile(path):
        raise ValueError(
            f"There is no YuNet file {path!r}. Pass the path of an existing .onnx "
            "file, such as face_detection_yunet_2023mar.onnx of the OpenCV Zoo."
        )
    with open(path, "rb") as file:
        model = file.read()
    digest = hashlib.sha256(model).hexdigest()
    try:
        # YuNet's authors publish it with a dynamic input, which OpenCV 4 refuses. Its
        # graph depends on the batch size alone: fixed, it takes images of any size.
        if importlib.util.find_spec("onnx"):
            onnx: Any = import_package("onnx")
            network = onnx.load_from_string(model)
            sides = network.graph.input[0].type.tensor_type.shape.dim
            for side, value in zip(sides, (1, 3, 640, 640), strict=True):
                side.dim_value = value
            model = network.SerializeToString()
        detector = cv2.FaceDetectorYN.create(
            "onnx", np.frombuffer(model, np.uint8), np.empty(0, np.uint8), (640, 640)
        )
    except Exception as error:  # Of OpenCV, protobuf or onnx.
        raise ValueError(
            f"OpenCV cannot read {path!r} as YuNet. Pass a YuNet .onnx file; one with "
            "a dynamic input also needs: pip install onnx"
        ) from error
    run = functools.partial(_run, detector)
    return Detector("yunet", run, min_confidence=0.7, sha256=digest)


def _run(
    network: Any,
    image: np.ndarray,
    _smallest: float,
    min_confidence: float | None,
) -> list[Detection]:
    network.setScoreThreshold(min_confidence)
    network.setInputSize(image.shape[1::-1])
    _, rows = network.detect(np.ascontiguousarray(image[..., ::-1]))
    # Box, five points, score. Images of one row of pixels give NaN.
    return [
        (row[:4], float(row[14]), row[4:14].reshape(5, 2))
        for row in ([] if rows is None else rows.astype(float))
        if np.isfinite(row).all()
    ]
