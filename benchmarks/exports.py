"""Presets in every format and precision, for `parity` and `inference`."""

import functools
import pathlib

import numpy as np

import keras_fer
from keras_fer.runtime import LiteRTModel, OnnxModel
from zoo import data

FORMATS = {
    "onnx": ("float32", "float16", "int8"),
    "litert": ("float32", "float16", "int8"),
    "saved_model": ("float32",),
    "openvino": ("float32", "float16"),
}
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite", "saved_model": "", "openvino": ".xml"}
CALIBRATION = 500


def calibration(source, number=CALIBRATION):
    """Training images, evenly spaced, to calibrate int8 with: uint8 (N, 48, 48, 1)."""
    images = data.open_split("fer2013", source, "train").images
    return images[:: max(1, len(images) // number)][:number]


def write(name, format, precision, folder, faces):
    """Exports a preset, unless it was exported there before.

    Args:
        name: Of the preset.
        format: A key of `FORMATS`.
        precision: One of its precisions.
        folder: For the files.
        faces: From `calibration`.

    Returns:
        The path.
    """
    path = pathlib.Path(folder) / f"{name}-{precision}{SUFFIXES[format]}"
    if not path.exists():
        given = faces if precision == "int8" else None
        keras_fer.export(name, path, format, precision, calibration=given)
    return path


def size(path):
    """Bytes of a file and of what belongs to it, or of a folder's files."""
    path = pathlib.Path(path)
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    if path.is_dir():
        files = path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def load(path, format, threads=None, spinning=False):
    """A function from uint8 images `(B, H, W, 3)` to probabilities.

    Args:
        path: From `write`.
        format: A key of `FORMATS`.
        threads: Number of threads, of `"onnx"` and `"litert"`; `None` for all cores.
        spinning: Whether the threads of ONNX Runtime wait busily.
    """
    if format == "onnx":
        model = OnnxModel(path, threads, spinning=spinning)
        return functools.partial(model.predict, batch_size=256)
    if format == "litert":
        return functools.partial(LiteRTModel(path, threads).predict, batch_size=256)
    if format == "saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(path))
        # Keeps the model alive, which its functions do not.
        return lambda images, loaded=loaded: loaded.serve(images).numpy()
    import openvino

    compiled = openvino.compile_model(str(path), "CPU")
    return lambda images: np.array(compiled(images)[0])


def in_batches(predict, images, batch=64):
    """Probabilities of many images."""
    starts = range(0, len(images), batch)
    return np.concatenate([predict(images[start : start + batch]) for start in starts])
