"""SFEW 2.0: single frames of films (Dhall et al., 2011)."""

import dataclasses

import numpy as np

from keras_fer.labels import DATASET_CODES
from tfds_builders.base import FaceBuilder, FaceConfig, with_corruptions

_IMAGES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclasses.dataclass(eq=False, kw_only=True)
class SFEWConfig(FaceConfig):
    """A config of SFEW.

    Attributes:
        folders: Folders of the splits `train` and `validation`.
    """

    folders: tuple[str, str]


class Builder(FaceBuilder):
    """SFEW 2.0."""

    CODES = "sfew"
    BUILDER_CONFIGS = with_corruptions(
        [
            SFEWConfig(
                name="aligned",
                description="Faces as the authors cropped and aligned them.",
                folders=("Train_Aligned_Faces", "Val_Aligned_Faces"),
            ),
            SFEWConfig(
                name="original",
                description="Whole frames of the films.",
                folders=("Train", "Val"),
            ),
        ]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Ask the authors for SFEW 2.0 (https://users.cecs.anu.edu.au/~few_group/AFEW.html),
unpack it, and place it so that manual_dir holds, for the config "aligned":

sfew/
    Train_Aligned_Faces/{Angry,Disgust,Fear,Happy,Neutral,Sad,Surprise}/*.png
    Val_Aligned_Faces/{Angry,Disgust,Fear,Happy,Neutral,Sad,Surprise}/*.png

and for the config "original":

sfew/
    Train/{Angry,Disgust,Fear,Happy,Neutral,Sad,Surprise}/*.png
    Val/{Angry,Disgust,Fear,Happy,Neutral,Sad,Surprise}/*.png
"""

    def _info(self):
        return self.face_info(original_label=np.str_)

    def _split_generators(self, dl_manager):
        folders = self.builder_config.folders
        parts = [f"{part}/{code}" for part in folders for code in DATASET_CODES["sfew"]]
        folder = self.manual_folder(dl_manager, *parts)
        return {
            split: self._generate_examples(folder / part)
            for split, part in zip(("train", "validation"), folders, strict=True)
        }

    def _generate_examples(self, folder):
        for part in sorted(path for path in folder.iterdir() if path.is_dir()):
            for path in sorted(part.iterdir()):
                id = f"{folder.name}/{part.name}/{path.name}"
                if path.suffix.lower() not in _IMAGES:
                    self.skip("file is not an image", id)
                    continue
                # Folders other than those of the seven expressions are skipped here.
                example = self.face(id, path, part.name)
                if example is not None:
                    yield example
