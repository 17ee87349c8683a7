"""Speed of reading a prepared dataset, and memory to prepare it.

    python -m benchmarks.dataset_reading --data FER2013_DIR [--out FILE]

FER2013_DIR holds train.npz; see zoo/data.py. It is written as fer2013.csv and prepared
with TFDS.

Reading: every image of the training split with its label, decoded, shuffled and batched
by tf.data, from three sources in turn in every round: `memory`, the arrays
(`from_tensor_slices`); `built`, the prepared dataset; `cached`, the prepared dataset
behind `.cache()`, filled in the first round. All have the same shuffle buffer, batch
size and prefetch. The first round warms up and is not counted. A ratio compares the
speed with that from memory in the same round, above 1 is faster; reported are the
median, the lowest and the highest over the rounds.

Memory: the peak (`resource.getrusage`) of preparing the dataset in a new process, at
two sizes that both exceed what a builder keeps in memory (16 MiB of examples).
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from tests.tfds_builders.write_fer2013 import write_faces

BATCH, SHUFFLE = 64, 4096


def build(manual, data):
    """Prepares the dataset; returns the peak memory of this process in MiB."""
    import tensorflow_datasets as tfds

    from tfds_builders.fer2013.fer2013_dataset_builder import Builder

    builder = Builder(data_dir=data)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual)
    )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(images, labels, sizes, folder):
    """Peak memory of preparing each size."""
    measured = []
    for rows in sizes:
        manual, data = folder / f"manual_{rows}", folder / f"data_{rows}"
        manual.mkdir()
        write_faces(
            manual / "fer2013.csv", images[:rows], labels[:rows], ["Training"] * rows
        )
        # Spawned, not forked: this process' memory must not count.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            peak = process.submit(build, manual, data).result()
        written = sum(path.stat().st_size for path in data.rglob("*train*"))
        measured.append(
            {
                "rows": rows,
                "csv_mb": round((manual / "fer2013.csv").stat().st_size / 1e6, 1),
                "written_mb": round(written / 1e6, 1),
                "peak_mib": round(peak, 1),
            }
        )
        print(measured[-1])
    return measured


def reading(images, labels, data, rounds):
    """Images per second from each source, and ratios to the speed from memory."""
    import tensorflow as tf

    from tfds_builders.fer2013.fer2013_dataset_builder import Builder

    built = Builder(data_dir=data).as_dataset(
        "train", shuffle_files=True, as_supervised=True
    )
    arrays = (images[..., None], labels.astype("int64"))
    sources = {
        "memory": tf.data.Dataset.from_tensor_slices(arrays),
        "built": built,
        "cached": built.cache(),
    }
    seconds = {name: [] for name in sources}
    for _ in range(rounds + 1):
        for name, source in sources.items():
            pipeline = source.shuffle(SHUFFLE).batch(BATCH).prefetch(tf.data.AUTOTUNE)
            start = time.perf_counter()
            count = sum(len(batch) for batch, _ in pipeline)
            seconds[name].append(time.perf_counter() - start)
            assert count == len(images)
    result = {}
    for name, times in seconds.items():
        speeds = [len(images) / each for each in times[1:]]
        ratios = [a / b for a, b in zip(seconds["memory"][1:], times[1:], strict=True)]
        result[name] = {
            "images_per_second": spread(speeds, 0),
            "ratio_to_memory": spread(ratios, 3),
        }
        print(f"{name:<8}", result[name])
    return result


def spread(values, digits):
    """Median, lowest and highest."""
    parts = (statistics.median(values), min(values), max(values))
    return dict(
        zip(("median", "min", "max"), (round(p, digits) for p in parts), strict=True)
    )


def main():
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with train.npz")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[14000, 28709], help="sizes to build"
    )
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    arguments = parser.parse_args()

    with np.load(pathlib.Path(arguments.data) / "train.npz") as data:
        images, labels = data["images"], data["label"]
    sizes = sorted(min(rows, len(images)) for rows in arguments.rows)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        building = memory(images, labels, sizes, folder)
        rows = sizes[-1]
        data = folder / f"data_{rows}"
        speeds = reading(images[:rows], labels[:rows], data, arguments.rounds)

    from zoo.environment import environment

    if arguments.out:
        result = {
            "dataset": "fer2013/original, split train, 48x48 gray, PNG in TFRecord",
            "rows": rows,
            "batch": BATCH,
            "shuffle": SHUFFLE,
            "rounds": arguments.rounds,
            "reading": speeds,
            "building": building,
            # Other work on the machine at the end; ratios spread where it is high.
            "load_average": round(os.getloadavg()[0], 1),
            "environment": environment(),
        }
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
