"""Oulu-CASIA: 80 subjects, six expressions, two cameras (Zhao et al., 2011)."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.base import FaceBuilder, FaceConfig, with_corruptions
from tfds_builders.folds import subject_folds

_IMAGES = (".jpg", ".jpeg")


@dataclasses.dataclass(eq=False, kw_only=True)
class OuluCASIAConfig(FaceConfig):
    """A config of Oulu-CASIA.

    Attributes:
        camera: `"VL"` (visible light) or `"NI"` (near infrared).
        light: `"Strong"`, `"Weak"` or `"Dark"`.
        frames: Number of frames per sequence, counted from its end.
        neutral: Whether to add the first frame of every sequence as neutral.
    """

    camera: str
    light: str
    frames: int = 3
    neutral: bool = False


def _config(camera, light, neutral=False):
    return OuluCASIAConfig(
        name=f"{camera}_{light}".lower() + ("_neutral" if neutral else ""),
        description=(
            f"{camera}, {light.lower()} light; six expressions from the last three "
            "frames of every sequence"
            + (" and neutral from the first." if neutral else ", none neutral.")
        ),
        camera=camera,
        light=light,
        neutral=neutral,
    )


class Builder(FaceBuilder):
    """Oulu-CASIA, in ten subject-independent folds."""

    CODES = "oulu_casia"
    BUILDER_CONFIGS = with_corruptions(
        [
            _config("VL", "Strong"),
            _config("VL", "Strong", neutral=True),
            _config("VL", "Weak"),
            _config("VL", "Dark"),
            _config("NI", "Strong"),
            _config("NI", "Weak"),
            _config("NI", "Dark"),
        ]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Ask the Center for Machine Vision and Signal Analysis of the University of Oulu for the
Oulu-CASIA NIR&VIS facial expression database, unpack it, and place it so that
manual_dir holds (the default config needs VL/Strong; the others need NI, Weak or Dark):

oulu_casia/
    VL/Strong/P001/Anger/000.jpeg
    VL/Strong/P001/Anger/001.jpeg
    ...
    VL/Strong/P080/{Anger,Disgust,Fear,Happiness,Sadness,Surprise}/*.jpeg
"""

    def _info(self):
        return self.face_info(
            original_label=np.str_,
            subject=tfds.features.Text(),
            frame=tfds.features.Scalar(np.int64),
        )

    def _split_generators(self, dl_manager):
        config = self.builder_config
        part = f"{config.camera}/{config.light}"
        folder = self.manual_folder(dl_manager, part) / part
        subjects = [path.name for path in folder.iterdir() if path.is_dir()]
        return {
            fold: self._generate_examples(folder, names)
            for fold, names in subject_folds(subjects).items()
        }

    def _generate_examples(self, folder, subjects):
        config = self.builder_config
        for subject in subjects:
            for sequence in sorted((folder / subject).iterdir()):
                name = f"{config.camera}/{config.light}/{subject}/{sequence.name}"
                if not sequence.is_dir():
                    self.skip("file is outside a sequence", name)
                    continue
                frames = []
                for path in sorted(sequence.iterdir()):
                    if path.suffix.lower() in _IMAGES and path.stem.isdecimal():
                        frames.append(path)
                    else:
                        self.skip("file is not a frame", f"{name}/{path.name}")
                if len(frames) < config.frames + config.neutral:
                    self.skip("sequence is too short", name)
                    continue
                chosen = [(path, None) for path in frames[-config.frames :]]
                if config.neutral:
                    chosen.insert(0, (frames[0], "neutral"))
                for path, label in chosen:
                    example = self.face(
                        f"{name}/{path.stem}",
                        path,
                        sequence.name,
                        label=label,
                        subject=subject,
                        frame=int(path.stem),
                    )
                    if example is not None:
                        yield example
