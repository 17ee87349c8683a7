"""CK+: sequences from neutral to the peak of an expression (Lucey et al., 2010)."""

import dataclasses
import re

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders.base import FaceBuilder, FaceConfig, with_corruptions
from tfds_builders.folds import subject_folds

_LANDMARKS = 68


@dataclasses.dataclass(eq=False, kw_only=True)
class CKPlusConfig(FaceConfig):
    """A config of CK+.

    Attributes:
        frames: Number of frames per sequence, counted from its end.
        neutral: Whether to add the first frame of every sequence as neutral.
    """

    # Contempt, the last of the eight, is among the labeled expressions.
    classes: int = 8
    frames: int
    neutral: bool


def _config(name, frames, neutral):
    last = "peak frame" if frames == 1 else "last three frames"
    return CKPlusConfig(
        name=name,
        description=(
            f"Seven expressions, contempt among them, from the {last} of every "
            "labeled sequence"
            + (", and neutral as an eighth from its first." if neutral else ".")
        ),
        frames=frames,
        neutral=neutral,
    )


class Builder(FaceBuilder):
    """CK+, in ten subject-independent folds."""

    CODES = "ck_plus"
    BUILDER_CONFIGS = with_corruptions(
        [
            _config("last", 1, False),
            _config("last_neutral", 1, True),
            _config("last3", 3, False),
            _config("last3_neutral", 3, True),
        ]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Ask for CK+ at https://www.jeffcohn.net/Resources/, unpack its images, emotion labels
and landmarks, and place them so that manual_dir holds:

ck_plus/
    cohn-kanade-images/S005/001/S005_001_00000001.png ...
    Emotion/S005/001/S005_001_00000011_emotion.txt ...
    Landmarks/S005/001/S005_001_00000001_landmarks.txt ...
"""

    def _info(self):
        return self.face_info(
            # A few sequences are in color, which would give away their subjects.
            channels=1,
            subject=tfds.features.Text(),
            frame=tfds.features.Scalar(np.int64),
            landmarks=tfds.features.Tensor(shape=(_LANDMARKS, 2), dtype=np.float32),
        )

    def _split_generators(self, dl_manager):
        folder = self.manual_folder(
            dl_manager, "cohn-kanade-images", "Emotion", "Landmarks"
        )
        sequences = {}
        for path in sorted((folder / "Emotion").glob("*/*/*_emotion.txt")):
            sequences.setdefault(path.parent.parent.name, []).append(path)
        return {
            fold: self._generate_examples(
                folder, [path for subject in subjects for path in sequences[subject]]
            )
            for fold, subjects in subject_folds(sequences).items()
        }

    def _generate_examples(self, folder, emotions):
        config = self.builder_config
        for emotion in emotions:
            subject, sequence = emotion.parent.parent.name, emotion.parent.name
            name = f"{subject}_{sequence}"
            code = _numbers(emotion, (1, 1))
            peak = _frame(emotion, name, "_emotion.txt")
            if code is None or code[0, 0] % 1 or peak is None:
                self.skip("emotion file has no single integer", emotion.name)
                continue
            images = folder / "cohn-kanade-images" / subject / sequence
            found = (_frame(path, name, ".png") for path in images.glob("*.png"))
            # With the peak itself, so that it is reported if it is missing.
            frames = sorted({peak, *(i for i in found if i is not None and i < peak)})
            if len(frames) < config.frames + config.neutral:
                self.skip("sequence is too short", name)
                continue
            chosen = [(frame, int(code[0, 0])) for frame in frames[-config.frames :]]
            if config.neutral:
                chosen.insert(0, (frames[0], 0))
            for frame, code in chosen:
                id = f"{name}_{frame:08d}"
                image = images / f"{id}.png"
                landmarks = _numbers(
                    folder / "Landmarks" / subject / sequence / f"{id}_landmarks.txt",
                    (_LANDMARKS, 2),
                )
                if landmarks is None:
                    self.skip("landmarks are not 68 lines of x and y", id)
                    continue
                example = self.face(
                    id,
                    image,
                    code,
                    subject=subject,
                    frame=frame,
                    landmarks=(landmarks / _size(image)).astype(np.float32),
                )
                if example is not None:
                    yield example


def _frame(path, sequence, ending):
    """The frame number in a file name, or `None` for other file names."""
    match = re.fullmatch(rf"{sequence}_(\d{{8}}){ending}", path.name)
    return match and int(match[1])


def _numbers(path, shape):
    """The numbers in a text file, or `None` if they do not have this shape."""
    try:
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        numbers = np.array(rows, dtype=np.float64)
    except (FileNotFoundError, ValueError):
        return None
    return numbers if numbers.shape == shape and np.isfinite(numbers).all() else None


def _size(path):
    """Width and height of an image."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, SyntaxError, ValueError):
        return 1, 1  # `FaceBuilder.face` skips unreadable images
