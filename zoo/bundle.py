"""Puts trained weights into the package: `python -m zoo.bundle WEIGHTS PRESET`.

Kernels are stored in half precision, everything else as it is: half the size, and
what is published is what the evaluation reads. Prints the sha256 that the preset in
`keras_fer/zoo/presets.py` must hold.
"""

import argparse
import hashlib
import pathlib
import shutil
import tempfile

import numpy as np

from keras_fer import models, zoo
from keras_fer.zoo import loading, release


def bundle(weights, preset):
    """Writes the bundled file of a preset and returns its path."""
    preset = zoo.info(preset)
    create = getattr(models, preset.architecture)
    model = create(labels=preset.labels, backbone_weights=None, **preset.arguments)
    model.load_weights(weights)
    for variable in model.weights:
        if len(variable.shape) > 1:
            variable.assign(np.asarray(variable).astype("float16"))
    target = loading.bundled(preset)
    target.parent.mkdir(exist_ok=True)
    # The very file that goes to the Hub: one hash for both.
    with tempfile.TemporaryDirectory() as folder:
        release.write(model, folder, {}, "")
        shutil.copyfile(pathlib.Path(folder) / release.WEIGHTS, target)
    return target


def main():
    """Command line."""
    parser = argparse.ArgumentParser("python -m zoo.bundle", description=__doc__)
    parser.add_argument("weights", type=pathlib.Path, help="from zoo.train")
    parser.add_argument("preset", help="such as patt_lite.ferplus")
    options = parser.parse_args()
    path = bundle(options.weights, options.preset)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    print(f"{path.name}: {path.stat().st_size:,} bytes\nsha256 {digest}")


if __name__ == "__main__":
    main()
