"""How fast are the face detectors, and how many faces do they find?

    python -m benchmarks.detection --detectors mtcnn haar YUNET.onnx

Method: all detectors see the same photos in the same process, one after the other on
every photo of every round; the first round is not counted. A round's time is that per
photo: of the detection alone, and of `keras_fer.analyze`, which also crops and
classifies. Each detector uses its defaults, the number of threads included. The ratio
is that of the detection times to the first detector's, within a round.

Without `--photos`, the photos are synthetic: the sample portrait that Matplotlib comes
with, at four sizes on a blurred background of 512x512 pixels, mirrored or not, and the
background alone. Their faces are known, so `found` counts those that a box overlaps by
at least 40 % (intersection over union), and `extra` all other boxes. In a folder's
photos faces are not known: `found` counts the boxes.
"""

import argparse
import pathlib
import time

import numpy as np
from PIL import Image, ImageFilter

from benchmarks import record
from keras_fer import faces
from keras_fer.cli.predict import sample_portrait
from keras_fer.faces.analyze import analyze_in
from keras_fer.faces.detect import detect_in

SIDE = 512
# The face of the sample portrait: left, top, right, bottom.
FACE = np.array([165, 112, 365, 327])
SHARES = (0.15, 0.3, 0.5, 0.8)
DETECTOR_NAMES = {".onnx": "yunet"}


def synthetic_photos():
    """Photos and the box `(x, y, width, height)` of each one's face, or `None`."""
    portrait = Image.open(sample_portrait()).convert("RGB")
    blurred = portrait.resize((SIDE, SIDE)).filter(ImageFilter.GaussianBlur(60))
    photos = [(np.array(blurred), None)]
    for share in SHARES:
        scale = share * SIDE / (FACE[3] - FACE[1])
        size = (round(portrait.width * scale), round(portrait.height * scale))
        box = FACE * scale
        left, top = (SIDE / 2 - (box[:2] + box[2:]) / 2).round().astype(int)
        photo = blurred.copy()
        photo.paste(portrait.resize(size), (left, top))
        x, y = box[:2] + (left, top)
        width, height = box[2:] - box[:2]
        photos.append((np.array(photo), (x, y, width, height)))
        mirrored = np.ascontiguousarray(np.array(photo)[:, ::-1])
        photos.append((mirrored, (SIDE - x - width, y, width, height)))
    return photos


def overlap(box, other):
    """Intersection over union of two boxes."""
    low = np.maximum(box[:2], other[:2])
    high = np.minimum(np.add(box[:2], box[2:]), np.add(other[:2], other[2:]))
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(box[2:]) + np.prod(other[2:]) - shared)


def count(found, box):
    """Faces found of the expected one, and other boxes."""
    right = box is not None and any(overlap(face.box, box) >= 0.4 for face in found)
    return int(right), len(found) - int(right)


def measure(photos, detectors, model, rounds):
    """Times per photo, in milliseconds, and what was found.

    Args:
        photos: Pairs of an image and the box of its face.
        detectors: Name to detector.
        model: For `analyze`.
        rounds: That are counted.

    Returns:
        Two dictionaries: name to pairs of times, detection and analysis, by round; and
        name to the list of faces by photo.
    """
    times = {name: [] for name in detectors}
    found = {}
    for number in range(rounds + 1):
        totals = {name: np.zeros(2) for name in detectors}
        faces_by_name = {name: [] for name in detectors}
        for image, _ in photos:
            for name, detector in detectors.items():
                start = time.perf_counter()
                faces_by_name[name].append(detect_in(image, detector))
                middle = time.perf_counter()
                analyze_in(image, model, detector)
                totals[name] += (middle - start, time.perf_counter() - middle)
        if number == 0:
            found = faces_by_name
            continue
        for name, total in totals.items():
            times[name].append(total / len(photos) * 1000)
    return times, found


def main(arguments=None):
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", help="folder of photos instead of synthetic ones")
    parser.add_argument("--model", default="patt_lite", help="a name from the zoo")
    parser.add_argument(
        "--detectors", nargs="+", default=["mtcnn", "haar"], help="or a .onnx file"
    )
    parser.add_argument("--rounds", type=int, default=20, help="at least 3")
    parser.add_argument("--out", type=pathlib.Path, help="write JSON there")
    options = parser.parse_args(arguments)
    if options.rounds < 3:
        parser.error("--rounds must be at least 3")

    if options.photos:
        paths = faces.find_images(options.photos)
        photos = [(faces.read_image(path), None) for path in paths]
    else:
        photos = synthetic_photos()
    detectors = {
        DETECTOR_NAMES.get(pathlib.Path(name).suffix, name): faces.load_detector(name)
        for name in options.detectors
    }
    model = faces.load_model(options.model)
    times, found = measure(photos, detectors, model, options.rounds)

    reference = np.array(next(iter(times.values())))[:, 0]
    rows = {}
    for name, values in times.items():
        detection, analysis = np.array(values).T
        row = {
            "detection_ms": record.spread(detection.tolist(), 2),
            "analysis_ms": record.spread(analysis.tolist(), 2),
            "ratio_to_first": record.spread((detection / reference).tolist(), 3),
        }
        if options.photos:
            row |= {"expected": None, "extra": None}
            row["found"] = sum(map(len, found[name]))
        else:
            counts = [
                count(each, box)
                for each, (_, box) in zip(found[name], photos, strict=True)
            ]
            row["expected"] = sum(box is not None for _, box in photos)
            row["found"], row["extra"] = map(sum, zip(*counts, strict=True))
        rows[name] = row
        print(
            f"{name:<8} detection {row['detection_ms']['median']:7.1f} ms "
            f"({row['detection_ms']['min']}-{row['detection_ms']['max']})  with "
            f"classification {row['analysis_ms']['median']:7.1f} ms  found "
            f"{row['found']} of {row['expected']}, extra {row['extra']}"
        )
    if options.out:
        result = {
            "source": "folder" if options.photos else "synthetic",
            "model": options.model,
            "photos": len(photos),
            "rounds": options.rounds,
            "detectors": rows,
        }
        record.write(options.out, "detection", result)


if __name__ == "__main__":
    main()
