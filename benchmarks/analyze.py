"""Is one call with a list of photos faster than a call for each?

    python -m benchmarks.analyze

Method: each variant analyzes the same 100 image files, ten of them broken, in the same
process: `keras_fer.analyze(paths, errors="return")` with the whole list, and
`keras_fer.analyze(path)` in a loop that catches the errors. They take turns, and every
other round starts with the other one; the first round is not counted, and checks that
both give the same: errors and boxes exactly, probabilities to 1e-5. A round's time is
that per image, of the clock and of the processor; the ratio is that of the list to the
loop within the round, so below 1 the list is faster. Both use the default number of
threads, the decoding of the files included.

Without `--photos`, the files are of the sample portrait that Matplotlib comes with: one
face or rows of them, from 256 to 1536 pixels, JPEG, PNG and WebP, in color and
grayscale; the broken ones are cut off or noise.
"""

import argparse
import io
import pathlib
import tempfile
import time

import numpy as np
from PIL import Image

import keras_fer
from benchmarks import record
from keras_fer import faces
from keras_fer.cli.predict import sample_portrait
from keras_fer.runtime.onnx import thread_count

FORMATS = ("JPEG", "PNG", "WEBP", "JPEG", "JPEG")
# The portrait's face with its surroundings: left, top, right, bottom.
PART = (60, 20, 460, 420)


def write_photos(folder, number=100):
    """Writes image files, every tenth of them broken, and returns their paths."""
    rng = np.random.default_rng(0)
    portrait = Image.open(sample_portrait()).convert("RGB")
    face = np.asarray(portrait.crop(PART))
    kinds = [portrait, *(Image.fromarray(np.tile(face, (n, n, 1))) for n in (2, 3))]
    paths = []
    for index in range(number):
        image = kinds[index % 3].copy()
        image.thumbnail([int(rng.integers(256, 1537))] * 2)
        if index % 7 == 0:
            image = image.convert("L")
        form = FORMATS[index % len(FORMATS)]
        content = io.BytesIO()
        image.save(content, form)
        data = content.getvalue()
        if index % 10 == 5:
            data = data[:2000] if index % 20 == 5 else rng.bytes(2000)
        path = folder / f"{index:03}.{form.lower()}"
        path.write_bytes(data)
        paths.append(path)
    return paths


def as_list(paths, detector, model):
    """One call."""
    return keras_fer.analyze(paths, model, detector, errors="return")


def one_by_one(paths, detector, model):
    """A call for each."""
    results = []
    for path in paths:
        try:
            results.append(keras_fer.analyze(path, model, detector))
        except faces.ImageError as error:
            results.append(error)
    return results


def check(results, expected):
    """Raises an `AssertionError` unless the results are the same, up to rounding."""
    for found, other in zip(results, expected, strict=True):
        assert type(found) is type(other)
        if isinstance(found, faces.ImageError):
            assert str(found) == str(other)
            continue
        assert [face.box for face in found] == [face.box for face in other]
        for face, twin in zip(found, other, strict=True):
            values = [list(each.probabilities.values()) for each in (face, twin)]
            np.testing.assert_allclose(*values, atol=1e-5)


def measure(paths, detector, model, rounds):
    """Times per image, in milliseconds.

    Args:
        paths: Image files.
        detector: See `keras_fer.analyze`.
        model: See `keras_fer.analyze`.
        rounds: That are counted.

    Returns:
        Name of the variant to pairs of times, of the clock and of the processor, by
        round; and the results of the list.
    """
    variants = {"list": as_list, "one_by_one": one_by_one}
    results = {name: run(paths, detector, model) for name, run in variants.items()}
    check(results["list"], results["one_by_one"])
    times = {name: [] for name in variants}
    for number in range(rounds):
        for name in sorted(variants, reverse=number % 2):
            start, used = time.perf_counter(), time.process_time()
            variants[name](paths, detector, model)
            taken = time.perf_counter() - start, time.process_time() - used
            times[name].append(np.array(taken) / len(paths) * 1000)
    return times, results["list"]


def main(arguments=None):
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", help="folder of photos instead of synthetic ones")
    parser.add_argument("--model", default="patt_lite", help="a name from the zoo")
    parser.add_argument("--detectors", nargs="+", default=["mtcnn", "haar"])
    parser.add_argument("--images", type=int, default=100, help="number of files")
    parser.add_argument("--rounds", type=int, default=10, help="at least 3")
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    options = parser.parse_args(arguments)
    if options.rounds < 3:
        parser.error("--rounds must be at least 3")

    rows = {}
    with tempfile.TemporaryDirectory() as temporary:
        if options.photos:
            paths = faces.find_images(options.photos)
        else:
            paths = write_photos(pathlib.Path(temporary), options.images)
        for detector in options.detectors:
            times, found = measure(paths, detector, options.model, options.rounds)
            clock = {name: np.array(each)[:, 0] for name, each in times.items()}
            cpu = {name: np.array(each)[:, 1] for name, each in times.items()}
            ratio, cpu_ratio = (t["list"] / t["one_by_one"] for t in (clock, cpu))
            errors = sum(isinstance(each, faces.ImageError) for each in found)
            rows[detector] = {
                "list_ms": record.spread(clock["list"].tolist(), 2),
                "one_by_one_ms": record.spread(clock["one_by_one"].tolist(), 2),
                "ratio": record.spread(ratio.tolist(), 3),
                "cpu_ratio": record.spread(cpu_ratio.tolist(), 3),
                "faces": sum(len(each) for each in found if isinstance(each, list)),
                "errors": errors,
            }
            row = rows[detector]
            print(
                f"{detector:<6} list {row['list_ms']['median']:.1f} ms an image, one "
                f"by one {row['one_by_one_ms']['median']:.1f}, ratio "
                f"{row['ratio']['median']:.2f} ({row['ratio']['min']:.2f} to "
                f"{row['ratio']['max']:.2f}), of processor time "
                f"{row['cpu_ratio']['median']:.2f}; {row['faces']} faces, "
                f"{row['errors']} errors",
                flush=True,
            )
    if options.out:
        result = {
            "source": "photos" if options.photos else "sample portrait",
            "model": options.model,
            "images": len(paths),
            "rounds": options.rounds,
            "threads": thread_count(),
            "detectors": rows,
        }
        record.write(options.out, "analyze", result)


if __name__ == "__main__":
    main()
