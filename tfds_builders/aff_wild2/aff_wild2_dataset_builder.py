"""Aff-Wild2: frames of videos from the web (Kollias & Zafeiriou, 2019)."""

import dataclasses
import json

import numpy as np
import tensorflow_datasets as tfds

from keras_fer.labels import DATASET_CODES, canonical_name
from tfds_builders.base import NAMES, FaceBuilder, FaceConfig, with_corruptions

_SPLITS = {"train": "Train_Set", "validation": "Validation_Set"}


@dataclasses.dataclass(eq=False, kw_only=True)
class AffWild2Config(FaceConfig):
    """A config of Aff-Wild2.

    Attributes:
        annotations: Folder with the annotation files.
        codes: Number of their codes: 7 or, with "other", 8.
    """

    annotations: str
    codes: int


class Builder(FaceBuilder):
    """Aff-Wild2, through Apache Beam."""

    CODES = "aff_wild2"
    BUILDER_CONFIGS = with_corruptions(
        [
            AffWild2Config(
                name="expr_7",
                description="The seven expressions of the annotation of 2020.",
                annotations="EXPR_Set",
                codes=7,
            ),
            AffWild2Config(
                name="expr_8",
                description=(
                    "The same seven of the annotation of 2022 and later, whose eighth "
                    "class, 'other', is not contempt: its frames are skipped."
                ),
                annotations="EXPR_Classification_Challenge",
                codes=8,
            ),
        ]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Ask for Aff-Wild2 at https://ibug.doc.ic.ac.uk/resources/aff-wild2/, unpack its cropped
and aligned frames and its expression annotations, and place them so that manual_dir
holds:

aff_wild2/
    cropped_aligned/VIDEO/00001.jpg, 00002.jpg, ... (VIDEO also VIDEO_left, VIDEO_right)

and for the config "expr_7" (annotations of 2020):

aff_wild2/
    EXPR_Set/Train_Set/VIDEO.txt
    EXPR_Set/Validation_Set/VIDEO.txt

or for the config "expr_8" (annotations of 2022 and later):

aff_wild2/
    EXPR_Classification_Challenge/Train_Set/VIDEO.txt
    EXPR_Classification_Challenge/Validation_Set/VIDEO.txt
"""

    def _info(self):
        return self.face_info(
            shape=(112, 112),
            video=tfds.features.Text(),
            frame=tfds.features.Scalar(np.int64),
        )

    def _split_generators(self, dl_manager):
        annotations = self.builder_config.annotations
        folder = self.manual_folder(
            dl_manager,
            "cropped_aligned",
            *(f"{annotations}/{part}" for part in _SPLITS.values()),
        )
        return {
            split: self._generate_examples(
                folder / annotations / part, folder / "cropped_aligned", split
            )
            for split, part in _SPLITS.items()
        }

    def _generate_examples(self, annotations, crops, split):
        """A Beam transform from videos to faces."""
        beam = tfds.core.lazy_imports.apache_beam
        videos = sorted(annotations.glob("*.txt"))
        if not videos:
            raise FileNotFoundError(
                f"aff_wild2 has no annotation in {annotations}. "
                f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        for path in videos:
            self._check_names(path)
        skipped = self.data_path / f"skipped-{split}.json"

        @beam.ptransform_fn
        def faces(pipeline):
            result = (
                pipeline
                | "Videos" >> beam.Create(videos)
                | "Spread" >> beam.Reshuffle()
                | "Read"
                >> beam.FlatMap(self._read, crops).with_outputs("skipped", main="faces")
            )
            _ = (
                result.skipped
                | "Merge" >> beam.CombineGlobally(_merge)
                | "Write"
                >> beam.Map(lambda counts: skipped.write_text(json.dumps(counts)))
            )
            return result.faces

        return faces()

    def _check_names(self, path):
        """Raises a `ValueError` if the codes are not in the known order."""
        codes = DATASET_CODES[self.CODES]
        expected = [codes[code] or "other" for code in range(self.builder_config.codes)]
        with path.open() as file:
            header = file.readline().strip()
        names = [name.strip().lower() for name in header.split(",")]
        try:
            found = [
                name if name == "other" else canonical_name(name) for name in names
            ]
        except ValueError:
            found = None
        if found != expected:
            raise ValueError(
                f"{path} must begin with the classes of the config "
                f"{self.builder_config.name}, {','.join(expected)}, got {header!r}. "
                "Check the year of the annotations: 'expr_7' reads those of 2020, "
                "'expr_8' the later ones with 'Other'."
            )

    def _read(self, path, crops):
        """Yields the faces of a video, then what was skipped; runs in a worker."""
        beam = tfds.core.lazy_imports.apache_beam
        # Every worker has its own copy of the builder, which is reused between videos.
        self.info.metadata["skipped"] = {}
        yield from self._video(path, crops / path.stem)
        yield beam.pvalue.TaggedOutput("skipped", self.info.metadata["skipped"])

    def _video(self, path, crops):
        if not crops.is_dir():
            self.skip("video has no crops", path.stem)
            return
        codes = range(-1, self.builder_config.codes)
        with path.open() as file:
            next(file)  # the header
            for frame, line in enumerate(file, start=1):
                id = f"{path.stem}/{frame:05d}"
                try:
                    code = int(line)
                except ValueError:
                    self.skip("line is not an integer", id)
                    continue
                if code not in codes:
                    self.skip(f"label {code} outside the codes", id)
                    continue
                example = self.face(
                    id, crops / f"{frame:05d}.jpg", code, video=path.stem, frame=frame
                )
                if example is not None:
                    yield example

    def _process_pipeline_result(self, pipeline_result):
        """Adds up what the workers skipped."""
        paths = [self.data_path / f"skipped-{split}.json" for split in _SPLITS]
        counts = [json.loads(path.read_text()) for path in paths]
        self.info.metadata["skipped"] = _merge(counts)
        for path in paths:
            path.unlink()


def _merge(counts):
    """Counts and first names of several videos, independent of their order."""
    merged = {}
    for skipped in counts:
        for reason, one in skipped.items():
            known = merged.setdefault(reason, {"count": 0, "first": []})
            known["count"] += one["count"]
            known["first"] = sorted(known["first"] + one["first"])[:NAMES]
    return {reason: merged[reason] for reason in sorted(merged)}
