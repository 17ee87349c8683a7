"""FER+: FER2013's faces, labeled by ten annotators each with eight expressions."""

import dataclasses
import itertools

import numpy as np
import tensorflow_datasets as tfds

from keras_fer.votes import VOTES, winner
from tfds_builders.base import FaceBuilder, FaceConfig, with_corruptions
from tfds_builders.fer2013 import table
from tfds_builders.subsets import read_subsets

# The split that the challenge lists are subsets of.
_SUBSETS_OF = "private_test"


@dataclasses.dataclass(eq=False, kw_only=True)
class FerPlusConfig(FaceConfig):
    """A config of FER+.

    Attributes:
        rule: How votes become a label: `"majority"`, `"votes"` or `"all"`; see
            `keras_fer.votes.winners`.
    """

    classes: int = 8
    rule: str


class Builder(FaceBuilder):
    """FER+, from the CSV files of FER2013 and of the votes."""

    CODES = "ferplus"
    BUILDER_CONFIGS = with_corruptions(
        [
            FerPlusConfig(
                name="majority",
                rule="majority",
                description="Faces with over half of the votes for one expression.",
            ),
            FerPlusConfig(
                name="votes",
                rule="votes",
                description="Faces whose most frequent vote is an expression.",
            ),
            FerPlusConfig(
                name="all",
                rule="all",
                description="Faces with at least one vote for an expression.",
            ),
        ]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Place these two files into manual_dir; the first may also be in manual_dir/fer2013,
    the second in manual_dir/ferplus or manual_dir/fer2013:

        manual_dir/fer2013.csv      or icml_face_data.csv; all rows in original order
        manual_dir/fer2013new.csv   https://github.com/microsoft/FERPlus

        manual_dir/subsets/occlusion.txt, pose_30.txt, pose_45.txt   (optional)

    See tfds_builders/fer2013/README.md for where to get the first, and
    tfds_builders/subsets.py for the lists.
    """

    def _info(self):
        return self.face_info(
            channels=1,
            shape=(table.SIDE, table.SIDE),
            votes=tfds.features.Tensor(shape=(len(VOTES),), dtype=np.int64),
        )

    def _split_generators(self, dl_manager):
        manual = dl_manager.manual_dir
        faces = table.find(manual, table.NAMES, ["fer2013"])
        votes = table.find(manual, ["fer2013new.csv"], ["ferplus", "fer2013"])
        missing = []
        if faces is None:
            missing.append(" or ".join(table.NAMES))
        if votes is None:
            missing.append("fer2013new.csv")
        if missing:
            raise FileNotFoundError(
                f"manual_dir {str(manual)!r} has no {' and no '.join(missing)}.\n"
                f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        splits = self._splits_of(faces, votes)
        found = {}
        for folder in (manual / "ferplus" / "subsets", manual / "subsets"):
            if _SUBSETS_OF in splits and folder.is_dir() and not found:
                names = self._names(faces, votes)
                found = read_subsets(folder, names, self.skip)
        return {
            **{split: self._generate_examples(faces, votes, split) for split in splits},
            **{
                subset: self._generate_subset(faces, votes, ids)
                for subset, ids in found.items()
            },
        }

    def _names(self, faces, votes):
        """Ids of the images by the names in the challenge lists: `{name: id}`."""
        return {
            vote["Image name"].removesuffix(".png"): table.row_id(number)
            for number, row, vote in _pairs(faces, votes)
            if row and vote and table.SPLITS.get(row["Usage"]) == _SUBSETS_OF
        }

    def _generate_subset(self, faces, votes, ids):
        """Yields the examples of the private test split that a list names."""
        with self.uncounted():
            yield from self._generate_examples(faces, votes, _SUBSETS_OF, ids)

    def _splits_of(self, faces, votes):
        """The splits of both files; skips the rows that belong to none.

        Raises:
            ValueError: The two files do not have the same rows.
        """
        found, after = set(), {}
        for number, face, vote in _pairs(faces, votes):
            usage = vote["Usage"] if vote else None
            if face is _END:
                after.setdefault(usage, number)
            elif face is None:
                self.skip("row has a wrong number of fields", table.row_id(number))
            elif vote is _END:
                raise ValueError(
                    f"{votes} ends after {number} rows, before {faces} does. It must "
                    "have the votes of every row: download it again."
                )
            elif vote is None:
                reason = "votes have a wrong number of fields"
                self.skip(reason, table.row_id(number))
            elif face["Usage"] != usage:
                raise ValueError(
                    f"Row {number} (from 0) is {face['Usage']!r} in {faces} and "
                    f"{usage!r} in {votes}. Both files must have the same rows in the "
                    "same order, as published: download them again."
                )
            elif usage in table.SPLITS:
                found.add(usage)
            else:
                reason = f"Usage {usage[:20]!r} is unknown"
                self.skip(reason, table.row_id(number))
        # A file of faces may lack whole splits, such as the private test, but not the
        # end of one.
        for usage, number in after.items():
            if usage in found:
                raise ValueError(
                    f"{faces} ends in the middle of {usage}: row {number} (from 0) of "
                    f"{votes} has no face. Download the whole file."
                )
        if not found:
            raise ValueError(
                f"{faces} and {votes} have no row in common. Skipped: "
                f"{dict(self.info.metadata['skipped'])}. Get the files again."
            )
        return [table.SPLITS[usage] for usage in table.SPLITS if usage in found]

    def _generate_examples(self, faces, votes, split, only=None):
        built = 0
        for number, row, vote in _pairs(faces, votes):
            if not row or not vote or table.SPLITS.get(row["Usage"]) != split:
                continue
            id = table.row_id(number)
            if only is not None and id not in only:
                continue
            face = self._face(id, row, vote)
            if face is not None:
                built += 1
                yield face
        if not built:
            raise ValueError(
                f"{faces} has no usable face for split {split}. Skipped: "
                f"{dict(self.info.metadata['skipped'])}."
            )

    def _face(self, id, row, vote):
        counts = [vote[name] for name in VOTES]
        if not all(count.isdecimal() for count in counts):
            return self.skip("votes are not integers", id)
        counts = np.array(counts, np.int64)
        code = winner(counts, self.builder_config.rule)
        if code is None:
            reason = f"no expression by the rule {self.builder_config.rule!r}"
            return self.skip(reason, id)
        try:
            image = table.image(row["pixels"])
        except ValueError:
            return self.skip("row has damaged pixels", id)
        return self.face(id, image, code, votes=counts)


# Fills up the file that ends first; falsy, as a row without fields is.
_END = {}


def _pairs(faces, votes):
    """Yields the number and the fields of both files' rows; see `table.rows`."""
    pairs = itertools.zip_longest(
        table.rows(faces, table.COLUMNS),
        table.rows(votes, ("Usage", "Image name", *VOTES)),
        fillvalue=(None, _END),
    )
    for number, ((_, face), (_, vote)) in enumerate(pairs):
        yield number, face, vote
