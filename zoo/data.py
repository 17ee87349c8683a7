"""Images and their targets, from arrays or from a dataset that TFDS has built.

Arrays, for FER2013 and FER+: a folder with `train.npz` and `public_test.npz`, each with
`images` uint8 (N, 48, 48), `label` uint8 (N,) in FER2013's own codes and `ferplus` int
(N, 10), the votes of fer2013new.csv in its column order. For PAL also
`train_landmarks.npz` and so on: `landmarks` (N, 68, 2), fractions of the crop in iBUG
order, and `valid` (N,).

TFDS, for all ten datasets: built with `--file_format=array_record`, which can be read
in any order and without TensorFlow.
"""

import dataclasses
import os
import pathlib
import zipfile
import zlib

import numpy as np

from keras_fer.audit import duplicate_groups
from keras_fer.labels import LABELS, from_dataset

# Images up to this many bytes in all are kept in memory.
MEMORY = 4 * 2**30


@dataclasses.dataclass(frozen=True)
class Faces:
    """Images and their targets.

    Attributes:
        images: uint8 `(N, H, W, 1 or 3)`, an array or `LazyImages`.
        targets: float32 `(N, len(labels))`, rows summing to 1.
        scored: bool `(N,)`: rows that count when accuracy is measured.
        rows: int `(N,)`: their places in the file they came from.
        labels: Names of the classes.
        landmarks: float `(N, points, 2)`, fractions of width and height, NaN where
            there are none; or `None`.
        groups: bytes `(N,)`, the videos that the images are from; or `None`.
    """

    images: "np.ndarray | LazyImages"
    targets: np.ndarray
    scored: np.ndarray
    rows: np.ndarray
    labels: tuple
    landmarks: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __getitem__(self, index):
        """The same for a selection of rows."""
        lazy = isinstance(self.images, LazyImages)
        return Faces(
            self.images.select(index) if lazy else self.images[index],
            self.targets[index],
            self.scored[index],
            self.rows[index],
            self.labels,
            None if self.landmarks is None else self.landmarks[index],
            None if self.groups is None else self.groups[index],
        )

    def __len__(self):
        """Number of images."""
        return len(self.images)

    @property
    def classes(self):
        """The most likely class of every row, `(N,)`."""
        return self.targets.argmax(axis=1)


class LazyImages:
    """Images of TFDS data sources, read when they are asked for.

    Args:
        sources: Random-access sequences of examples with an `"image"`.
        size: Side in pixels that they are resized to, or `None` where all have one.
        rows: Places in the joined sources; `None` for all.
        boxes: Of the faces, `(N, 4)`, top, left, bottom and right as fractions; the
            images are cut to them.
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
        """As of the array that `self[:]` is."""
        return (len(self), *self[:1].shape[1:])

    def __iter__(self):
        """Reads one image after another."""
        return (self[row : row + 1][0] for row in range(len(self)))

    def select(self, index):
        """The same for a selection of rows, still unread."""
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
        dataset: `"fer2013"` or `"ferplus"`; with TFDS any of `tfds_builders`, also with
            a config, as in `"raf_db"` or `"affectnet/8"`.
        source: A folder of arrays, or `"npz:FOLDER"`; `"npz"` for the folder in the
            environment variable `KERAS_FER_DATA`. `"tfds"` for TFDS's own folder,
            `"tfds:FOLDER"` for another.
        split: Such as `"train"`; with TFDS also several, `"fold_0+fold_1"`.
        size: Side that images of different sizes are resized to.
        landmarks: Whether they are needed.

    Returns:
        `Faces`.

    Raises:
        FileNotFoundError: The data are not there.
        ValueError: They are not as expected, or the dataset is unknown.
    """
    kind, _, folder = str(source).partition(":")
    if kind == "tfds":
        return _from_tfds(dataset, folder or None, split, size, landmarks)
    if kind != "npz" or pathlib.Path(source).is_dir():
        folder = source
    folder = folder or os.environ.get("KERAS_FER_DATA")
    if not folder:
        raise ValueError(
            f"No folder. Received: data={str(source)!r} and no KERAS_FER_DATA in the "
            "environment. Expected npz:FOLDER, or that variable."
        )
    if dataset not in DATASETS:
        raise ValueError(
            f"Unknown arrays. Received: dataset={dataset!r} from {str(folder)!r}. "
            f"Expected one of {', '.join(DATASETS)}; the others are read with "
            "--data tfds."
        )
    faces = DATASETS[dataset](folder, split)
    if landmarks:
        faces = dataclasses.replace(faces, landmarks=_landmarks(folder, split, faces))
    return faces


