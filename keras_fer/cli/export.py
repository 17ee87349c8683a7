"""`keras-fer export`: a model as a file for another runtime."""

from __future__ import annotations

import argparse
import os
import pathlib
from typing import TYPE_CHECKING, Any

from keras_fer.cli.model import HELP, check_model
from keras_fer.console import (
    print_error,
    print_output,
    printable,
    without_native_output,
)

if TYPE_CHECKING:
    import numpy as np

_SUFFIXES = {".onnx": "onnx", ".tflite": "litert", ".xml": "openvino"}

# Calibration images that are read; more take time and change little.
_MOST_IMAGES = 500

_EPILOG = """\
The exported graph takes uint8 RGB face crops of any size and returns probabilities.
Labels, input, preset, SHA-256 and license are in its metadata, under the key keras_fer.

float16 stores weights in half precision. int8 quantizes weights and activations, which
needs --calibration: face crops like those that the model will see, a hundred or more;
never those that it is tested on.

Exit status: 0 if the file was written; 1 if not, and then nothing is changed; 2 on
wrong usage."""


def add_parser(commands: Any) -> None:
    """Adds the command to the subparsers of `keras-fer`."""
    parser = commands.add_parser(
        "export",
        help="write a model as a file for another runtime",
        description="Writes a model as a file that needs neither Keras nor this "
        "package.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=HELP,
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        type=pathlib.Path,
        help="ends in .onnx, .tflite or .xml; a new folder for saved_model",
    )
    parser.add_argument(
        "--format",
        choices=("onnx", "litert", "saved_model", "openvino"),
        help="(default: what FILE ends in)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--calibration",
        metavar="FOLDER",
        help=f"face crops for int8; of more than {_MOST_IMAGES}, that many are read",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace FILE if it exists"
    )
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Writes the file and prints what it is."""
    format: Any = options.format or _SUFFIXES.get(options.file.suffix)
    if format is None:
        options.parser.error(
            f"FILE must end in {', '.join(_SUFFIXES)}, or --format be given, got "
            f"{printable(str(options.file))!r}"
        )
    if (options.precision == "int8") != (options.calibration is not None):
        options.parser.error("--precision int8 and --calibration FOLDER go together")
    check_model(options)
    calibration = _read(options.calibration) if options.calibration else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with without_native_output():
        from keras_fer.runtime import export

        path = export(
            options.model,
            options.file,
            format,
            options.precision,
            calibration=calibration,
            overwrite=options.overwrite,
        )
    size = f"{_size(path) / 2**20:.1f} MiB"
    if calibration is not None:
        size += f", calibrated on {len(calibration)} images"
    print_output(f"{printable(str(path))}: {format}, {options.precision}, {size}")
    return 0


def _read(folder: str) -> list[np.ndarray]:
    """Images of a folder, evenly spaced in its order; some may be damaged."""
    from keras_fer import faces

    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder!r}.")
    paths = [path for path in faces.find_images(folder) if path != folder]
    paths = paths[:: -(-len(paths) // _MOST_IMAGES) or 1]
    images = []
    for path in paths:
        try:
            images.append(faces.read_image(path))
        except faces.ImageError as error:
            print_error("keras-fer", error)
    if not images:
        raise ValueError(
            f"{folder!r} has no images to calibrate with. Pass a folder of face crops."
        )
    return images


def _size(path: pathlib.Path) -> int:
    """Bytes of a file, of what belongs to it, or of a folder's files."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
