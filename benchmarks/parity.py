"""Do exported models say what the Keras models say?

    python -m benchmarks.parity --data FER2013_DIR

Method: every preset is exported in every format and precision, and compared with the
Keras model.

- `difference`: the largest difference of a probability on the golden batch (the images
  of `zoo.golden`) at five image sizes. float32 must be within 1e-4.
- `accuracy`, in percent, of the public test split of the dataset that the preset was
  trained for, and `agreement`, the share of these faces that get the same label as from
  Keras.
- `batch_independence`: the largest change of a probability between 64 faces in one
  batch and one by one, in another order. At most 1e-5; of int8, whose activations may
  be rounded to the next step, 0.02.

int8 is calibrated with up to 500 images of the training split, evenly spaced. OpenVINO
is left out where it is not installed.

Exit status: 0; 1 if float32 differs by more than 1e-4 or a batch matters more.
"""

import argparse
import importlib.util
import pathlib
import sys
import tempfile

import numpy as np
from PIL import Image

import keras_fer
from benchmarks import exports, record
from keras_fer.zoo.presets import PRESETS
from zoo import data, golden
from zoo.target import find

# Height and width: smaller, larger and other shapes than what models resize to.
SIZES = ((9, 9), (48, 48), (31, 77), (96, 96), (200, 150))
TOLERANCE = 1e-4

# Runtimes sum in another order at another batch size. In int8, the last digit can
# decide to which step an activation is rounded.
INT8_STEP = 0.02


def golden_batch(size):
    """The images of `zoo.golden`, resized: uint8 `(4, *size, 3)`."""
    images = []
    for image in golden.inputs().values():
        rgb = np.broadcast_to(image[0], (*image.shape[1:3], 3))
        resized = Image.fromarray(np.ascontiguousarray(rgb)).resize(size[::-1])
        images.append(np.asarray(resized))
    return np.stack(images)


def faces_of(name, source, most=None):
    """The faces of the public test split that a preset is scored on."""
    target = find(name)
    faces = data.open_split(target.dataset, source, target.test)
    faces = faces[faces.scored][slice(most)]
    images = np.repeat(faces.images[:], 3, axis=-1)
    return target, images, faces.classes


def compare(predict, reference, images, classes):
    """One format and precision of a model beside Keras.

    Args:
        predict: Function from images to probabilities.
        reference: Keras' probabilities: name of the size to those of the golden batch,
            and `"faces"` to those of `images`.
        images: uint8 `(N, H, W, 3)`.
        classes: `(N,)`.

    Returns:
        A dictionary of values; see the module.
    """
    differences = {}
    for size in SIZES:
        key = f"{size[0]}x{size[1]}"
        outputs = predict(golden_batch(size))
        differences[key] = float(f"{np.abs(outputs - reference[key]).max():.2g}")
    outputs = exports.in_batches(predict, images)
    labels = outputs.argmax(axis=1)
    order = np.random.default_rng(0).permutation(min(64, len(images)))
    together = predict(images[np.sort(order)])
    alone = np.concatenate([predict(images[row : row + 1]) for row in order])
    change = np.abs(alone - together[order]).max()
    return {
        "difference": differences,
        "accuracy": round(100 * float((labels == classes).mean()), 2),
        "agreement": round(
            100 * float((labels == reference["faces"].argmax(axis=1)).mean()), 2
        ),
        "batch_independence": float(f"{change:.2g}"),
    }


def measure(name, source, formats, folder, most=None):
    """All formats and precisions of a preset beside Keras.

    Args:
        name: Of the preset.
        source: Of the data; see `zoo.data.open_split`.
        formats: Keys of `exports.FORMATS`.
        folder: For the exported files.
        most: Number of faces; `None` for all.

    Returns:
        A dictionary of values, as in `results/parity.json`.
    """
    target, images, classes = faces_of(name, source, most)
    model = keras_fer.zoo.load(name)
    reference = {
        f"{size[0]}x{size[1]}": model.predict_on_batch(golden_batch(size))
        for size in SIZES
    }
    reference["faces"] = exports.in_batches(model.predict_on_batch, images)
    calibration = exports.calibration(source)
    rows = []
    for format in formats:
        for precision in exports.FORMATS[format]:
            path = exports.write(name, format, precision, folder, calibration)
            predict = exports.load(path, format)
            row = compare(predict, reference, images, classes)
            size = exports.size(path)
            row = {"format": format, "precision": precision, "bytes": size, **row}
            rows.append(row)
            print(
                f"{name} {format} {precision}: difference "
                f"{max(row['difference'].values()):.1e}, same label "
                f"{row['agreement']} %, accuracy {row['accuracy']} %, "
                f"{size / 1e6:.2f} MB, batches {row['batch_independence']:.1e}",
                flush=True,
            )
    return {
        "dataset": target.dataset,
        "split": target.test,
        "n": len(images),
        "accuracy": round(
            100 * float((reference["faces"].argmax(axis=1) == classes).mean()), 2
        ),
        "rows": rows,
    }


def problems(models):
    """What breaks the contract, in words.

    Args:
        models: Name to what `measure` returns.
    """
    found = []
    for name, result in models.items():
        for row in result["rows"]:
            what = f"{name} {row['format']} {row['precision']}"
            largest = max(row["difference"].values())
            if row["precision"] == "float32" and largest > TOLERANCE:
                found.append(f"{what} differs from Keras by {largest}")
            allowed = INT8_STEP if row["precision"] == "int8" else 1e-5
            if row["batch_independence"] > allowed:
                change = row["batch_independence"]
                found.append(f"{what} changes by {change} with the batch")
    return found


def main(arguments=None):
    """Runs the benchmark; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of FER2013")
    parser.add_argument("--models", nargs="+", default=[*PRESETS], help="presets")
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=exports.FORMATS,
        help="(default: all that are installed)",
    )
    parser.add_argument("--n", type=int, help="faces of the split (default: all)")
    parser.add_argument("--exports", help="folder that keeps the exported files")
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    options = parser.parse_args(arguments)
    formats = options.formats or [
        format
        for format in exports.FORMATS
        if format != "openvino" or importlib.util.find_spec("openvino")
    ]
    with tempfile.TemporaryDirectory() as folder:
        folder = options.exports or folder
        models = {
            name: measure(name, options.data, formats, folder, options.n)
            for name in options.models
        }
    if options.out:
        result = {"calibration": exports.CALIBRATION, "models": models}
        record.write(options.out, "parity", result)
    found = problems(models)
    print(*found, sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
