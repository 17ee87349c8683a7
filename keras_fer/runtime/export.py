"""Exports a model for use without Keras."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from keras_fer.runtime.exported import METADATA, ExportInfo, as_uint8

if TYPE_CHECKING:
    from keras_fer.models import ExpressionClassifier

Format = Literal["onnx", "litert", "saved_model", "openvino"]
Precision = Literal["float32", "float16", "int8"]

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite", "saved_model": "", "openvino": ".xml"}
_PRECISIONS = {
    "onnx": ("float32", "float16", "int8"),
    "litert": ("float32", "float16", "int8"),
    "saved_model": ("float32",),
    "openvino": ("float32", "float16"),
}
# Images that ONNX Runtime is calibrated with.
_MOST_FACES = 256

# Packages beside Keras and TensorFlow, and the extra that has them.
_PACKAGES = {
    "onnx": (("onnx", "tf2onnx"), "export"),
    "litert": ((), "export"),
    "saved_model": ((), "export"),
    "openvino": (("onnx", "tf2onnx", "openvino"), "openvino"),
}


def export(
    model: str | os.PathLike[str] | ExpressionClassifier,
    path: str | os.PathLike[str],
    format: Format = "onnx",
    precision: Precision = "float32",
    *,
    calibration: np.ndarray | Sequence[np.ndarray] | None = None,
    overwrite: bool = False,
) -> pathlib.Path:
    """Exports a model to a file that needs neither Keras nor this package.

    In: uint8 RGB `(B, H, W, 3)`, any B, H and W. Out: float32 probabilities
    `(B, num_classes)`. Resizing and normalization are part of the graph. Labels, what
    the input must look like, preset, SHA-256 and license are in the file's metadata
    under the key `keras_fer`, as JSON (a SavedModel has them in
    `assets.extra/keras_fer.json`).

    Args:
        model: A model of this package, a `.keras` file of one, or a name or address
            that `keras_fer.zoo.load` takes.
        path: File to write; a folder for `"saved_model"`. It ends in `.onnx`,
            `.tflite` or `.xml` (OpenVINO, which writes a `.bin` file beside it); a
            folder does not.
        format: `"onnx"`, `"litert"`, `"saved_model"` or `"openvino"`.
        precision: `"float32"`; `"float16"` stores weights in half precision, which
            takes half the room, and computes in float32; `"int8"` quantizes weights
            and activations of convolutions after training and needs `calibration`. A
            prediction of int8 may change with the batch size by a rounding step, up to
            about 0.01.
        calibration: Face images like those the model will see, 0–255,
            `(N, H, W, 1 or 3)`, or a sequence of `(H, W, 1 or 3)` of different sizes;
            a hundred or more. Of more than 256, ONNX takes that many.
        overwrite: Whether to replace an existing file, or a SavedModel's folder. Other
            folders are never replaced.

    Returns:
        The path.

    Raises:
        FileExistsError: The path exists, and `overwrite` is off.
        FileNotFoundError: There is no such model, or no folder for the path.
        ImportError: A package that the format needs is not installed.
        OSError: The path cannot be written. An existing file is left as it was.
        RuntimeError: Keras runs on another backend than TensorFlow.
        ValueError: An argument is unknown, the combination is not supported, or the
            model cannot be read.
    """
    path = pathlib.Path(path)
    if format not in SUFFIXES:
        raise ValueError(
            f"format must be one of {', '.join(SUFFIXES)}, got {format!r}."
        )
    if precision not in _PRECISIONS[format]:
        raise ValueError(
            f"precision must be one of {', '.join(_PRECISIONS[format])} for {format}, "
            f"got {precision!r}."
        )
    if format == "saved_model":
        if path.suffix in SUFFIXES.values() and path.suffix:
            raise ValueError(f"path must be a folder for {format}, got {str(path)!r}.")
    elif path.suffix != SUFFIXES[format]:
        raise ValueError(
            f"path must end in {SUFFIXES[format]} for {format}, got {str(path)!r}."
        )
    if (precision == "int8") != (calibration is not None):
        raise ValueError(
            "calibration must be given for precision='int8', and only for that, got "
            f"{'none' if calibration is None else 'some'} for {precision!r}."
        )
    _check_free(path, format, overwrite)
    _check_installed(format)
    faces = None if calibration is None else _faces(calibration)
    with _replacing(path) as partial:
        loaded, source = _load(model)
        batch = None if faces is None else _stack(faces, loaded.input_size)
        _WRITERS[format](loaded, partial, describe(loaded, source, precision), batch)
    return path


def write_onnx(
    model: ExpressionClassifier,
    path: str | os.PathLike[str],
    precision: Precision = "float32",
    source: Source | None = None,
) -> None:
    """Writes a model as an ONNX file, replacing what is there.

    Args:
        model: A model of this package.
        path: An `.onnx` file.
        precision: `"float32"` or `"float16"`; see `export`.
        source: Where the weights are from, or `None`.
    """
    _onnx(model, pathlib.Path(path), describe(model, source, precision), None)


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the weights of an exported model are from.

    Attributes:
        preset: Name of the preset, or the address of a repository at its commit.
        license: License of the weights.
        sha256: SHA-256 of the weights file.
    """

    preset: str | None
    license: str | None
    sha256: str | None


