"""Presets on ONNX Runtime: no Keras, no TensorFlow."""

from __future__ import annotations

import hashlib
import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keras_fer.runtime.onnx import OnnxModel
    from keras_fer.zoo.presets import ModelInfo


def load_onnx(preset: ModelInfo, factors: Sequence[float] | None = None) -> OnnxModel:
    """Loads the ONNX file that comes with a preset.

    Args:
        preset: From `keras_fer.zoo.info`.
        factors: See `OnnxModel.scale_odds`; `None` for the model as it is.

    Raises:
        ValueError: The preset has no ONNX file, or the file is not the published one.
        FileNotFoundError: The file is missing.
    """
    from keras_fer.runtime.onnx import OnnxModel

    if preset.onnx is None:
        raise ValueError(
            f"{preset.name} has no ONNX file. Write one with keras_fer.export, and "
            "load it with keras_fer.runtime.OnnxModel."
        )
    path = pathlib.Path(__file__).with_name("weights") / preset.onnx
    if not path.is_file():
        raise FileNotFoundError(
            f"The ONNX file of {preset.name} is missing: {str(path)!r} is part of the "
            "package. Reinstall keras-fer."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != preset.onnx_sha256:
        raise ValueError(
            f"{str(path)!r} is not the published file of {preset.name}: its SHA-256 is "
            f"{digest}, not {preset.onnx_sha256}. Reinstall keras-fer."
        )
    model = OnnxModel(path)
    if factors is not None:
        model.scale_odds(factors)
    return model
