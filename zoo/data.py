"""Images and their targets, from arrays or from prepared TFDS datasets.

Arrays, for FER2013 and FER+: a folder with `train.npz` and `public_test.npz`. Each
holds `images`, uint8 (N, 48, 48); `label`, uint8 (N,), in FER2013's own codes; and
`ferplus`, int (N, 10), the votes of fer2013new.csv in its column order. PAL also needs
`train_landmarks.npz` and so on: `landmarks`, (N, 68, 2), fractions of the crop in
iBUG's order, and `valid`, (N,).

TFDS, for all ten datasets: prepared with `--file_format=array_record`, which has random
access and needs no TensorFlow to read.
"""

import dataclasses
import os
import pathlib
import zipfile
import zlib

import numpy as np
from numpy.lib.npyio import NpzFile

from keras_fer import votes as ferplus_votes
from keras_fer.audit import duplicate_groups
from keras_fer.labels import LABELS, from_dataset

# A split of at most this many bytes is read into memory.
MEMORY = 4 * 2**30

DUPLICATES = ("near", "exact")


class UnknownDataset(ValueError):
    """A folder of arrays cannot hold this dataset."""


@dataclasses.dataclass(frozen=True)
class Faces:
    """Images and their targets.

    Attributes:
        images: uint8 `(N, H, W, 1 or 3)`, an array, `LazyImages` or
            `zoo.mixture.MixedImages`.
        targets: float32 `(N, len(labels))`, rows summing to 1.
        scored: bool `(N,)`: whether the image counts when accuracy is measured.
        rows: int `(N,)`: index of each image in its file or dataset.
        labels: Names of the classes.
        landmarks: float `(N, points, 2)`, fractions of width and height, NaN for an
            image without landmarks; or `None`.
        groups: bytes `(N,)`, the video each image is from; or `None`.
        subjects: bytes `(N,)`, the person each image shows; or `None`.
        parts: int `(N,)`, which dataset of a mixture each image is from; or `None`.
    """

    images: "np.ndarray | LazyImages"  # or `MixedImages`, which stands on this module
    targets: np.ndarray
    scored: np.ndarray
    rows: np.ndarray
    labels: tuple
    landmarks: np.ndarray | None = None
    groups: np.ndarray | None = None
    subjects: np.ndarray | None = None
    parts: np.ndarray | None = None

    def __getitem__(self, index):
        """A subset, by anything that indexes an array."""
        read = isinstance(self.images, np.ndarray)
        return Faces(
            self.images[index] if read else self.images.select(index),
            self.targets[index],
            self.scored[index],
            self.rows[index],
            self.labels,
            *(
                None if values is None else values[index]
                for values in (self.landmarks, self.groups, self.subjects, self.parts)
            ),
        )

    def __len__(self):
        """Number of images."""
        return len(self.images)

    @property
    def classes(self):
        """The most likely class of every row, `(N,)`."""
        return self.targets.argmax(axis=1)


class LazyImages:
    """Images of TFDS data sources, read on access.

    Args:
        sources: Random-access sequences of examples with an `"image"`.
        size: Side in pixels to resize to; `None` if all images have the same size.
        rows: Indices into the concatenated sources; `None` for all.
        boxes: `(N, 4)`, top, left, bottom and right of each face as fractions; the
            images are cropped to them.
    """

    def __init__(self, sources, size, rows=None, boxes=None):
        self.sources = sources
        self.size = size
        self._ends = np.cumsum([len(source) for source in sources])
        self.rows = np.arange(self._ends[-1]) if rows is None else rows
        self.boxes = boxes

    def __len__(self):
        """Number of images."""
        return len(self.rows)

    @property
    def shape(self):
        """Shape of the array `self[:]`."""
        return (len(self), *self[:1].shape[1:])

    def __iter__(self):
        """Reads one image at a time."""
        return (self[row : row + 1][0] for row in range(len(self)))

    def select(self, index):
        """A subset, without reading it."""
        boxes = None if self.boxes is None else self.boxes[index]
        return LazyImages(self.sources, self.size, self.rows[index], boxes)

    def __getitem__(self, index):
        """Reads images: uint8 `(n, H, W, C)`."""
        boxes = np.full(len(self), None) if self.boxes is None else self.boxes
        rows = zip(self.rows[index], boxes[index], strict=True)
        return np.stack([self._read(row, box) for row, box in rows])

    def _read(self, row, box):
        number = int(np.searchsorted(self._ends, row, side="right"))
        source = self.sources[number]
        image = source[int(row) - int(self._ends[number]) + len(source)]["image"]
        if self.size is None or (box is None and image.shape[:2] == (self.size,) * 2):
            return image
        from PIL import Image

        side = (self.size, self.size)
        if box is not None:
            box = np.multiply(box, image.shape[:2] * 2)[[1, 0, 3, 2]]
        whole = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
        resized = whole.resize(side, Image.BILINEAR, box)
        return np.asarray(resized).reshape(*side, image.shape[-1])


