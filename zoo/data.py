"""FER2013 and FER+ as arrays.

A folder with `train.npz` and `public_test.npz`, each with `images` uint8 (N, 48, 48),
`label` uint8 (N,) in FER2013's own codes and `ferplus` int (N, 10), the votes of
fer2013new.csv in its column order.
"""

import dataclasses
import pathlib
import zlib

import numpy as np

from keras_fer.labels import LABELS, from_dataset


@dataclasses.dataclass(frozen=True)
class Faces:
    """Pictures and their targets.

    Attributes:
        images: uint8 `(N, 48, 48, 1)`.
        targets: float32 `(N, len(labels))`, rows summing to 1.
        certain: bool `(N,)`: rows that count when accuracy is measured.
        rows: int `(N,)`: their places in the file they came from.
        labels: Names of the classes.
    """

    images: np.ndarray
    targets: np.ndarray
    certain: np.ndarray
    rows: np.ndarray
    labels: tuple

    def __getitem__(self, index):
        """The same for a selection of rows."""
        parts = (self.images, self.targets, self.certain, self.rows)
        return Faces(*(part[index] for part in parts), self.labels)

    def __len__(self):
        """Number of pictures."""
        return len(self.images)

    @property
    def classes(self):
        """The most likely class of every row, `(N,)`."""
        return self.targets.argmax(axis=1)


def _open(folder, split):
    path = pathlib.Path(folder) / f"{split}.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"No {split} data. Received: folder={str(folder)!r}. Expected it to hold "
            f"{path.name}; see the docstring of zoo.data."
        )
    return np.load(path)


def fer2013(folder, split):
    """FER2013's own labels, 7 classes, every picture."""
    arrays = _open(folder, split)
    labels = LABELS[:7]
    classes = np.array([labels.index(from_dataset("fer2013", i)) for i in range(7)])
    targets = np.eye(7, dtype="float32")[classes[arrays["label"]]]
    everything = np.arange(len(targets))
    return Faces(
        arrays["images"][..., None],
        targets,
        np.ones(len(targets), bool),
        everything,
        labels,
    )


def ferplus(folder, split):
    """FER+ votes as soft labels over 8 expressions.

    Single votes are dropped as noise (Barsoum et al., "Training Deep Networks for
    Facial Expression Recognition with Crowd-Sourced Label Distribution", 2016). What
    is left makes the target; pictures whose most frequent vote is "unknown" or "not a
    face" are left out. `certain` rows have a winner with over half of all votes left:
    the majority protocol, n = 3,199 on the public test split.
    """
    arrays = _open(folder, split)
    votes = np.where(arrays["ferplus"] > 1, arrays["ferplus"], 0)
    expressions = votes[:, : len(LABELS)]
    rows = np.flatnonzero(
        (votes.argmax(axis=1) < len(LABELS)) & (expressions.sum(axis=1) > 0)
    )
    votes, expressions = votes[rows], expressions[rows]
    return Faces(
        arrays["images"][rows][..., None],
        (expressions / expressions.sum(axis=1, keepdims=True)).astype("float32"),
        expressions.max(axis=1) * 2 > votes.sum(axis=1),
        rows,
        LABELS,
    )


DATASETS = {"fer2013": fer2013, "ferplus": ferplus}


def carve(faces, one_in=12):
    """Divides training data into a training and a validation part.

    The pixels decide, not chance: copies of a picture always land in the same part,
    and the same picture lands in the same part for every dataset and seed.
    """
    held = np.array(
        [zlib.crc32(image.tobytes()) % one_in == 0 for image in faces.images]
    )
    return faces[~held], faces[held]


def occurs_in(images, others):
    """Which pictures occur, pixel for pixel, among others: bool `(N,)`."""
    known = {image.tobytes() for image in others}
    return np.array([image.tobytes() in known for image in images])
