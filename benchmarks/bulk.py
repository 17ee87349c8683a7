"""How fast is bulk prediction, and does its memory grow with the number of images?

    python -m benchmarks.bulk --data FER2013_DIR

Method: training faces of FER2013 are written as grayscale PNG files of 48x48 pixels.
`keras-fer predict FOLDER --detector none --out results.SUFFIX` reads a few or many of
them, each time in a new process, whose peak of resident memory is that of the kernel
(`ru_maxrss`). The runs are interleaved: few and many for every suffix in every round.
Rates include the start of the process, of about a second.

Without `--data`, the images are smooth noise of the same size.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

from benchmarks import record

SUFFIXES = ("jsonl", "csv", "parquet")


def faces_of(data, number):
    """Yields `number` images, `(48, 48)` uint8; the same again where data ends."""
    if data is None:
        rng = np.random.default_rng(0)
        for _ in range(number):
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6), np.uint8))
            yield np.asarray(coarse.resize((48, 48), Image.Resampling.BICUBIC))
        return
    with np.load(data / "train.npz") as arrays:
        images = arrays["images"]
    for index in range(number):
        yield images[index % len(images)].reshape(48, 48)


def run(folder, out):
    """Seconds and peak memory in MiB of one command."""
    words = ["-m", "keras_fer.cli", "predict", str(folder), "--out", str(out)]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words, "--detector", "none"], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"keras-fer predict failed: {process.returncode}")
    return seconds, usage.ru_maxrss / 1024


def main(arguments=None):
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, help="folder of FER2013")
    parser.add_argument("--few", type=int, default=2000)
    parser.add_argument("--many", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--suffixes", nargs="+", choices=SUFFIXES, default=SUFFIXES)
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    options = parser.parse_args(arguments)

    measured = {
        suffix: {number: [] for number in (options.few, options.many)}
        for suffix in options.suffixes
    }
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        for name in ("few", "many"):
            (root / name).mkdir()
        for index, image in enumerate(faces_of(options.data, options.many)):
            file = root / "many" / f"{index:06}.png"
            Image.fromarray(image).save(file)
            if index < options.few:
                os.link(file, root / "few" / file.name)
        for number in range(options.rounds):
            for suffix, runs in measured.items():
                for name, images in (("few", options.few), ("many", options.many)):
                    out = root / f"{name}_{number}.{suffix}"
                    runs[images].append(run(root / name, out))

    rows = {}
    for suffix, runs in measured.items():
        peaks = {images: [peak for _, peak in each] for images, each in runs.items()}
        rates = [options.many / seconds for seconds, _ in runs[options.many]]
        ratios = np.divide(peaks[options.many], peaks[options.few]).tolist()
        rows[suffix] = {
            "few_peak_mib": record.spread(peaks[options.few], 1),
            "many_peak_mib": record.spread(peaks[options.many], 1),
            "many_to_few": record.spread(ratios, 3),
            "images_per_second": record.spread(rates, 1),
        }
        row = {name: value["median"] for name, value in rows[suffix].items()}
        print(
            f"{suffix:<8} peak {row['few_peak_mib']:.1f} MiB for {options.few}, "
            f"{row['many_peak_mib']:.1f} MiB for {options.many} (x "
            f"{row['many_to_few']:.3f}), {row['images_per_second']:.0f} images/s"
        )
    if options.out:
        result = {
            "images": "FER2013" if options.data else "noise",
            "few": options.few,
            "many": options.many,
            "rounds": options.rounds,
            "suffixes": rows,
        }
        record.write(options.out, "bulk", result)


if __name__ == "__main__":
    main()