def _open(folder, split, kind):
    """Images of a split, and the array of that kind, one row for each."""
    path = pathlib.Path(folder) / f"{split}.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"No {split} data. Received: folder={str(folder)!r}. Expected it to hold "
            f"{path.name}; see the docstring of zoo.data."
        )
    images, targets = _read(path, "images", kind)
    if images.dtype != "uint8" or images.shape[1:] != (48, 48):
        raise ValueError(
            f"Images of another kind. Received: {str(path)!r} with images of shape "
            f"{images.shape} and type {images.dtype}. Expected (N, 48, 48), uint8."
        )
    shape = {"label": (len(images),), "ferplus": (len(images), len(LABELS) + 2)}[kind]
    if targets.shape != shape or targets.dtype.kind not in "iu":
        raise ValueError(
            f"Not one {kind} for each image. Received: {str(path)!r} with "
            f"{len(images)} images and {kind} of shape {targets.shape} and type "
            f"{targets.dtype}. Expected {shape}, integers."
        )
    return images, targets


def _read(path, *names):
    """Arrays of a file, by name."""
    try:
        with np.load(path) as arrays:
            return [arrays[name] for name in names]
    except (zipfile.BadZipFile, EOFError, KeyError, OSError, ValueError) as error:
        raise ValueError(
            f"Damaged data, or others. Received: {str(path)!r}: {error}. Expected a "
            f"file with {' and '.join(names)}; see the docstring of zoo.data."
        ) from error


def _landmarks(folder, split, faces):
    path = pathlib.Path(folder) / f"{split}_landmarks.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"No landmarks. Expected {str(path)!r}; see the docstring of zoo.data."
        )
    landmarks, valid = _read(path, "landmarks", "valid")
    number = len(_read(path.with_name(f"{split}.npz"), "label")[0])
    if landmarks.shape != (number, 68, 2) or valid.shape != (number,):
        raise ValueError(
            f"Not the landmarks of these images. Received: {str(path)!r} with "
            f"landmarks of shape {landmarks.shape} and valid of {valid.shape}. "
            f"Expected ({number}, 68, 2) and ({number},)."
        )
    landmarks = np.where(valid.astype(bool)[:, None, None], landmarks, np.nan)
    landmarks = landmarks.astype("float32")
    return landmarks[faces.rows]


