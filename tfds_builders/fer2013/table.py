"""FER2013's CSV file: finding it, its rows and pixels, one row in memory at a time."""

import numpy as np

SIDE = 48

# Column "Usage" -> split.
SPLITS = {
    "Training": "train",
    "PublicTest": "public_test",
    "PrivateTest": "private_test",
}

# From the challenge's archive, and the file that Kaggle offered beside it.
NAMES = ("fer2013.csv", "icml_face_data.csv")
COLUMNS = ("emotion", "Usage", "pixels")


def find(manual_dir, names, folders):
    """The first existing file, folder by folder, or `None`.

    Args:
        manual_dir: An `epath.Path`; comes last, since other datasets may share it.
        names: Names of files.
        folders: Names of folders under `manual_dir`.
    """
    for folder in (*(manual_dir / name for name in folders), manual_dir):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def rows(path, columns):
    """Yields the number and the fields, by column, of every row of a CSV file.

    Every line that is not blank is a row: no field of these files holds a comma or a
    line break, and a row that was truncated inside quotes must not swallow the next. A
    row with a wrong number of fields keeps its number and has `None` for its fields.

    Args:
        path: An `epath.Path`.
        columns: Names that the header must have, in any order; spaces around them are
            ignored.

    Raises:
        ValueError: The header lacks a column.
    """
    with path.open("rb") as file:
        header = _fields(file.readline())
        if missing := [name for name in columns if name not in header]:
            raise ValueError(
                f"{path} has no column {', '.join(missing)}. Its first line must name "
                f"{', '.join(columns)}, got {', '.join(header)[:200]!r}. Check that it "
                "is the right file, unpacked."
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
    """The image, uint8 `(48, 48)`, in a row's column "pixels".

    Raises:
        ValueError: The column is not 2,304 integers from 0 to 255.
    """
    try:
        values = np.array([int(value) for value in pixels.split()], "uint8")
    except OverflowError as error:
        raise ValueError("pixels must be from 0 to 255.") from error
    # Raises for a wrong number of values.
    return values.reshape(SIDE, SIDE)


def row_id(number):
    """The id of a row; numbers start at 0 after the header."""
    return f"fer2013_{number:08}"
