"""Aff-Wild2: predictions for every frame as the ABAW challenges ask, and their score.

    python -m zoo.aff_wild2 predict MODEL --crops DIR --videos VIDEOS --out OUT --abaw N
    python -m zoo.aff_wild2 score OUT --annotations DIR --abaw N

MODEL is what `zoo.evaluate` takes. --crops holds VIDEO/00001.jpg and so on, the cropped
and aligned faces. VIDEOS is the folder of annotations, VIDEO.txt; a text file with a
line `VIDEO FRAMES` for each video; or a list of images, `VIDEO/00001.jpg`, as it comes
with the test sets.

OUT gets a file VIDEO.txt for each video, like an annotation: a header with the classes,
then the code of each frame. From ABAW 3 on it also gets predictions.txt, one line
`VIDEO/00001.jpg,CODE` per frame. Videos whose file is there are not predicted again, so
an interrupted command continues.

Every frame of a video gets a prediction. --smooth N averages the probabilities of the
frames in a centered window of N frames, of those that have a crop. A frame without one
in its window gets the prediction of the nearest frame that has one, the earlier of two.

Labels are matched by name. Probabilities of labels that are no class of the challenge,
such as contempt, are left out; a class that the model does not know, such as "other",
is never predicted. Both are printed.

`score` compares with the annotations, frame by frame over all videos; frames that are
annotated -1 do not count. ABAW 1 and 2: 0.67 macro-F1 + 0.33 accuracy over seven
classes (Kollias et al., arXiv 2001.11409 and 2106.15318). From ABAW 3 on: macro-F1 over
eight (arXiv 2202.10659). A class that neither occurs nor is predicted counts as 0.

Exit status: 0; 1 if something is missing or damaged; 2 on wrong usage.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys

import numpy as np
from PIL import Image
from sklearn import metrics

from keras_fer.console import one_line, print_error, without_native_output
from keras_fer.files import replacing
from keras_fer.labels import DATASET_CODES
from tfds_builders.base import UNREADABLE
from zoo.mixture import fit
from zoo.shared_labels import match
from zoo.target import find

SIDE = 112
CHUNK = 256  # Frames in memory at a time.
OTHER = "other"


@dataclasses.dataclass(frozen=True)
class Challenge:
    """The expression challenge of one ABAW competition.

    Attributes:
        codes: Number of classes: seven or, with "other", eight.
        accuracy: Share of the accuracy in the score; the rest is macro-F1.
        images: Whether predictions are one list of images, not a file per video.
    """

    codes: int
    accuracy: float
    images: bool

    @property
    def classes(self):
        """Names of the classes, in the order of their codes."""
        names = DATASET_CODES["aff_wild2"]
        return tuple(names[code] or OTHER for code in range(self.codes))

    @property
    def header(self):
        """Names as they are in the first line of a file."""
        return ",".join(name.capitalize() for name in self.classes)


# ABAW 4 (synthetic images, six classes) and 7 (multi-task) are other challenges.
CHALLENGES = {
    1: Challenge(7, 0.33, images=False),
    2: Challenge(7, 0.33, images=False),
    **{number: Challenge(8, 0.0, images=True) for number in (3, 5, 6, 8)},
}


def read_codes(path, challenge):
    """The codes in a file of annotations or predictions: int `(frames,)`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The classes are in another order, or a line is no code.
    """
    path = pathlib.Path(path)
    try:
        header, *lines = path.read_text().split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} is no text file.") from error
    found = [name.strip().lower() for name in header.split(",")]
    try:
        same = match(found, challenge.classes).index.tolist() == list(
            range(challenge.codes)
        )
    except ValueError:
        same = False
    if not same or len(found) != challenge.codes:
        raise ValueError(
            f"{str(path)!r} must begin with {challenge.header}, got {header[:80]!r}. "
            "Check the year of the annotations, and --abaw."
        )
    while lines and not lines[-1].strip():
        lines.pop()
    return np.array(
        [_code(line, challenge, path, number) for number, line in enumerate(lines, 2)],
        int,
    )


def _code(text, challenge, path, line):
    try:
        code = int(text)
    except ValueError:
        code = None
    if code is None or not -1 <= code < challenge.codes:
        raise ValueError(
            f"Line {line} of {str(path)!r} must be a code from -1 to "
            f"{challenge.codes - 1}, got {text[:40]!r}."
        )
    return code


def list_videos(path, challenge):
    """The videos to predict: `{name: number of frames}`.

    Args:
        path: A folder of annotations, a file of lines `VIDEO FRAMES`, or a list of
            images.
        challenge: A `Challenge`.

    Raises:
        FileNotFoundError: There is no such file or folder, or it names no video.
        ValueError: A line is neither.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        videos = {
            file.stem: len(read_codes(file, challenge))
            for file in sorted(path.glob("*.txt"))
        }
    else:
        videos = {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if not line.strip() or (number == 1 and line.startswith("image_location")):
                continue
            name, frames = _video_line(line, path, number)
            videos[name] = max(frames, videos.get(name, 0))
    if not videos:
        raise FileNotFoundError(
            f"{str(path)!r} names no video. Pass a folder of VIDEO.txt, a file of "
            "lines `VIDEO FRAMES`, or a list of images."
        )
    return videos


def _video_line(line, path, number):
    """Name and frames of a line; those of an image are its own number."""
    image = pathlib.PurePosixPath(line.partition(",")[0].strip())
    if image.suffix == ".jpg" and image.stem.isdecimal() and image.parent.name:
        return image.parent.name, int(image.stem)
    name, _, frames = line.strip().rpartition(" ")
    if not (name.strip() and frames.isdecimal() and int(frames)):
        raise ValueError(
            f"Line {number} of {str(path)!r} must be `VIDEO FRAMES` or "
            f"`VIDEO/00001.jpg`, got {line[:60]!r}."
        )
    return name.strip(), int(frames)


def smooth(probabilities, known, window):
    """Averages over time, and fills frames without a crop.

    Args:
        probabilities: `(frames, classes)`; rows of frames without a crop do not count.
        known: bool `(frames,)`, whether a frame has a crop; one at least has.
        window: Frames of the centered window, an odd number; 1 only fills.

    Returns:
        float64 `(frames, classes)`.
    """
    frames, weight = len(known), known.astype("float64")
    half = window // 2

    def windowed(values):
        total = np.concatenate([[0], np.cumsum(values)])
        ends = np.minimum(np.arange(frames) + half + 1, frames)
        return total[ends] - total[np.maximum(np.arange(frames) - half, 0)]

    counts = np.rint(windowed(weight))
    columns = np.asarray(probabilities, "float64").T * weight
    sums = np.stack([windowed(column) for column in columns], axis=1)
    means = sums / np.maximum(counts, 1)[:, None]
    covered = np.flatnonzero(counts > 0)
    # The nearest frame with a mean; of two, the first.
    places = np.arange(frames)
    after = np.searchsorted(covered, places).clip(0, len(covered) - 1)
    before = np.maximum(after - 1, 0)
    later = np.abs(covered[after] - places) < np.abs(covered[before] - places)
    return means[covered[np.where(later, after, before)]]


def predict_video(model, shared, folder, frames, window):
    """The codes of all frames of a video, and how many of them had no crop.

    Args:
        model: A model of `keras_fer`.
        shared: `match(model.labels, challenge.classes)`.
        folder: Its crops, 00001.jpg and so on.
        frames: Number of frames.
        window: See `smooth`.

    Returns:
        int `(frames,)`, and a number.

    Raises:
        FileNotFoundError: No frame has a readable crop.
        ValueError: There are crops of later frames.
    """
    found = {
        int(path.stem): path
        for path in folder.glob("*.jpg")
        if path.stem.isdecimal() and int(path.stem)
    }
    if found and max(found) > frames:
        raise ValueError(
            f"{folder.name} has {frames} frames, but a crop of frame {max(found)} in "
            f"{str(folder)!r}. Check --videos and --crops: they are of another version."
        )
    probabilities = np.zeros((frames, len(shared.labels)))
    known = np.zeros(frames, bool)
    numbers = sorted(found)
    for first in range(0, len(numbers), CHUNK):
        pairs = [(n, _read(found[n])) for n in numbers[first : first + CHUNK]]
        pairs = [(number, image) for number, image in pairs if image is not None]
        if not pairs:
            continue
        images = np.stack([image for _, image in pairs])
        rows = np.array([number for number, _ in pairs]) - 1
        given = model.predict(images, batch_size=CHUNK, verbose=0)
        probabilities[rows], known[rows] = shared.restrict(given), True
    if not known.any():
        raise FileNotFoundError(
            f"{folder.name} has no readable crop in {str(folder)!r}, so none of its "
            f"{frames} frames can be predicted. Check --crops, or take the video out "
            "of --videos."
        )
    smoothed = smooth(probabilities, known, window)
    codes = np.flatnonzero(shared.index >= 0)
    order = shared.index[codes]  # Columns of the shared labels, by code.
    return codes[smoothed[:, order].argmax(axis=1)], int((~known).sum())


def _read(path):
    """uint8 `(112, 112, 3)`, or `None` for a damaged file."""
    try:
        with Image.open(path) as image:
            return fit(np.asarray(image.convert("RGB")), (SIDE, SIDE, 3))
    except UNREADABLE:
        return None


def predict(target, crops, videos, out, number, window=1):
    """Predicts all videos that are not predicted yet.

    Args:
        target: A `zoo.target.EvaluationTarget`.
        crops: Folder of the crops.
        videos: `{name: number of frames}`.
        out: Folder of the predictions.
        number: Of the competition, one of `CHALLENGES`.
        window: See `smooth`.

    Returns:
        A list of errors, one line for each video that could not be predicted.

    Raises:
        ValueError: `out` holds predictions of another model or other options, or the
            labels have none in common.
    """
    challenge = CHALLENGES[number]
    facts = {"model": target.name, "sha256": target.sha256, "abaw": number}
    _claim(out, {**facts, "smooth": window})
    model = target.load()
    shared = match(model.labels, challenge.classes)
    for names, text in (
        (shared.model_only, "no class of the challenge, left out"),
        (shared.dataset_only, "unknown to the model, never predicted"),
    ):
        if names:
            print(f"{', '.join(names)}: {text}", file=sys.stderr)
    errors = []
    for name, frames in videos.items():
        file = out / f"{name}.txt"
        if file.exists():
            continue
        try:
            codes, filled = predict_video(model, shared, crops / name, frames, window)
        except (FileNotFoundError, ValueError) as error:
            errors.append(one_line(error))
            print_error("zoo.aff_wild2", error)
            continue
        _write(file, "\n".join([challenge.header, *map(str, codes)]))
        note = f", {filled} of them without a crop" if filled else ""
        print(f"{name}: {frames} frames{note}", file=sys.stderr)
    if challenge.images and not errors:
        lines = [f"image_location,{challenge.header}"]
        for name in videos:
            codes = read_codes(out / f"{name}.txt", challenge)
            lines += [
                f"{name}/{frame:05d}.jpg,{code}" for frame, code in enumerate(codes, 1)
            ]
        _write(out / "predictions.txt", "\n".join(lines))
    return errors


def _claim(out, facts):
    """Notes whose predictions a folder holds."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "run.json"
    if file.exists():
        if json.loads(file.read_text()) != facts:
            raise ValueError(
                f"--out {str(out)!r} has predictions of another model or with other "
                "options. Choose another folder."
            )
    elif any(out.iterdir()):
        raise ValueError(f"--out {str(out)!r} is not empty. Choose another folder.")
    else:
        _write(file, json.dumps(facts, indent=1))


def _write(path, text):
    with replacing(path) as temporary:
        temporary.write_text(text + "\n")


def score(predictions, annotations, number):
    """The score of a challenge.

    Args:
        predictions: Folder of VIDEO.txt.
        annotations: Folder of VIDEO.txt.
        number: Of the competition, one of `CHALLENGES`.

    Returns:
        A dictionary of values for JSON; metrics in percent.

    Raises:
        FileNotFoundError: A video has no predictions, or there is no annotation.
        ValueError: A video has other frames in one than in the other, or a file is
            damaged.
    """
    challenge = CHALLENGES[number]
    files = sorted(pathlib.Path(annotations).glob("*.txt"))
    if not files:
        raise FileNotFoundError(
            f"{str(annotations)!r} has no annotation, VIDEO.txt. Pass the folder of "
            "the validation set."
        )
    pairs = []
    for file in files:
        truth = read_codes(file, challenge)
        path = pathlib.Path(predictions) / file.name
        if not path.is_file():
            raise FileNotFoundError(
                f"{file.stem} has no predictions: {str(path)!r} is missing. Run "
                "`python -m zoo.aff_wild2 predict` on it."
            )
        guess = read_codes(path, challenge)
        if len(guess) != len(truth) or (guess < 0).any():
            raise ValueError(
                f"{file.stem} has {(guess >= 0).sum()} predictions, but "
                f"{len(truth)} annotated frames. Every frame needs one, those without "
                "a face too."
            )
        pairs.append(np.stack([truth, guess]))
    truth, guess = np.concatenate(pairs, axis=1)
    counted = truth >= 0
    if not counted.any():
        raise ValueError(f"All frames in {str(annotations)!r} are annotated -1.")
    truth, guess = truth[counted], guess[counted]
    every = metrics.f1_score(
        truth, guess, labels=range(challenge.codes), average=None, zero_division=0
    )
    accuracy, macro_f1 = float(np.mean(truth == guess)), float(every.mean())
    share = challenge.accuracy
    return {
        "kind": "aff_wild2",
        "abaw": number,
        "videos": len(files),
        "n": len(truth),
        "left_out": int((~counted).sum()),
        "accuracy": 100 * accuracy,
        "macro_f1": 100 * macro_f1,
        "score": 100 * (share * accuracy + (1 - share) * macro_f1),
        "formula": "0.67 macro-F1 + 0.33 accuracy" if share else "macro-F1",
        "f1": {
            name: 100 * float(value)
            for name, value in zip(challenge.classes, every, strict=True)
        },
    }


def table(result):
    """The result of `score` as text."""
    return "\n".join(
        [
            f"ABAW {result['abaw']}, {result['videos']} videos, n = {result['n']:,} "
            f"frames, {result['left_out']:,} annotated -1",
            f"score {result['score']:.2f} % ({result['formula']})  "
            f"macro-F1 {result['macro_f1']:.2f} %  accuracy {result['accuracy']:.2f} %",
            *(f"{name:>10} F1 {value:6.2f} %" for name, value in result["f1"].items()),
        ]
    )


def _parser():
    parser = argparse.ArgumentParser(
        "python -m zoo.aff_wild2",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    guess = commands.add_parser("predict", help="predict every frame of videos")
    guess.add_argument("model", metavar="MODEL")
    for name, text in (
        ("crops", "folder of VIDEO/00001.jpg, ..."),
        ("videos", "folder of annotations, or file of videos or images"),
        ("out", "folder of the predictions"),
    ):
        guess.add_argument(f"--{name}", type=pathlib.Path, required=True, help=text)
    guess.add_argument(
        "--smooth", type=int, default=1, metavar="N", help="frames of the window (1)"
    )
    judge = commands.add_parser("score", help="score predictions")
    judge.add_argument("predictions", type=pathlib.Path, metavar="OUT")
    judge.add_argument("--annotations", type=pathlib.Path, required=True)
    judge.add_argument(
        "--json", type=pathlib.Path, metavar="FILE", help="write the result"
    )
    for each in (guess, judge):
        each.add_argument(
            "--abaw",
            type=int,
            choices=CHALLENGES,
            required=True,
            help="number of the competition",
        )
    return parser


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if options.command == "score":
            result = score(options.predictions, options.annotations, options.abaw)
            print(table(result))
            if options.json:
                _write(options.json, json.dumps(result, indent=1))
            return 0
        if options.smooth < 1 or options.smooth % 2 == 0:
            parser.error(
                f"--smooth must be an odd number of frames, got {options.smooth}"
            )
        try:
            target = find(options.model, dataset="aff_wild2")
        except ValueError as error:
            parser.error(one_line(error))
        videos = list_videos(options.videos, CHALLENGES[options.abaw])
        with without_native_output():
            import keras  # noqa: F401
        errors = predict(
            target, options.crops, videos, options.out, options.abaw, options.smooth
        )
        if errors:
            print_error(
                "zoo.aff_wild2",
                f"{len(errors)} of {len(videos)} videos could not be predicted",
            )
        return int(bool(errors))
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        print_error("zoo.aff_wild2", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
