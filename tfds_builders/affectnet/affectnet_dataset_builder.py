"""AffectNet, manually annotated images (Mollahosseini, Hasani and Mahoor, 2017)."""

import csv
import dataclasses
import functools
import importlib
import json
import pathlib

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from PIL import Image

from keras_fer.labels import DATASET_CODES, LABELS
from tfds_builders.base import (
    NAMES,
    UNREADABLE,
    FaceBuilder,
    FaceConfig,
    with_corruptions,
)
from tfds_builders.subsets import read_subsets

_COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
_LISTS = {"train": "training.csv", "validation": "validation.csv"}
_FOLDERS = {"train": "train_set", "validation": "val_set"}
_LANDMARKS = 68
# Shapes of the small release's annotations, by the ends of their file names.
_SHAPES = {"exp": (), "val": (), "aro": (), "lnd": (_LANDMARKS, 2)}


@dataclasses.dataclass(eq=False, kw_only=True)
class AffectNetConfig(FaceConfig):
    """A config of AffectNet.

    Attributes:
        release: `"full"` (2017, CSV lists and whole images) or `"small"` (2021, cropped
            faces and NPY files).
    """

    release: str = "full"


class Builder(FaceBuilder):
    """AffectNet, manually annotated images, through Apache Beam."""

    CODES = "affectnet"
    BUILDER_CONFIGS = with_corruptions(
        [
            AffectNetConfig(
                name=f"{release}_{classes}",
                description=f"The {release} release of {year}, {classes} expressions.",
                release=release,
                classes=classes,
            )
            for release, year in (("full", 2017), ("small", 2021))
            for classes in (7, 8)
        ]
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Ask for AffectNet at http://mohammadmahoor.com/affectnet/ and place one of these
    trees, or both, in the manual folder, under affectnet/.

    Configs full_7 and full_8, the release of 2017:
    Manually_Annotated_file_lists/training.csv
    Manually_Annotated_file_lists/validation.csv
    Manually_Annotated_Images/1/0a1b....jpg ...
    subsets/occlusion.txt, subsets/pose_30.txt, subsets/pose_45.txt  (optional)

    Configs small_7 and small_8, the release of 2021:
    train_set/images/0.jpg ...
    train_set/annotations/0_exp.npy, 0_val.npy, 0_aro.npy, 0_lnd.npy ...
    val_set/images/..., val_set/annotations/...
    """

    def _info(self):
        """Faces, expressions, valence, arousal and landmarks."""
        return self.face_info(
            landmarks=tfds.features.Tensor(shape=(_LANDMARKS, 2), dtype=np.float32),
            valence=tfds.features.Scalar(np.float32),
            arousal=tfds.features.Scalar(np.float32),
        )

    def _split_generators(self, dl_manager):
        """Train, validation and, where there are lists, subsets of validation."""
        if self.builder_config.release == "small":
            folders = {
                split: self.manual_folder(
                    dl_manager, f"{name}/images", f"{name}/annotations"
                )
                / name
                for split, name in _FOLDERS.items()
            }
            return {
                split: self._generate_examples(split, folder)
                for split, folder in folders.items()
            }
        folder = self.manual_folder(
            dl_manager, "Manually_Annotated_file_lists", "Manually_Annotated_Images"
        )
        for name in _LISTS.values():
            _check_header(folder / "Manually_Annotated_file_lists" / name)
        known = {}
        if (folder / "subsets").is_dir():
            path = folder / "Manually_Annotated_file_lists" / _LISTS["validation"]
            with path.open("rb") as file:
                stems = (_stem(_id(_row(line))) for line in file)
                known = {stem: stem for stem in stems}
        found = read_subsets(folder / "subsets", known, self.skip)
        return {
            **{split: self._generate_examples(split, folder) for split in _LISTS},
            **{
                subset: self._generate_examples("validation", folder, subset, names)
                for subset, names in found.items()
            },
        }

    def _generate_examples(self, split, folder, subset=None, names=None):
        """A Beam transform of the examples of a split, or of a subset of it."""
        beam = tfds.core.lazy_imports.apache_beam
        fileio = importlib.import_module("apache_beam.io.fileio")

        @beam.ptransform_fn
        def examples(pipeline):
            if self.builder_config.release == "small":
                files = [
                    pipeline
                    | f"List {pattern}" >> fileio.MatchFiles(f"{folder}/{pattern}")
                    for pattern in ("images/*", "annotations/*_exp.npy")
                ]
                elements = (
                    files
                    | beam.Flatten()
                    | "Name" >> beam.Map(lambda file: _small_id(file.path))
                    | "Once" >> beam.Distinct()
                )
                make = self._small_face
            else:
                path = f"{folder}/Manually_Annotated_file_lists/{_LISTS[split]}"
                elements = (
                    pipeline
                    | "Lines"
                    >> beam.io.ReadFromText(
                        path, skip_header_lines=1, coder=beam.coders.BytesCoder()
                    )
                    | "Rows" >> beam.Map(_row)
                    | "Not blank" >> beam.Filter(bool)
                    | "Id" >> beam.Map(lambda row: (_id(row), row))
                )
                if names is not None:
                    elements |= "Subset" >> beam.Filter(
                        lambda element: _stem(element[0]) in names
                    )
                elements |= "Duplicates" >> beam.GroupByKey()
                make = self._full_face
            faces, skipped = elements | "Face" >> beam.FlatMap(
                functools.partial(_attempt, self, make, folder)
            ).with_outputs("skipped", main="faces")
            # What a subset lacks was already counted in its split.
            if subset is None:
                _ = skipped | "Report" >> _report(self.data_path / _report_name(split))
            return faces

        return examples()

    def _full_face(self, folder, element):
        """A face of the full release, cropped from its image."""
        id, rows = element
        whole = sorted(row for row in rows if len(row) == len(_COLUMNS))
        for row in rows:
            if len(row) != len(_COLUMNS):
                self.skip(f"row has {len(row)} fields, not {len(_COLUMNS)}", id)
        for _ in whole[1:]:
            self.skip("row is a duplicate", id)
        if not whole:
            return None
        path, *box, points, code, valence, arousal = whole[0]
        try:
            code = int(code)
        except ValueError:
            pass  # `face` skips it
        classes = LABELS[: self.builder_config.classes]
        if DATASET_CODES["affectnet"].get(code) not in classes:
            return self.face(id, None, code)  # which skips it before it reads the image
        try:
            left, top, width, height = (int(float(number)) for number in box)
            landmarks = _landmarks(points)
            valence, arousal = _affect(valence), _affect(arousal)
        except (ValueError, OverflowError):
            return self.skip("row has values that are not numbers", id)
        path = epath.Path(folder) / "Manually_Annotated_Images" / path
        try:
            with path.open("rb") as file, Image.open(file) as photo:
                left, right = np.clip([left, left + width], 0, photo.width).tolist()
                top, bottom = np.clip([top, top + height], 0, photo.height).tolist()
                if left >= right or top >= bottom:
                    return self.skip("face box is empty or outside the image", id)
                image = np.asarray(
                    photo.convert("RGB").crop((left, top, right, bottom))
                )
        except UNREADABLE:
            return self.face(id, path, code)  # which skips it with the reason
        landmarks = (landmarks - (left, top)) / (right - left, bottom - top)
        return self.face(
            id,
            image,
            code,
            landmarks=landmarks.astype("float32"),
            valence=valence,
            arousal=arousal,
        )

    def _small_face(self, folder, id):
        """A face of the small release, unchanged."""
        folder = epath.Path(folder)
        name = _stem(id)
        values = {}
        for kind in ("exp", "val", "aro", "lnd"):
            path = folder / "annotations" / f"{name}_{kind}.npy"
            try:
                with path.open("rb") as file:
                    value = np.load(file, allow_pickle=False)
                # Some copies have numbers, others strings.
                values[kind] = value.astype("float64").reshape(_SHAPES[kind])
            except FileNotFoundError:
                self.skip(f"annotation {kind} is missing", path.name)
            except (OSError, EOFError, TypeError, ValueError):
                self.skip(f"annotation {kind} is damaged and ignored", path.name)
        if "exp" not in values:
            return self.skip("no label", id)
        code = values["exp"].item()
        none = np.full(_SHAPES["lnd"], np.nan)
        landmarks = values.get("lnd", none)
        path = folder / "images" / f"{name}.jpg"
        try:
            with path.open("rb") as file, Image.open(file) as image:
                landmarks = landmarks / image.size
        except UNREADABLE:
            pass  # `face` skips it with the reason
        return self.face(
            id,
            path,
            int(code) if code.is_integer() else code,
            landmarks=landmarks.astype("float32"),
            valence=_affect(values.get("val", np.nan)),
            arousal=_affect(values.get("aro", np.nan)),
        )

    def _generate_splits(self, dl_manager, download_config):
        """Runs the pipeline, then adds up what its workers skipped."""
        splits = super()._generate_splits(dl_manager, download_config)
        skipped = self.info.metadata["skipped"]
        for split in _LISTS:
            report = self.data_path / _report_name(split)
            for line in report.read_text().splitlines():
                reason, count, first = json.loads(line)
                total = skipped.setdefault(reason, {"count": 0, "first": []})
                total["count"] += count
                total["first"] = [*total["first"], *first][:NAMES]
            report.unlink()
        return splits


def _attempt(builder, make, folder, element):
    """Yields an element's example, if any, and what was skipped, as Beam outputs.

    Every worker has its own copy of the builder, so counts must travel as outputs.
    """
    beam = tfds.core.lazy_imports.apache_beam
    skipped = builder.info.metadata["skipped"]
    skipped.clear()
    face = make(folder, element)
    if face is not None:
        yield face
    for reason, what in skipped.items():
        for _ in range(what["count"]):
            yield beam.pvalue.TaggedOutput("skipped", (reason, what["first"][0]))


def _report(path):
    """A Beam transform that writes lines of `[reason, count, first names]`."""
    beam = tfds.core.lazy_imports.apache_beam

    @beam.ptransform_fn
    def report(skipped):
        return (
            {
                "count": skipped | beam.combiners.Count.PerKey(),
                # Independent of the order of the workers.
                "first": skipped | beam.combiners.Top.SmallestPerKey(NAMES),
            }
            | beam.CoGroupByKey()
            | beam.MapTuple(
                lambda reason, what: json.dumps(
                    [reason, what["count"][0], list(what["first"][0])]
                )
            )
            | beam.io.WriteToText(str(path), shard_name_template="")
        )

    return report()


def _report_name(split):
    return f"skipped-{split}.jsonl"


def _check_header(path):
    """Checks that a list of the full release exists and has the known columns."""
    if not path.is_file():
        raise FileNotFoundError(
            f"affectnet has no file {path}, the list of the release of 2017. For the "
            "release of 2021 build small_7 or small_8."
        )
    with path.open("rb") as file:
        header = _text(file.readline())
    if tuple(header.split(",")) != _COLUMNS:
        raise ValueError(
            f"{path} must begin with the line {','.join(_COLUMNS)}, got "
            f"{header[:80]!r}. If the line is missing, put it on top."
        )


def _text(line):
    return line.decode("utf-8", errors="replace").strip()


def _row(line):
    """The fields of a line of the full release's lists; `[]` for a blank line."""
    try:
        return next(csv.reader([_text(line)]), [])
    except csv.Error:
        return [_text(line)[:80]]


def _id(row):
    """The id of a row of the full release: its path without the suffix."""
    path = row[0] if row else ""
    return path.rpartition(".")[0] or path


def _stem(id):
    return id.rpartition("/")[2]


def _small_id(path):
    """The id of a file of the small release, such as `train_set/0`."""
    path = pathlib.PurePath(path)
    return f"{path.parents[1].name}/{path.stem.removesuffix('_exp')}"


def _landmarks(text):
    """Landmarks in pixels from `x;y;x;y...`; NaN if there are none."""
    if text in ("", "NULL"):
        return np.full((_LANDMARKS, 2), np.nan, "float32")
    return np.array(text.split(";"), "float32").reshape(_LANDMARKS, 2)


def _affect(value):
    """Valence or arousal; NaN if the annotator gave none."""
    value = float(value)
    return float("nan") if value == -2 else value
