"""Which saliency method finds what a preset uses?

    python -m benchmarks.saliency --data FER2013_DIR

Method: faces of the held-out part of each preset's training split, drawn at random, are
explained with every method of `keras_fer.explain`, and the maps are scored by
`keras_fer.saliency.insertion_deletion` (Petsiuk et al., arXiv 1806.07421) on ONNX
Runtime: the mean probability of the predicted class while the most salient pixels are
inserted into a blurred copy (higher is better), or deleted (lower is better). The best
method has the largest difference of the two, averaged over the presets. The public test
split is not opened, so it selects nothing.

Three controls know nothing of the image: `random`, noise in every pixel;
`random_coarse`, noise of 6x6 positions, enlarged; and `center`, a Gaussian in the
middle, where faces are. A method that does not beat `center` says little.

`smooth_grad` multiplies by the distance from the image's mean color, which is also what
deleted pixels become; insertion has no such relation to it.

Columns: mean insertion and deletion; mean of their difference and half of its 95 %
confidence interval, over the faces; share of faces with a map that is not all zero (the
others count, with their pixels in a random order); milliseconds per face, in batches,
after a first batch that is not counted.
"""

import argparse
import pathlib
import time

import numpy as np
from PIL import Image

import keras_fer
from benchmarks import record
from keras_fer.saliency import METHODS, insertion_deletion
from keras_fer.zoo.presets import PRESETS
from zoo import data
from zoo.target import find

CONTROLS = ("random", "random_coarse", "center")
WARM_UP = 16


def faces_of(name, source, most, seed):
    """Random faces of the held-out part of a preset's training split, in order."""
    target = find(name)
    faces = data.open_split(target.dataset, source, target.train)
    _, faces = data.hold_out(faces, duplicates=target.duplicates)
    random = np.random.default_rng(seed)
    rows = random.choice(len(faces), min(most, len(faces)), replace=False)
    return faces[np.sort(rows)].images[:]


def control(kind, number, side, seed):
    """Maps that know nothing of the images, `(number, side, side)`."""
    random = np.random.default_rng(seed)
    if kind == "random":
        return random.random((number, side, side))
    if kind == "random_coarse":
        coarse = random.random((number, 6, 6)).astype("float32")
        size = (side, side)
        return np.stack([np.asarray(Image.fromarray(c).resize(size)) for c in coarse])
    distance = (np.arange(side) - (side - 1) / 2) / (side / 4)
    line = np.exp(-(distance**2) / 2)
    return np.tile(np.outer(line, line), (number, 1, 1))


def score(model, images, maps, steps):
    """A row of the result, for the maps of one method."""
    scores = insertion_deletion(model, images, maps, steps=steps)
    difference = scores.insertion - scores.deletion
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return {
        "insertion": round(float(scores.insertion.mean()), 4),
        "deletion": round(float(scores.deletion.mean()), 4),
        "difference": round(float(difference.mean()), 4),
        "half_interval": round(float(1.96 * error), 4),
        "explained": round(float(maps.any(axis=(1, 2)).mean()), 4),
    }


def measure(name, images, steps, seed):
    """Rows of every control and method on a preset."""
    runtime = keras_fer.zoo.load(name, runtime="onnx")
    model = keras_fer.zoo.load(name)
    rows = []
    for method in (*CONTROLS, *METHODS):
        milliseconds = None
        if method in CONTROLS:
            maps = control(method, len(images), images.shape[1], seed)
        else:
            try:
                keras_fer.explain(model, images[:WARM_UP], method)
            except ValueError:  # No attention layer.
                continue
            start = time.perf_counter()
            maps = keras_fer.explain(model, images, method)
            milliseconds = 1000 * (time.perf_counter() - start) / len(images)
            milliseconds = round(milliseconds, 1)
        row = {"method": method, **score(runtime, images, maps, steps)}
        rows.append({**row, "ms_per_face": milliseconds})
        print(
            f"{name:<18} {method:<14} insertion {row['insertion']:.3f}  deletion "
            f"{row['deletion']:.3f}  difference {row['difference']:+.3f} "
            f"± {row['half_interval']:.3f}  explained {row['explained']:4.0%}",
            flush=True,
        )
    return rows


def best_of(models):
    """The method with the largest difference of insertion and deletion, on average.

    Args:
        models: Name to the rows of `measure`.
    """
    averages = {}
    for method in METHODS:
        found = [
            row["difference"]
            for rows in models.values()
            for row in rows
            if row["method"] == method
        ]
        if len(found) == len(models):
            averages[method] = np.mean(found)
    return max(averages, key=averages.get)


def main(arguments=None):
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of FER2013")
    parser.add_argument("--models", nargs="+", default=[*PRESETS], help="presets")
    parser.add_argument(
        "--n", type=int, default=200, help="faces per preset, at least 2"
    )
    parser.add_argument("--steps", type=int, default=16, help="of insertion, deletion")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    options = parser.parse_args(arguments)
    if options.n < 2:
        parser.error("--n must be at least 2")
    models, number = {}, {}
    for name in options.models:
        images = faces_of(name, options.data, options.n, options.seed)
        models[name] = measure(name, images, options.steps, options.seed)
        number[name] = len(images)
    best = best_of(models)
    print(f"best method: {best}")
    if options.out:
        result = {
            "split": "held-out part of train",
            "n": number,
            "steps": options.steps,
            "seed": options.seed,
            "best": best,
            "models": models,
        }
        record.write(options.out, "saliency", result)


if __name__ == "__main__":
    main()