def open_split(dataset, source, split, size=None, landmarks=False):
    """Opens a split of a dataset.

    Args:
        dataset: `"fer2013"` or `"ferplus"`; with TFDS any of `tfds_builders`, with or
            without a config: `"raf_db"`, `"affectnet/full_8"`.
        source: A folder of arrays, or `"npz:FOLDER"`; `"npz"` for the folder in the
            environment variable `KERAS_FER_DATA`. `"tfds"` for TFDS's default folder,
            `"tfds:FOLDER"` for another.
        split: Name of a split such as `"train"`; with TFDS also a sum,
            `"fold_0+fold_1"`.
        size: Side in pixels to which images are resized if their sizes differ.
        landmarks: Whether to read the landmarks.

    Returns:
        `Faces`.

    Raises:
        FileNotFoundError: The data do not exist.
        ValueError: The data are malformed or have no landmarks, or the dataset is
            unknown.
    """
    kind, _, folder = str(source).partition(":")
    if kind == "tfds":
        return _from_tfds(dataset, folder or None, split, size, landmarks)
    if kind != "npz" or pathlib.Path(source).is_dir():
        folder = source
    folder = folder or os.environ.get("KERAS_FER_DATA")
    if not folder:
        raise ValueError(
            f"{str(source)!r} needs the environment variable KERAS_FER_DATA, which is "
            "not set. Set it to a folder of arrays, or pass npz:FOLDER."
        )
    if dataset not in DATASETS:
        raise UnknownDataset(
            f"dataset must be one of {', '.join(DATASETS)} for a folder of arrays, "
            f"got {dataset!r}. Read other datasets with --data tfds."
        )
    faces = DATASETS[dataset](folder, split)
    if landmarks:
        faces = dataclasses.replace(faces, landmarks=_landmarks(folder, split, faces))
    return faces


def _open(folder, split, kind):
    """Images of a split and their `"label"` or `"ferplus"` rows."""
    path = pathlib.Path(folder) / f"{split}.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} has no {path.name}. The docstring of zoo.data describes "
            "the folder."
        )
    images, targets = _read(path, "images", kind)
    if images.dtype != "uint8" or images.shape[1:] != (48, 48):
        raise ValueError(
            f"images in {str(path)!r} must be uint8 of shape (N, 48, 48), got "
            f"{images.dtype} of shape {images.shape}."
        )
    shape = {"label": (len(images),), "ferplus": (len(images), len(LABELS) + 2)}[kind]
    if targets.shape != shape or targets.dtype.kind not in "iu":
        raise ValueError(
            f"{kind} in {str(path)!r} must be integers of shape {shape}, one row per "
            f"image, got {targets.dtype} of shape {targets.shape}."
        )
    return images, targets


def _read(path, *names):
    """Reads arrays of a file by name."""
    try:
        with NpzFile(path) as arrays:
            return [arrays[name] for name in names]
    except (zipfile.BadZipFile, EOFError, KeyError, OSError, ValueError) as error:
        raise ValueError(
            f"{' and '.join(names)} cannot be read from {str(path)!r}: {error}. The "
            "file is damaged or of another kind; see the docstring of zoo.data."
        ) from error


