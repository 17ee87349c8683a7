"""FER2013's csv: where it is, its rows, its pixels. One row at a time in memory."""

import numpy as np

SIDE = 48

# Column "Usage" -> name of the split.
SPLITS = {
    "Training": "train",
    "PublicTest": "public_test",
    "PrivateTest": "private_test",
}

# The challenge's archive, then the file that Kaggle offered beside it.
NAMES = ("fer2013.csv", "icml_face_data.csv")
COLUMNS = ("emotion", "Usage", "pixels")


def find(manual_dir, names, folders):
    """The first of some files, in the first of some folders, or `None`.

    Args:
        manual_dir: An `epath.Path`, looked into last: other datasets may share it.
        names: Names of files.
        folders: Names of folders under `manual_dir`.
    """
    for folder in (*(manual_dir / name for name in folders), manual_dir):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def rows(path, columns):
    """Yields the number and the fields, by column, of every row of a csv.

    Rows are lines: no field of these files holds a comma or a line break, and so a row
    that was cut off, even inside quotes, cannot swallow those after it. A row with a
    wrong number of fields has `None` for its fields but keeps its number. Blank lines
    are not rows.

    Args:
        path: An `epath.Path`.
        columns: Names that the header must have, in any order, with or without spaces
            around them.

    Raises:
        ValueError: The header lacks a column.
    """
    with path.open("rb") as file:
        header = _fields(file.readline())
        if missing := [name for name in columns if name not in header]:
            raise ValueError(
                f"{path} has no column {', '.join(missing)}. Received a first line of "
                f"{', '.join(header)[:200]!r}. Expected the columns "
                f"{', '.join(columns)}: check that it is the right file, unpacked."
            )
        number = 0
        for line in file:
            if not line.strip():
                continue
            fields = _fields(line)
            whole = len(fields) == len(header)
            yield number, dict(zip(header, fields, strict=True)) if whole else None
            number += 1


def _fields(line):
    text = line.decode("utf-8-sig", "replace")
    return [field.strip(' "\t\r\n') for field in text.split(",")]


def image(pixels):
    """A gray image, uint8 `(48, 48)`, from the numbers of a row's column "pixels".

    Raises:
        ValueError: Other than 2,304 whole numbers from 0 to 255.
    """
    try:
        values = np.array([int(value) for value in pixels.split()], "uint8")
    except OverflowError as error:
        raise ValueError("A pixel is outside 0 to 255.") from error
    # A wrong number of them raises too.
    return values.reshape(SIDE, SIDE)


def row_id(number):
    """The id of a row; `number` counts from 0, without the header."""
    return f"fer2013_{number:08}"
