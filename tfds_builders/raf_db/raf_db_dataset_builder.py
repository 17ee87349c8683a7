"""RAF-DB, basic emotions (Li, Deng and Du, CVPR 2017)."""

import dataclasses
import re

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders.base import UNREADABLE, FaceBuilder, FaceConfig, with_corruptions
from tfds_builders.subsets import read_subsets

_LANDMARKS = 5
# The lines of an annotation file after the landmarks; codes count from 0.
_ATTRIBUTES = {
    "gender": ("male", "female", "unsure"),
    "race": ("Caucasian", "African-American", "Asian"),
    "age": ("0-3", "4-19", "20-39", "40-69", "70+"),
}
_UNKNOWN = -1


@dataclasses.dataclass(eq=False, kw_only=True)
class RafDbConfig(FaceConfig):
    """A config of RAF-DB.

    Attributes:
        images: `"aligned"` (100x100) or `"original"`.
    """

    images: str = "aligned"


class Builder(FaceBuilder):
    """RAF-DB, basic emotions."""

    CODES = "raf_db"
    BUILDER_CONFIGS = with_corruptions(
        [
            RafDbConfig(name="aligned", description="Aligned faces of 100x100 pixels."),
            RafDbConfig(
                name="original",
                description="Original images with landmarks and face boxes.",
                images="original",
            ),
        ]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Ask for RAF-DB at http://www.whdeng.cn/raf/model1.html, unpack all archives, and
    place this tree in the manual folder, under raf_db/:

    basic/EmoLabel/list_patition_label.txt
    basic/Image/aligned/train_00001_aligned.jpg ...      (config aligned)
    basic/Image/original/train_00001.jpg ...             (config original)
    basic/Annotation/manual/train_00001_manu_attri.txt ...           (optional)
    basic/Annotation/boundingbox/train_00001_boundingbox.txt ...     (optional)
    subsets/occlusion.txt, subsets/pose_30.txt, subsets/pose_45.txt  (optional)
    """

    def _info(self):
        """Images, labels and attributes."""
        features = {
            name: tfds.features.ClassLabel(names=names)
            for name, names in _ATTRIBUTES.items()
        }
        if self.builder_config.images == "aligned":
            return self.face_info(shape=(100, 100), **features)
        return self.face_info(
            **features,
            landmarks=tfds.features.Tensor(shape=(_LANDMARKS, 2), dtype=np.float32),
            bbox=tfds.features.BBoxFeature(),
        )

    def _split_generators(self, dl_manager):
        """Train and test as published, and the challenge subsets of test."""
        images = f"basic/Image/{self.builder_config.images}"
        folder = self.manual_folder(dl_manager, "basic/EmoLabel", images)
        root = folder / "basic"
        splits = self._read_labels(root / "EmoLabel" / "list_patition_label.txt")
        known = {id: id for id in splits["test"]}
        found = read_subsets(folder / "subsets", known, self.skip)
        return {
            **{
                split: self._generate_examples(root, codes)
                for split, codes in splits.items()
            },
            **{
                subset: self._generate_subset(root, splits["test"], ids)
                for subset, ids in found.items()
            },
        }

    def _read_labels(self, path):
        """The codes of all images, `{split: {id: code}}`."""
        splits = {"train": {}, "test": {}}
        for line in path.read_text().splitlines():
            match = re.fullmatch(r"((train|test)_\d+)\.jpg\s+(-?\d+)", line.strip())
            if match is None:
                if line.strip():
                    self.skip("label line is not 'NAME.jpg CODE'", line.strip())
                continue
            id, split, code = match.groups()
            if id in splits[split]:
                self.skip("label line is a duplicate", line.strip())
                continue
            splits[split][id] = int(code)
        for split, codes in splits.items():
            if not codes:
                raise ValueError(
                    f"{path} has no line of split {split!r}, such as "
                    f"'{split}_0001.jpg 5'. Copy it from the archive again."
                )
        return splits

    def _generate_examples(self, root, codes):
        """Yields ids and examples."""
        for id, code in codes.items():
            example = self._example(root, id, code)
            if example is not None:
                yield example

    def _generate_subset(self, root, codes, ids):
        """Yields the examples of the test split that a list names."""
        with self.uncounted():
            yield from self._generate_examples(
                root, {id: code for id, code in codes.items() if id in ids}
            )

    def _example(self, root, id, code):
        """An id and an example, or `None`."""
        landmarks, features = self._annotation(root / "Annotation" / "manual", id)
        if self.builder_config.images == "aligned":
            path = root / "Image" / "aligned" / f"{id}_aligned.jpg"
            return self.face(id, path, code, **features)
        path = root / "Image" / "original" / f"{id}.jpg"
        try:
            with Image.open(path) as image:
                size = np.array(image.size, "float32")
        except UNREADABLE:
            return self.face(id, path, code)  # which skips it with the reason
        box = self._numbers(
            root / "Annotation" / "boundingbox", f"{id}_boundingbox.txt", 4
        )
        box = (0, 0, *size) if box is None else box
        corners = np.clip(np.reshape(box, (2, 2)) / size, 0, 1)
        if not (corners[0] < corners[1]).all():
            self.skip("face box is damaged and ignored", id)
            corners = np.array([[0, 0], [1, 1]])
        left, top, right, bottom = corners.astype(float).ravel().tolist()
        return self.face(
            id,
            path,
            code,
            **features,
            landmarks=landmarks / size,
            bbox=tfds.features.BBox(ymin=top, xmin=left, ymax=bottom, xmax=right),
        )

    def _annotation(self, folder, id):
        """Landmarks in pixels and attributes; NaN and -1 where they are unknown."""
        none = np.full((_LANDMARKS, 2), np.nan, "float32")
        unknown = dict.fromkeys(_ATTRIBUTES, _UNKNOWN)
        name = f"{id}_manu_attri.txt"
        numbers = self._numbers(folder, name, 2 * _LANDMARKS + len(_ATTRIBUTES))
        if numbers is None:
            return none, unknown
        codes = numbers[2 * _LANDMARKS :]
        for code, names in zip(codes, _ATTRIBUTES.values(), strict=True):
            if code not in range(len(names)):
                self.skip("annotation file is damaged and ignored", name)
                return none, unknown
        landmarks = np.reshape(numbers[: 2 * _LANDMARKS], (_LANDMARKS, 2))
        codes = (int(code) for code in codes)
        return landmarks.astype("float32"), dict(zip(_ATTRIBUTES, codes, strict=True))

    def _numbers(self, folder, name, count):
        """The finite numbers in a text file, or `None` if it is missing or damaged."""
        try:
            numbers = [float(text) for text in (folder / name).read_text().split()]
        except FileNotFoundError:
            # The folders are optional, but a folder must have all files.
            if folder.exists():
                self.skip("annotation file is missing", name)
            return None
        except ValueError:
            numbers = []
        if len(numbers) != count or not np.isfinite(numbers).all():
            self.skip("annotation file is damaged and ignored", name)
            return None
        return numbers
