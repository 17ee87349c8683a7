"""Writes fer2013.csv from arrays, and the dummy data of `fer2013` and `ferplus`.

    python tests/tfds_builders/write_fer2013.py arrays FER2013_DIR fer2013.csv
    python tests/tfds_builders/write_fer2013.py dummy tfds_builders

FER2013_DIR holds train.npz and public_test.npz; see zoo/data.py.
"""

import pathlib
import sys

import numpy as np

USAGES = {
    "train": "Training",
    "public_test": "PublicTest",
    "private_test": "PrivateTest",
}
# Spelling of the header -> the fields of a row, in its order.
HEADERS = {
    "emotion,pixels,Usage": lambda label, pixels, usage: (label, pixels, usage),
    "emotion, Usage, pixels": lambda label, pixels, usage: (label, usage, pixels),
}
VOTES_HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,"
    "contempt,unknown,NF"
)


def write_faces(path, images, labels, usages, header="emotion,pixels,Usage"):
    """Writes a csv as the challenge published it.

    Args:
        path: Of the file.
        images: uint8 `(N, 48, 48)`.
        labels: FER2013's own codes, `(N,)`.
        usages: `"Training"`, `"PublicTest"` or `"PrivateTest"`, `(N,)`.
        header: A key of `HEADERS`.
    """
    order = HEADERS[header]
    with open(path, "w") as file:
        file.write(header + "\n")
        for image, label, usage in zip(images, labels, usages, strict=True):
            pixels = " ".join(map(str, image.ravel().tolist()))
            file.write(",".join(order(str(label), pixels, usage)) + "\n")


def write_votes(path, votes, usages):
    """Writes fer2013new.csv; its image names count the faces that have one."""
    with open(path, "w") as file:
        file.write(VOTES_HEADER + "\n")
        for number, (row, usage) in enumerate(zip(votes, usages, strict=True)):
            fields = (usage, f"fer{number:07}.png", *map(str, row))
            file.write(",".join(fields) + "\n")


def load(folder):
    """Images, labels, usages, votes of all rows of train.npz and public_test.npz."""
    parts = []
    for split in ("train", "public_test"):
        with np.load(pathlib.Path(folder) / f"{split}.npz") as data:
            usages = [USAGES[split]] * len(data["label"])
            parts.append((data["images"], data["label"], usages, data["ferplus"]))
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def draw(rows, seed=0):
    """Drawn shapes, uint8 `(rows, 48, 48)`: a disk, a bar and speckles, 0 to 9."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    images = []
    for _ in range(rows):
        across, down, radius, bar = rng.integers(12, 36, 4)
        image = 5 * ((x - across) ** 2 + (y - down) ** 2 < (radius / 2) ** 2)
        image[bar : bar + 3] += 3
        images.append(image + (rng.random((48, 48)) < 0.05))
    return np.array(images, "uint8")


# Emotion, Usage and votes of the dummy rows.
DUMMY = [
    (3, "Training", (0, 9, 1, 0, 0, 0, 0, 0, 0, 0)),  # by majority happiness
    (6, "Training", (4, 0, 0, 4, 0, 0, 0, 0, 2, 0)),  # a tie: in "votes" neutral
    (1, "Training", (0, 0, 0, 0, 0, 1, 0, 0, 0, 9)),  # only in "all": disgust
    (2, "Training", (0, 0, 0, 0, 0, 0, 0, 0, 0, 10)),  # in none
    (5, "PublicTest", (0, 0, 8, 0, 0, 0, 2, 0, 0, 0)),
    (0, "PrivateTest", (0, 0, 0, 0, 4, 0, 0, 6, 0, 0)),
]


def write_dummy(folder):
    """Writes the dummy data of both datasets."""
    labels, usages, votes = zip(*DUMMY, strict=True)
    images = draw(len(DUMMY))
    for name in ("fer2013", "ferplus"):
        target = pathlib.Path(folder) / name / "dummy_data"
        target.mkdir(parents=True, exist_ok=True)
        write_faces(target / "fer2013.csv", images, labels, usages)
    write_votes(target / "fer2013new.csv", votes, usages)


if __name__ == "__main__":
    if sys.argv[1] == "dummy":
        write_dummy(sys.argv[2])
    else:
        write_faces(sys.argv[3], *load(sys.argv[2])[:3])
