"""FED-RO: 400 faces with real occlusions (Li et al., 2019)."""

import numpy as np

from keras_fer.labels import LABELS, canonical_name
from tfds_builders.base import FaceBuilder, FaceConfig, with_corruptions

_IMAGES = (".jpg", ".jpeg", ".png", ".bmp")


class Builder(FaceBuilder):
    """FED-RO, a test set."""

    CODES = "fed_ro"
    BUILDER_CONFIGS = with_corruptions(
        [FaceConfig(name="default", description="Seven expressions.")]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Ask the authors for FED-RO (Li et al., "Occlusion aware facial expression recognition
using CNN with attention mechanism", 2019), and place it so that manual_dir holds:

fed_ro/
    anger/*.jpg
    disgust/*.jpg
    fear/*.jpg
    happiness/*.jpg
    neutral/*.jpg
    sadness/*.jpg
    surprise/*.jpg

Other spellings of the folders are understood ("Angry", "happy"). Copies of this dataset
number the classes differently: rename numbered folders after what their images show.
"""

    def _info(self):
        return self.face_info(original_label=np.str_)

    def _split_generators(self, dl_manager):
        folder = self.manual_folder(dl_manager)
        labels = {
            path: _label(path.name)
            for path in sorted(folder.iterdir())
            if path.is_dir()
        }
        absent = set(LABELS[:7]) - set(labels.values())
        if absent:
            folders = ", ".join(path.name for path in labels) or "no folder"
            raise FileNotFoundError(
                f"fed_ro has no folder for {', '.join(sorted(absent))}; {folder} has "
                f"{folders}. "
                f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        return {"test": self._generate_examples(labels)}

    def _generate_examples(self, labels):
        for folder, label in labels.items():
            if label is None:
                self.skip("folder is not an expression", folder.name)
                continue
            for path in sorted(folder.iterdir()):
                id = f"{folder.name}/{path.name}"
                if path.suffix.lower() not in _IMAGES:
                    self.skip("file is not an image", id)
                    continue
                example = self.face(id, path, folder.name, label=label)
                if example is not None:
                    yield example


def _label(name):
    """The expression that a folder is named after, or `None`."""
    try:
        return canonical_name(name)
    except ValueError:
        return None
