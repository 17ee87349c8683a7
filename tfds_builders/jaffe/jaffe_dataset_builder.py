"""JAFFE: 213 posed faces of ten women (Lyons et al., 1998)."""

import re

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.base import FaceBuilder, FaceConfig, with_corruptions
from tfds_builders.folds import subject_folds

# Subject, expression and take, number of the image: KA.AN1.39.tiff.
_NAME = re.compile(r"([A-Z]{2})\.([A-Z]{2})\d+\.\d+\.tiff?")


class Builder(FaceBuilder):
    """JAFFE, one fold per subject."""

    CODES = "jaffe"
    BUILDER_CONFIGS = with_corruptions(
        [FaceConfig(name="default", description="Seven expressions.")]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Ask for JAFFE at https://zenodo.org/records/3451524, unpack it, and place the images
so that manual_dir holds:

jaffe/
    KA.AN1.39.tiff
    KA.AN2.40.tiff
    ... (213 files)
"""

    def _info(self):
        return self.face_info(
            channels=1,
            original_label=np.str_,
            shape=(256, 256),
            subject=tfds.features.Text(),
        )

    def _split_generators(self, dl_manager):
        folder = self.manual_folder(dl_manager)
        files = sorted(path for path in folder.iterdir() if "tif" in path.suffix)
        subjects = (match[1] for path in files if (match := _NAME.fullmatch(path.name)))
        return {
            fold: self._generate_examples(files, names, named=fold == "fold_0")
            for fold, names in subject_folds(subjects).items()
        }

    def _generate_examples(self, files, subjects, named):
        for path in files:
            match = _NAME.fullmatch(path.name)
            if match is None:
                # Belongs to no fold: the first one counts it.
                if named:
                    self.skip("file name has no subject and expression", path.name)
                continue
            subject, code = match.groups()
            if subject not in subjects:
                continue
            example = self.face(path.stem, path, code, subject=subject)
            if example is not None:
                yield example
