"""Challenge subsets: the occluded and the turned faces of a test split.

Wang et al., "Region Attention Networks for Pose and Occlusion Robust Facial Expression
Recognition", IEEE Transactions on Image Processing, 2020, published lists of images
of RAF-DB, FERPlus and AffectNet at
https://github.com/kaiwang960112/Challenge-condition-FER-dataset. Users download them
and put them beside the dataset; a builder makes one more split of each.
"""

import pathlib

from etils import epath

# Splits, and with `.txt` the names of the lists in a builder's `subsets` folder.
SUBSETS = ("occlusion", "pose_30", "pose_45")

_MOST_FIELDS = 3
_SUFFIXES = (".jpg", ".jpeg", ".png")


def read_list(path, known):
    """Reads which images a list names.

    The published lists spell one image in many ways: `test_0001_aligned 3 4`,
    `3/test_0001_aligned.jpg`, `1_fer0032220.png 8 0`, `0/fer0032220.jpg`, `val/0/NAME/`
    or `0/NAME/8.jpg`. A line is understood if it has one to three fields, the first a
    path and the others whole numbers, and if just one known image is named by a part
    of the path, whatever its suffix, `_aligned` behind it or `LABEL_` before it. The
    labels in the lists are not used: the dataset's own hold.

    Args:
        path: A text file.
        known: Names of the images, without folders and suffixes, and their ids:
            `{"fer0032220": id, ...}`.

    Returns:
        The ids in the order of the list, each once, and the problems, a list of
        `(reason, line)`. Blank lines are no problem.

    Raises:
        FileNotFoundError: There is no such file.
    """
    ids, problems = {}, []
    text = epath.Path(path).read_bytes().decode("utf-8", errors="replace")
    for line in text.splitlines():
        fields = line.split()
        if not fields:
            continue
        if len(fields) > _MOST_FIELDS or not all(
            field.isdecimal() for field in fields[1:]
        ):
            problems.append(("line of the wrong fields", line))
            continue
        named = {known[name] for name in _names(fields[0]) if name in known}
        if not named:
            problems.append(("line that names no known image", line))
        elif len(named) > 1:
            problems.append(("line that names several images", line))
        elif named <= ids.keys():
            problems.append(("double line", line))
        else:
            ids[named.pop()] = None
    return list(ids), problems


def read_subsets(folder, known, skip):
    """Reads all lists in a folder.

    Args:
        folder: Where `occlusion.txt`, `pose_30.txt` and `pose_45.txt` may be.
        known: See `read_list`.
        skip: Function of a reason and a name, such as `FaceBuilder.skip`; called for
            every problem.

    Returns:
        The ids of every subset that has any: `{"pose_30": {id, ...}, ...}`.
    """
    found = {}
    for subset in SUBSETS:
        path = epath.Path(folder) / f"{subset}.txt"
        if not path.exists():
            continue
        ids, problems = read_list(path, known)
        for reason, line in problems:
            skip(f"{subset} list: {reason}", line.strip())
        if ids:
            found[subset] = set(ids)
        else:
            skip("list that names no image at all, so no split", subset)
    return found


def _names(path):
    """What an image in a path may be called."""
    for part in path.replace("\\", "/").split("/"):
        name = pathlib.PurePosixPath(part)
        name = name.stem if name.suffix.lower() in _SUFFIXES else part
        name = name.removesuffix("_aligned")
        yield name
        label, _, rest = name.partition("_")
        if label.isdecimal():
            yield rest
