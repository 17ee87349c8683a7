"""FER2013: 35,887 grayscale faces from the web, 48x48, seven expressions."""

from keras_fer.labels import DATASET_CODES, canonical_name
from tfds_builders.base import FaceBuilder, FaceConfig, with_corruptions
from tfds_builders.fer2013 import table

# Folder in lower case and without "_" -> split. "test" of the mirrors is the public and
# the private test together.
_FOLDERS = {
    "train": "train",
    "training": "train",
    "publictest": "public_test",
    "privatetest": "private_test",
    "test": "test",
}
_IMAGES = (".jpg", ".jpeg", ".png")
_CODES = {name: code for code, name in DATASET_CODES["fer2013"].items()}


class Builder(FaceBuilder):
    """FER2013, from its CSV file or from folders of images."""

    CODES = "fer2013"
    BUILDER_CONFIGS = with_corruptions(
        [FaceConfig(name="original", description="The images as published.")]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Place one of these into manual_dir or into manual_dir/fer2013. Either the CSV file
    from the challenge's archive or the one that Kaggle offered beside it:

        manual_dir/fer2013.csv          emotion,pixels,Usage
        manual_dir/icml_face_data.csv   emotion, Usage, pixels

    or, without them, the images in one folder per expression:

        manual_dir/train/angry/*.jpg    and disgust, fear, happy, neutral, sad, surprise
        manual_dir/test/angry/*.jpg     or public_test/ and private_test/

    See tfds_builders/fer2013/README.md for where to get them.
    """

    def _info(self):
        return self.face_info(channels=1, shape=(table.SIDE, table.SIDE))

    def _split_generators(self, dl_manager):
        manual = dl_manager.manual_dir
        path = table.find(manual, table.NAMES, ["fer2013"])
        if path is not None:
            return {
                split: self._generate_examples(path, split)
                for split in self._splits_of(path)
            }
        for root in (manual / "fer2013", manual):
            folders = _split_folders(root)
            if folders:
                return {
                    split: self._generate_examples(folder, split)
                    for split, folder in folders.items()
                }
        raise FileNotFoundError(
            f"manual_dir {str(manual)!r} must contain {' or '.join(table.NAMES)}, or "
            f"the folders train/ and test/.\n{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )

    def _splits_of(self, path):
        """The splits of a CSV file; skips the rows that belong to none."""
        found = set()
        for number, row in table.rows(path, table.COLUMNS):
            if row is None:
                self.skip("row has a wrong number of fields", table.row_id(number))
            elif row["Usage"] not in table.SPLITS:
                reason = f"Usage {row['Usage'][:20]!r} is unknown"
                self.skip(reason, table.row_id(number))
            else:
                found.add(table.SPLITS[row["Usage"]])
        if not found:
            raise ValueError(
                f"{path} has no row with a Usage of {', '.join(table.SPLITS)}. "
                f"Skipped: {dict(self.info.metadata['skipped'])}. Download it again."
            )
        return [split for split in table.SPLITS.values() if split in found]

    def _generate_examples(self, path, split):
        faces = _of_rows if path.is_file() else _of_folder
        built = 0
        for id, image, code in faces(path, split):
            if image is None:
                face = self.skip("row has damaged pixels", id)
            else:
                face = self.face(id, image, code)
            if face is not None:
                built += 1
                yield face
        if not built:
            raise ValueError(
                f"{path} has no usable face for split {split}. Skipped: "
                f"{dict(self.info.metadata['skipped'])}. Download the files again."
            )


def _of_rows(path, split):
    """Yields id, image (or `None`) and code of a split's rows in a CSV file."""
    for number, row in table.rows(path, table.COLUMNS):
        if row is None or table.SPLITS.get(row["Usage"]) != split:
            continue
        try:
            image = table.image(row["pixels"])
        except ValueError:
            image = None
        code = row["emotion"]
        yield table.row_id(number), image, int(code) if code.isdecimal() else code


def _of_folder(path, split):
    """Yields id, path and code of a split's images; an unknown folder is the code."""
    for folder in sorted(path.iterdir()):
        if not folder.is_dir():
            continue
        try:
            code = _CODES.get(canonical_name(folder.name), folder.name)
        except ValueError:
            code = folder.name
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in _IMAGES:
                yield f"{split}/{folder.name}/{file.name}", file, code


def _split_folders(root):
    """Split -> folder, for the folders under `root` that are splits."""
    found = {}
    if not root.is_dir():
        return found
    for folder in sorted(root.iterdir()):
        split = _FOLDERS.get(folder.name.lower().replace("_", ""))
        if split is None or not folder.is_dir():
            continue
        if split in found:
            raise ValueError(
                f"Two folders are split {split}: {found[split]} and {folder}. Move one "
                "of them away."
            )
        found[split] = folder
    order = [*table.SPLITS.values(), "test"]
    return {split: found[split] for split in order if split in found}