def _landmarks(folder, split, faces):
    path = pathlib.Path(folder) / f"{split}_landmarks.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} has no {path.name}, which holds the landmarks. The "
            "docstring of zoo.data describes it."
        )
    landmarks, valid = _read(path, "landmarks", "valid")
    number = len(_read(path.with_name(f"{split}.npz"), "label")[0])
    if landmarks.shape != (number, 68, 2) or valid.shape != (number,):
        raise ValueError(
            f"landmarks and valid in {str(path)!r} must have the shapes ({number}, 68, "
            f"2) and ({number},), one row per image, got {landmarks.shape} and "
            f"{valid.shape}."
        )
    landmarks = np.where(valid.astype(bool)[:, None, None], landmarks, np.nan)
    landmarks = landmarks.astype("float32")
    return landmarks[faces.rows]


def fer2013(folder, split):
    """Every image of a split with FER2013's original label, 7 classes."""
    images, codes = _open(folder, split, "label")
    if not np.isin(codes, range(7)).all():
        raise ValueError(
            f"label in {split}.npz of {str(folder)!r} must be FER2013's codes from 0 "
            f"to 6, got {codes.min()} to {codes.max()}."
        )
    labels = LABELS[:7]
    classes = np.array([labels.index(from_dataset("fer2013", i)) for i in range(7)])
    targets = np.eye(7, dtype="float32")[classes[codes]]
    everything = np.arange(len(targets))
    return Faces(
        images[..., None],
        targets,
        np.ones(len(targets), bool),
        everything,
        labels,
    )


def ferplus(folder, split):
    """FER+ votes as soft labels over 8 expressions.

    Images whose most frequent vote is "unknown" or "not a face" are left out (the rule
    `"votes"` of `keras_fer.votes`). `scored` are those that also have a majority: the
    published protocol, n = 3,199 on the public test split.
    """
    images, votes = _open(folder, split, "ferplus")
    rows, targets, scored = _from_votes(votes)
    return Faces(images[rows][..., None], targets, scored, rows, LABELS)


def _from_votes(votes):
    """Rows with an expression, their soft labels, and which have a majority."""
    rows = np.flatnonzero(ferplus_votes.winners(votes, "votes") >= 0)
    votes = votes[rows]
    scored = ferplus_votes.winners(votes, "majority") >= 0
    return rows, ferplus_votes.soft_labels(votes), scored


DATASETS = {"fer2013": fer2013, "ferplus": ferplus}


def subjects_of(dataset, source, split):
    """The people in a split, without reading an image.

    Args:
        dataset: Name of a dataset; see `open_split`.
        source: `"tfds"` or `"tfds:FOLDER"`.
        split: Name of a split, or a sum.

    Returns:
        A set of bytes.

    Raises:
        FileNotFoundError: The dataset is not prepared.
        ValueError: The dataset does not name its subjects, or has no such split.
    """
    kind, _, folder = str(source).partition(":")
    if kind != "tfds":
        raise ValueError(
            f"{dataset} in {str(source)!r} does not name its subjects: arrays have "
            "none. Read a dataset with folds with --data tfds."
        )
    builder, sources = _tfds_sources(dataset, folder or None, split)
    if "subject" not in builder.info.features:
        raise ValueError(
            f"{dataset} does not name its subjects, so its folds cannot be checked. "
            "Datasets that do are ck_plus, oulu_casia and jaffe."
        )
    return {example["subject"] for part in sources for example in part}


def names_of(subjects):
    """Subjects as text, at most five."""
    names = sorted(subject.decode() for subject in subjects)
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + rest


def _tfds_sources(dataset, folder, split):
    """The builder of a prepared dataset, and the parts of a split, not decoded."""
    import tensorflow_datasets as tfds

    import keras_fer.datasets  # noqa: F401

    # With the votes, so that the targets are soft, as those from arrays.
    name = "ferplus/votes" if dataset == "ferplus" else dataset
    builder = tfds.builder(name, data_dir=folder)
    command = f"tfds build {name} --file_format=array_record"
    if not builder.data_path.exists():
        raise FileNotFoundError(
            f"{name} is not prepared in {str(builder.data_path)!r}. Run `{command} "
            "--imports keras_fer.datasets`, or name its folder with --data "
            "tfds:FOLDER."
        )
    parts = split.split("+")
    unknown = [part for part in parts if part.split("[")[0] not in builder.info.splits]
    if unknown:
        raise ValueError(
            f"split must name splits of {name}, which are "
            f"{', '.join(builder.info.splits)}, got {split!r}."
        )
    undecoded = {"image": tfds.decode.SkipDecoding()}
    try:
        sources = [builder.as_data_source(part, decoders=undecoded) for part in parts]
    except NotImplementedError as error:
        raise ValueError(
            f"{name} was prepared as {builder.info.file_format}, which has no random "
            f"access. Prepare it again with `{command}`."
        ) from error
    return builder, sources


