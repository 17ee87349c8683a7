"""Puts trained weights into the package: `python -m zoo.bundle WEIGHTS PRESET`.

Kernels are stored in half precision, everything else as it is: half the size, and
what is published is what the evaluation reads. Prints the sha256 that the preset in
`keras_fer/zoo/presets.py` must hold.
"""

import argparse
import hashlib
import pathlib

import h5py

from keras_fer import models, zoo
from keras_fer.zoo import loading


def bundle(weights, preset):
    """Writes the bundled file of a preset and returns its path."""
    preset = zoo.info(preset)
    create = getattr(models, preset.architecture)
    # A model of its own, so that no optimizer state comes along.
    model = create(labels=preset.labels, trunk_weights=None, **preset.arguments)
    model.load_weights(weights)
    target = loading.bundled(preset)
    target.parent.mkdir(exist_ok=True)
    model.save_weights(target)
    full = target.with_suffix(".full")
    target.rename(full)
    with h5py.File(full) as source, h5py.File(target, "w") as half:

        def copy(name, item):
            if isinstance(item, h5py.Group):
                copied = half.require_group(name)
            else:
                kind = "float16" if item.ndim > 1 else item.dtype
                copied = half.create_dataset(name, data=item[()], dtype=kind)
            copied.attrs.update(item.attrs)

        source.visititems(copy)
        half.attrs.update(source.attrs)
    full.unlink()
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