def _load(model: Any) -> tuple[ExpressionClassifier, Source | None]:
    import keras

    if (backend := keras.backend.backend()) != "tensorflow":
        raise RuntimeError(
            f"Models are exported through TensorFlow, and Keras runs on {backend}. Set "
            "KERAS_BACKEND=tensorflow; a saved model loads on either."
        )
    if not isinstance(model, (str, os.PathLike)):
        return model, None
    name = os.fspath(model)
    import keras_fer
    from keras_fer.zoo.loading import is_file

    if is_file(name):
        return keras_fer.zoo.load(name), None
    facts = keras_fer.zoo.info(name)
    # What a repository calls itself is no preset of ours.
    address = f"hf://{facts.repo}@{facts.revision}"
    known = address if name.startswith("hf://") else facts.name
    loaded = keras_fer.zoo.load(known)
    return loaded, Source(known, facts.license or None, facts.sha256)


def _faces(images: np.ndarray | Sequence[np.ndarray]) -> list[np.ndarray]:
    """Checked images for calibration."""
    if not len(images):
        raise ValueError("calibration must have images, got none.")
    if isinstance(images, np.ndarray):
        return list(as_uint8(images))
    return [as_uint8(np.asarray(image)[None])[0] for image in images]


def _stack(images: Sequence[np.ndarray], size: int) -> np.ndarray:
    """A batch of images; those of different sizes become squares of `size`."""
    from PIL import Image

    if len({image.shape for image in images}) > 1:
        side = (size, size)
        images = [
            np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BILINEAR))
            for image in images
        ]
    return np.stack(images)


def describe(
    model: ExpressionClassifier, source: Source | None, precision: str
) -> ExportInfo:
    """What the exported file of a model says about itself."""
    from keras_fer import __version__

    source = source or Source(None, None, None)
    return ExportInfo(
        labels=tuple(model.labels),
        input=(
            "uint8 RGB face crops (batch, height, width, 3), any size; the square of "
            "the face's box, eyes level"
        ),
        input_size=model.input_size,
        preset=source.preset,
        license=source.license,
        weights_sha256=source.sha256,
        precision=precision,
        keras_fer=__version__,
    )


def _check_free(path: pathlib.Path, format: Format, overwrite: bool) -> None:
    """Raises an error if the export would replace what it must not."""
    outputs = [path, path.with_suffix(".bin")] if format == "openvino" else [path]
    for output in filter(os.path.lexists, outputs):
        if not overwrite:
            raise FileExistsError(
                f"{str(output)!r} exists. Pass overwrite=True or --overwrite to "
                "replace it."
            )
        saved_model = (output / "saved_model.pb").is_file()
        if output.is_dir() and not (format == "saved_model" and saved_model):
            raise FileExistsError(
                f"{str(output)!r} is a folder, which is not replaced. Choose another "
                "path, or delete the folder."
            )