def _from_tfds(dataset, folder, split, size, landmarks):
    builder, known = _tfds_sources(dataset, folder, split)
    features = builder.info.features
    if landmarks and "landmarks" not in features:
        raise ValueError(
            f"{dataset} has no landmarks, which this recipe needs. Use another dataset."
        )
    sources = [builder.as_data_source(part) for part in split.split("+")]
    wanted = ("label", "votes", "landmarks", "bbox", "video", "subject")
    wanted = [name for name in wanted if name in features]
    # Without the images: even undecoded, all of them may not fit into memory.
    examples = [
        {name: example[name] for name in wanted}
        for source in known
        for example in source
    ]
    if "votes" in features:
        votes = np.stack([each["votes"] for each in examples])
        rows, targets, scored = _from_votes(votes)
    else:
        labels = np.array([example["label"] for example in examples])
        targets = np.eye(features["label"].num_classes, dtype="float32")[labels]
        rows, scored = np.arange(len(labels)), np.ones(len(labels), bool)
    points = None
    if landmarks:
        points = np.stack([examples[row]["landmarks"] for row in rows])
    boxes = None
    if "bbox" in features:
        boxes = np.stack([examples[row]["bbox"] for row in rows])
        if points is not None:
            low, high = boxes[:, None, 1::-1], boxes[:, None, :1:-1]
            points = (points - low) / (high - low)
    groups, subjects = (
        np.array([examples[row][name] for row in rows]) if name in features else None
        for name in ("video", "subject")
    )
    one_size = None not in features["image"].shape
    images = LazyImages(sources, None if one_size else size, rows, boxes)
    if len(images) and np.prod([float(side) for side in images.shape]) < MEMORY:
        images = images[:]
    labels = tuple(features["label"].names)
    return Faces(images, targets, scored, rows, labels, points, groups, subjects)


def hold_out(faces, one_in=12, duplicates="near"):
    """Divides training data into a training and a held-out part.

    The pixels decide, not a seed: an image and its duplicates always fall into the same
    part, whatever their order or format. The same image of another dataset does too,
    unless a near-duplicate of it is missing there. Frames of a video are
    near-duplicates, so there the name of the video decides.

    Args:
        faces: `Faces`.
        one_in: One in this many groups of duplicates is held out.
        duplicates: Which duplicates form a group: `"near"`, those that
            `keras_fer.audit` finds, or `"exact"`, identical pixels. The first presets
            were trained with `"exact"`.

    Returns:
        Two `Faces`: the training part and the held-out part.

    Raises:
        ValueError: `duplicates` is unknown.
    """
    if duplicates not in DUPLICATES:
        raise ValueError(
            f"duplicates must be one of {', '.join(DUPLICATES)}, got {duplicates!r}."
        )
    if faces.groups is not None:
        keys = np.array([zlib.crc32(bytes(group)) for group in faces.groups], "int64")
    else:
        # One image at a time: all of them may not fit into memory.
        keys = (zlib.crc32(image.tobytes()) for image in faces.images)
        keys = np.fromiter(keys, "int64", len(faces))
        if duplicates == "near":
            # The least checksum of a group stands for it: order does not matter.
            group = duplicate_groups(faces.images)
            np.minimum.at(keys, group, keys)
            keys = keys[group]
    held = keys % one_in == 0
    return faces[~held], faces[held]


def occurs_in(images, others):
    """Which images occur, pixel for pixel, among others: bool `(N,)`."""
    known = {image.tobytes() for image in others}
    return np.array([image.tobytes() in known for image in images])