def fer2013(folder, split):
    """FER2013's own labels, 7 classes, every image."""
    images, codes = _open(folder, split, "label")
    if not np.isin(codes, range(7)).all():
        raise ValueError(
            f"Codes that FER2013 does not have. Received: {split}.npz in "
            f"{str(folder)!r} with label from {codes.min()} to {codes.max()}. Expected "
            "0 to 6."
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

    Single votes are dropped as noise (Barsoum et al., "Training Deep Networks for
    Facial Expression Recognition with Crowd-Sourced Label Distribution", 2016). What
    is left makes the target; images whose most frequent vote is "unknown" or "not a
    face" are left out. `scored` rows have a winner with over half of all votes left:
    the majority protocol, n = 3,199 on the public test split.
    """
    images, votes = _open(folder, split, "ferplus")
    rows, targets, scored = _votes(votes)
    return Faces(images[rows][..., None], targets, scored, rows, LABELS)


def _votes(votes):
    """Rows that have an expression, their soft labels, and whether they are certain."""
    votes = np.where(votes > 1, votes, 0)
    expressions = votes[:, : len(LABELS)]
    rows = np.flatnonzero(
        (votes.argmax(axis=1) < len(LABELS)) & (expressions.sum(axis=1) > 0)
    )
    votes, expressions = votes[rows], expressions[rows]
    targets = expressions / expressions.sum(axis=1, keepdims=True)
    scored = expressions.max(axis=1) * 2 > votes.sum(axis=1)
    return rows, targets.astype("float32"), scored


DATASETS = {"fer2013": fer2013, "ferplus": ferplus}


def _from_tfds(dataset, folder, split, size, landmarks):
    import tensorflow_datasets as tfds

    import keras_fer.datasets  # noqa: F401

    # The votes are soft labels; the rule for which faces count is that of the arrays.
    name = "ferplus/votes" if dataset == "ferplus" else dataset
    builder = tfds.builder(name, data_dir=folder)
    command = f"tfds build {name} --file_format=array_record"
    if not builder.data_path.exists():
        raise FileNotFoundError(
            f"{name} is not built. Expected it in {str(builder.data_path)!r}. Run "
            f"`{command}` with `--imports keras_fer.datasets`, or name its folder with "
            "--data tfds:FOLDER."
        )
    parts = split.split("+")
    unknown = [part for part in parts if part.split("[")[0] not in builder.info.splits]
    if unknown:
        raise ValueError(
            f"Unknown split. Received: {split!r} of {name}. Expected of "
            f"{', '.join(builder.info.splits)}."
        )
    features = builder.info.features
    if landmarks and "landmarks" not in features:
        raise ValueError(
            f"{name} has no landmarks, which this recipe needs. Choose another dataset."
        )
    undecoded = {"image": tfds.decode.SkipDecoding()}
    try:
        sources = [builder.as_data_source(part) for part in parts]
        known = [builder.as_data_source(part, decoders=undecoded) for part in parts]
    except NotImplementedError as error:
        raise ValueError(
            f"{name} was built in a format that cannot be read in any order. Received: "
            f"{builder.info.file_format}. Build it again: `{command}`."
        ) from error
    wanted = ("label", "votes", "landmarks", "bbox", "video")
    wanted = [name for name in wanted if name in features]
    # Without the images: all of them, even undecoded, may not fit into the memory.
    examples = [
        {name: example[name] for name in wanted}
        for source in known
        for example in source
    ]
    if "votes" in features:
        rows, targets, scored = _votes(np.stack([each["votes"] for each in examples]))
    else:
        labels = np.array([example["label"] for example in examples])
        targets = np.eye(features["label"].num_classes, dtype="float32")[labels]
        rows, scored = np.arange(len(labels)), np.ones(len(labels), bool)
    points = None
    if landmarks:
        points = np.stack([examples[row]["landmarks"] for row in rows])
    boxes = groups = None
    if "bbox" in features:
        boxes = np.stack([examples[row]["bbox"] for row in rows])
        if points is not None:
            low, high = boxes[:, None, 1::-1], boxes[:, None, :1:-1]
            points = (points - low) / (high - low)
    if "video" in features:
        groups = np.array([examples[row]["video"] for row in rows])
    one_size = None not in features["image"].shape
    images = LazyImages(sources, None if one_size else size, rows, boxes)
    if len(images) and np.prod([float(side) for side in images.shape]) < MEMORY:
        images = images[:]
    labels = tuple(features["label"].names)
    return Faces(images, targets, scored, rows, labels, points, groups)


DUPLICATES = ("near", "exact")


def hold_out(faces, one_in=12, duplicates="near"):
    """Divides training data into a training and a held-out part.

    The pixels decide, not chance: duplicates of an image always land in the same part,
    for every seed. So does the same image of another dataset, unless that one lacks a
    near-duplicate of it. Of videos, whose frames are nearly copies, the name decides.

    Args:
        faces: `Faces`.
        one_in: One group of duplicates in so many is held out.
        duplicates: `"near"` for those that `keras_fer.audit` finds, or `"exact"` for
            identical pixels alone, which the first presets were trained with.

    Returns:
        Two `Faces`: what to train on, and what is held out.
    """
    if faces.groups is not None:
        keys = np.array([zlib.crc32(bytes(group)) for group in faces.groups], "int64")
    else:
        # Image by image: not all of them fit into the memory.
        keys = (zlib.crc32(image.tobytes()) for image in faces.images)
        keys = np.fromiter(keys, "int64", len(faces))
        if duplicates == "near":
            group = duplicate_groups(faces.images)
            np.minimum.at(keys, group, keys)
            keys = keys[group]
    held = keys % one_in == 0
    return faces[~held], faces[held]


def occurs_in(images, others):
    """Which images occur, pixel for pixel, among others: bool `(N,)`."""
    known = {image.tobytes() for image in others}
    return np.array([image.tobytes() in known for image in images])