def _check_installed(format: Format) -> None:
    packages, extra = _PACKAGES[format]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ImportError(
                f"This export needs {package!r}, which is not installed. Install it "
                f'with: pip install "keras-fer[{extra}]"'
            )


@contextlib.contextmanager
def _replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path in a temporary folder beside the target, moved there at the end."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r}.")
    try:
        folder = tempfile.mkdtemp(prefix=".export-", dir=path.parent)
    except OSError as error:
        raise OSError(f"{str(path)!r} cannot be written: {error}") from error
    try:
        partial = pathlib.Path(folder) / path.name
        yield partial
        for file in sorted(pathlib.Path(folder).iterdir()):
            target = path.parent / file.name
            if target.is_dir():
                os.replace(target, pathlib.Path(folder) / "old")
            os.replace(file, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _signature() -> list[Any]:
    import keras

    return [keras.InputSpec(dtype="uint8", shape=(None, None, None, 3), name="image")]


def _onnx(
    model: ExpressionClassifier,
    path: pathlib.Path,
    info: ExportInfo,
    calibration: np.ndarray | None,
) -> None:
    import onnx

    with _quiet():
        model.export(
            str(path), format="onnx", input_signature=_signature(), verbose=False
        )
    network = onnx.load(path)
    _rename_output(network, "probabilities")
    if calibration is not None:
        _quantize(network, path, calibration)
        network = onnx.load(path)
    if info.precision == "float16":
        _store_half(network)
    network.producer_name = "keras_fer"
    onnx.helper.set_model_props(network, {METADATA: info.to_json()})
    onnx.checker.check_model(network)
    onnx.save(network, path)


def _rename_output(network: Any, name: str) -> None:
    (output,) = network.graph.output
    for node in network.graph.node:
        for names in (node.input, node.output):
            for index, each in enumerate(names):
                if each == output.name:
                    names[index] = name
    output.name = name


def _store_half(network: Any) -> None:
    """Stores kernels as float16, each with a cast to float32 behind it."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for index, tensor in enumerate(network.graph.initializer):
        value = numpy_helper.to_array(tensor)
        if value.dtype != np.float32 or value.size < 64:
            continue
        half = numpy_helper.from_array(value.astype(np.float16), f"{tensor.name}_half")
        casts.append(
            helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT)
        )
        network.graph.initializer[index].CopyFrom(half)
    for index, cast in enumerate(casts):
        network.graph.node.insert(index, cast)


def _quantize(network: Any, path: pathlib.Path, calibration: np.ndarray) -> None:
    """Post-training quantization to int8, per channel, of all convolutions but one.

    The first one keeps float32: its input has few channels, so that it takes little
    time, and its rounding errors would reach every layer.
    """
    import onnx
    from onnxruntime import quantization

    # Its histograms take batches of one size, and memory for each image.
    faces = calibration[:: -(-len(calibration) // _MOST_FACES)]
    size = min(32, len(faces))
    starts = range(0, len(faces) - size + 1, size)
    batches = iter([faces[start : start + size] for start in starts])

    class Faces(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {network.graph.input[0].name: batch}

    source = path.with_name("float32.onnx")
    onnx.save(network, source)
    quantization.quant_pre_process(source, source, skip_symbolic_shape=True)
    nodes = onnx.load(source).graph.node
    first = next((node.name for node in nodes if node.op_type == "Conv"), None)
    with contextlib.redirect_stdout(io.StringIO()):  # It prints its progress.
        quantization.quantize_static(
            source,
            path,
            Faces(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[first] if first else None,
            activation_type=quantization.QuantType.QUInt8,
            # Signed ones saturate on processors with AVX2 that lack VNNI.
            weight_type=quantization.QuantType.QUInt8,
            # Rare large activations would make the steps of all others coarse.
            calibrate_method=quantization.CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": 99.99},
        )
    source.unlink()


def _litert(
    model: ExpressionClassifier,
    path: pathlib.Path,
    info: ExportInfo,
    calibration: np.ndarray | None,
) -> None:
    import tensorflow as tf

    if calibration is not None:
        with _quiet():
            path.write_bytes(_quantized_litert(model, calibration))
    else:
        options: dict[str, Any] = {}
        if info.precision == "float16":
            options["optimizations"] = [tf.lite.Optimize.DEFAULT]
            options["target_spec"] = {"supported_types": [tf.float16]}
        with _quiet():
            model.export(
                str(path),
                format="litert",
                input_signature=_signature(),
                verbose=False,
                **options,
            )
    _add_metadata(path, info)


def _quantized_litert(model: ExpressionClassifier, calibration: np.ndarray) -> bytes:
    """The same as int8: post-training quantization of convolutions and dense layers.

    All else stays float32, above all the resizing: its weights depend on the size of
    the image, and calibration sees one size.
    """
    import tensorflow as tf

    from keras_fer._compat import litert_operators, with_constants

    def faces() -> Iterator[list[np.ndarray]]:
        for face in calibration:
            yield [face[None]]

    graph = tf.function(lambda image: model(image, training=False))
    image = tf.TensorSpec((None, None, None, 3), tf.uint8, "image")
    graph = with_constants(graph.get_concrete_function(image))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = faces
    quantized = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_ops=[name for name in litert_operators() if name not in quantized]
    )
    # The debugger is the public way to quantize some operators and not others.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=faces, debug_options=options
    )
    return debugger.get_nondebug_quantized_model()


def _add_metadata(path: pathlib.Path, info: ExportInfo) -> None:
    """Puts our JSON into the metadata of a LiteRT file."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    network = flatbuffer_utils.read_model(str(path))
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(info.to_json().encode(), np.uint8)
    network.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA.encode(), len(network.buffers) - 1
    network.metadata = [*(network.metadata or []), entry]
    flatbuffer_utils.write_model(network, str(path))


def _saved_model(
    model: ExpressionClassifier,
    path: pathlib.Path,
    info: ExportInfo,
    calibration: np.ndarray | None,
) -> None:
    with _quiet():
        model.export(
            str(path),
            format="tf_saved_model",
            input_signature=_signature(),
            verbose=False,
        )
    extra = path / "assets.extra"
    extra.mkdir(exist_ok=True)
    (extra / f"{METADATA}.json").write_text(info.to_json() + "\n", "utf-8")


def _openvino(
    model: ExpressionClassifier,
    path: pathlib.Path,
    info: ExportInfo,
    calibration: np.ndarray | None,
) -> None:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.onnx"
        full = ExportInfo(**{**vars(info), "precision": "float32"})
        _onnx(model, file, full, None)
        _keep_attention(file)
        network = openvino.convert_model(str(file))
    network.set_rt_info(info.to_json(), [METADATA])
    openvino.save_model(network, path, compress_to_fp16=info.precision == "float16")


def _keep_attention(path: pathlib.Path) -> None:
    """Keeps OpenVINO from fusing attention, which it does along the wrong axes.

    It recognizes softmax between two products; clipping to 0–1, where the softmax is
    anyway, hides it. Seen with OpenVINO 2026.4.
    """
    import onnx

    network = onnx.load(path)
    limits = [
        onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [value])
        for name, value in (("softmax_min", 0.0), ("softmax_max", 1.0))
    ]
    network.graph.initializer.extend(limits)
    for index, node in reversed(list(enumerate(network.graph.node))):
        name = node.output[0]
        if node.op_type == "Softmax" and name != network.graph.output[0].name:
            node.output[0] = f"{name}_softmax"
            inputs = [node.output[0], "softmax_min", "softmax_max"]
            clip = onnx.helper.make_node("Clip", inputs, [name])
            network.graph.node.insert(index + 1, clip)
    onnx.save(network, path)


_WRITERS = {
    "onnx": _onnx,
    "litert": _litert,
    "saved_model": _saved_model,
    "openvino": _openvino,
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps converters from printing their progress."""
    import logging

    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
