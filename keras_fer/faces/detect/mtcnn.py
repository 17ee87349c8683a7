"""MTCNN (Zhang et al., IEEE SPL 23(10), 2016), as the package mtcnn has it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_fer._compat import wrap_network
from keras_fer.faces.detect.base import Detection, Detector, import_package

# Proposals kept per scale of the image; a face takes about ten.
PROPOSALS = 2000


@functools.lru_cache(maxsize=1)
def load() -> Detector:
    """Loads MTCNN, with a bound on its memory.

    Raises:
        ImportError: The package mtcnn is not installed.
        RuntimeError: The Keras backend is not TensorFlow.
    """
    import keras

    if keras.config.backend() != "tensorflow":
        raise RuntimeError(
            "MTCNN needs the TensorFlow backend of Keras, not "
            f"{keras.config.backend()!r}. Set KERAS_BACKEND=tensorflow, or pass "
            "detector='haar' or the path of a YuNet .onnx file."
        )
    mtcnn = import_package("mtcnn")
    from mtcnn.stages import StageONet, StagePNet, StageRNet

    # mtcnn compares all pairs of proposals, in memory that grows with the square of
    # their number: 22 GB for a thousand faces. So it gets the strongest of each scale.
    proposals = StagePNet()
    wrap_network(proposals, lambda network: lambda images: strongest(*network(images)))
    network = mtcnn.MTCNN(stages=[proposals, StageRNet, StageONet])
    return Detector("mtcnn", functools.partial(_run, network), min_confidence=0.9)


def strongest(offsets: Any, scores: Any) -> tuple[Any, Any]:
    """Sets the scores of all but the `PROPOSALS` strongest proposals to zero.

    Args:
        offsets: Box offsets of the proposals, which pass unchanged.
        scores: `(1, H, W, 2)`, the probabilities of no face and of a face.

    Returns:
        Offsets and scores.
    """
    from keras import ops

    faces = ops.reshape(scores[..., 1], (-1,))
    weakest = ops.top_k(faces, min(PROPOSALS, faces.shape[0]))[0][-1]
    return offsets, ops.where(scores[..., 1:] >= weakest, scores, 0.0)


def _run(
    network: Any, image: np.ndarray, smallest: float, min_confidence: float | None
) -> Iterator[Detection]:
    # `min_face_size` keeps its default, 20: mtcnn 1.0.0 sizes its pyramid for that, and
    # finds nothing at all with a larger value. `detect` drops smaller faces itself.
    rows = network.detect_faces(
        image, output_type="numpy", fit_to_image=False, threshold_onet=min_confidence
    )
    # Image number, box, score, five x, five y.
    for row in rows.astype(float):
        yield row[1:5], float(row[5]), row[6:16].reshape(2, 5).T
