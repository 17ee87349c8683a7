"""Challenge subsets: the occluded and the rotated faces of a test split.

Wang et al., "Region Attention Networks for Pose and Occlusion Robust Facial Expression
Recognition", IEEE Transactions on Image Processing, 2020, published lists of images
of RAF-DB, FERPlus and AffectNet at
https://github.com/kaiwang960112/Challenge-condition-FER-dataset. Users download the
lists into a folder beside the dataset; a builder adds one split per list.
"""

import pathlib

from etils import epath

# Names of the splits and, with `.txt`, of the lists in a dataset's `subsets` folder.
SUBSETS = ("occlusion", "pose_30", "pose_45")

_MOST_FIELDS = 3
_SUFFIXES = (".jpg", ".jpeg", ".png")


def read_list(path, known):
    """Reads the ids of the images in a list.

    The published lists spell images in many ways: `test_0001_aligned 3 4`,
    `3/test_0001_aligned.jpg`, `1_fer0032220.png 8 0`, `0/fer0032220.jpg`, `val/0/NAME/`
    or `0/NAME/8.jpg`. A line is valid if it has one to three fields, a path followed by
    integers, and if the parts of the path, without suffix, `_aligned` and a leading
    `LABEL_`, name exactly one known image. The labels in the lists are ignored in favor
    of the dataset's own.

    Args:
        path: A text file.
        known: Ids of the images by name, without folder and suffix:
            `{"fer0032220": id, ...}`.

    Returns:
        The unique ids in the order of the list, and the problems as a list of
        `(reason, line)`. Blank lines are ignored.

    Raises:
        FileNotFoundError: The file does not exist.
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
            problems.append(("line has wrong fields", line))
            continue
        named = {known[name] for name in _names(fields[0]) if name in known}
        if not named:
            problems.append(("line names no known image", line))
        elif len(named) > 1:
            problems.append(("line names several images", line))
        elif named <= ids.keys():
            problems.append(("line is a duplicate", line))
        else:
            ids[named.pop()] = None
    return list(ids), problems


def read_subsets(folder, known, skip):
    """Reads all lists in a folder.

    Args:
        folder: Folder of `occlusion.txt`, `pose_30.txt` and `pose_45.txt`; each of them
            is optional.
        known: See `read_list`.
        skip: Function of a reason and a name, such as `FaceBuilder.skip`; called for
            every problem.

    Returns:
        The ids of every subset that is not empty: `{"pose_30": {id, ...}, ...}`.
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
            skip("list names no known image, so it gives no split", subset)
    return found


def _names(path):
    """Candidate names of the image in a path."""
    for part in path.replace("\\", "/").split("/"):
        name = pathlib.PurePosixPath(part)
        name = name.stem if name.suffix.lower() in _SUFFIXES else part
        name = name.removesuffix("_aligned")
        yield name
        label, _, rest = name.partition("_")
        if label.isdecimal():
            yield rest
