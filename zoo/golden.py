"""What every preset says of fixed images: `python -m zoo.golden` records it.

The tests hold presets to `tests/zoo/golden.json`: a change of preprocessing, layers or
weights shows there first. Record again only when presets are meant to change.
"""

import json
import pathlib

import numpy as np

import keras_fer
from keras_fer.zoo.presets import PRESETS
from zoo.shelf import ROOT

FILE = ROOT / "tests" / "zoo" / "golden.json"

# Left, top, right and bottom of the face in matplotlib's sample portrait.
BOX = (155, 125, 375, 345)
SIZE = 48


def inputs():
    """The images: name to uint8 `(1, H, W, 1 or 3)`."""
    import matplotlib
    from PIL import Image

    sample = pathlib.Path(matplotlib.get_data_path(), "sample_data/grace_hopper.jpg")
    with Image.open(sample) as portrait:
        crop = np.asarray(portrait.convert("RGB").crop(BOX))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(rows - 23.5, columns - 23.5)
    rings = 127.5 + 127.5 * np.cos(distance)
    stripes = (rows * 5 + columns * 3) % 256
    drawn = {"face": _face(rows, columns), "rings": rings, "stripes": stripes}
    images = {name: np.uint8(image)[..., None] for name, image in drawn.items()}
    return {name: image[None] for name, image in {"portrait": crop, **images}.items()}


def _face(rows, columns):
    """An oval with two eyes and an open mouth."""
    image = np.full(rows.shape, 90)
    for row, column, height, width, value in (
        (24, 24, 23, 18, 200),
        (18, 16, 2.5, 4, 40),
        (18, 32, 2.5, 4, 40),
        (36, 24, 4, 7, 60),
    ):
        inside = ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 <= 1
        image[inside] = value
    return image


def record(name):
    """Outputs of a preset for each of `inputs`.

    Returns:
        Name of the image to a dictionary: the probability of each label, and mean,
        standard deviation and first values of what the backbone gives and of what the
        last dense layer takes.
    """
    import keras

    model = keras_fer.zoo.load(name)
    normalized = keras.Model(model.input, model.get_layer("normalization").output)
    features = keras.Model(model.input, model.get_layer("logits").input)
    found = {}
    for image_name, image in inputs().items():
        (probabilities,) = np.asarray(model(image))
        backbone = model.get_layer("backbone")(normalized(image))
        found[image_name] = {
            "probabilities": dict(
                zip(model.labels, map(_round, probabilities), strict=True)
            ),
            "backbone": _summary(keras.tree.flatten(backbone)[-1]),
            "features": _summary(features(image)),
        }
    return found


def _summary(values):
    values = np.asarray(values, "float64")
    first = values.reshape(-1, values.shape[-1])[0, :8]
    return {
        "shape": list(values.shape),
        "mean": _round(values.mean()),
        "std": _round(values.std()),
        "first": [*map(_round, first)],
    }


def _round(value):
    return round(float(value), 6)


def main():
    """Records all presets."""
    found = {name: record(name) for name in PRESETS}
    FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
