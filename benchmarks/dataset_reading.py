"""How fast is reading a built dataset, and how much memory does building it take?

    python -m benchmarks.dataset_reading --data FER2013_DIR [--out FILE]

FER2013_DIR holds train.npz; see zoo/data.py. It is written as fer2013.csv and prepared
with TFDS.

Reading: all images of the training split, decoded, shuffled and batched by tf.data,
from three sources, one after the other in every round: `memory`, the arrays
(`from_tensor_slices`); `built`, the built dataset; `cached`, the built dataset with
`.cache()`, filled in the first round. All of them yield the same images and labels with
the same shuffle buffer, batch and prefetch. The first round is a warm-up. Ratios
compare a source's speed with that from memory in the same round; above 1 is faster.

Memory: the peak of a build (`resource.getrusage`), each in its own process, at two
sizes that both exceed what a builder keeps in memory (16 MiB of examples).
"""

import argparse
import multiprocessing
import pathlib
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks import record
from tests.tfds_builders.write_fer2013 import write_faces

BATCH, SHUFFLE = 64, 4096


def build(manual, data):
    """Builds the dataset; returns this process' peak memory in MiB."""
    import tensorflow_datasets as tfds

    from tfds_builders.fer2013.fer2013_dataset_builder import Builder

    builder = Builder(data_dir=data)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual)
    )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(images, labels, sizes, folder):
    """Peak memory of a build at every size."""
    measured = []
    for rows in sizes:
        manual, data = folder / f"manual_{rows}", folder / f"data_{rows}"
        manual.mkdir()
        write_faces(
            manual / "fer2013.csv", images[:rows], labels[:rows], ["Training"] * rows
        )
        # Spawned, not forked, so that this process' memory does not count.
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
    """Images per second of every source, and ratios to the speed from memory."""
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
            "images_per_second": record.spread(speeds, 0),
            "ratio_to_memory": record.spread(ratios, 3),
        }
        print(f"{name:<8}", result[name])
    return result


def main():
    """Runs the benchmark."""
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

    if arguments.out:
        result = {
            "dataset": "fer2013/original, split train, 48x48 gray, PNG in TFRecord",
            "rows": rows,
            "batch": BATCH,
            "shuffle": SHUFFLE,
            "rounds": arguments.rounds,
            "reading": speeds,
            "building": building,
        }
        record.write(arguments.out, "dataset_reading", result)


if __name__ == "__main__":
    main()
