"""Which images train and which are held out, and what leaks between them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np

from keras_fer.audit import duplicate_groups
from keras_fer.labeled import LabeledImage

TRAIN, HELD_OUT = "train", "val"

# What names of splits begin with. Others, such as `test`, are left alone.
_TRAIN_NAMES = ("train",)
_HELD_OUT_NAMES = ("val", "dev")


def assign(items: Sequence[LabeledImage], source: object) -> list[LabeledImage]:
    """The images to train with, and those that the data themselves hold out.

    Args:
        items: From `read_source`.
        source: For messages.

    Returns:
        Those of `train`, `val` and `dev` splits, with `split` set to `TRAIN` and
        `HELD_OUT`; with `None` if `divide` is to choose. Others, such as those of
        `test`, are left out.

    Raises:
        ValueError: There are splits, and none is for training.
    """
    names = sorted({item.split or "" for item in items})
    if names == [""]:
        return list(items)
    roles = {
        **dict.fromkeys(_named(names, _TRAIN_NAMES), TRAIN),
        **dict.fromkeys(_named(names, _HELD_OUT_NAMES), HELD_OUT),
    }
    if TRAIN not in roles.values():
        raise ValueError(
            f"{str(source)!r} has the splits {', '.join(map(repr, names))}, and none "
            "of them begins with 'train'. Rename one, or pass its folder."
        )
    held_out = HELD_OUT in roles.values()
    return [
        dataclasses.replace(item, split=roles[item.split or ""] if held_out else None)
        for item in items
        if (item.split or "") in roles
    ]


def _named(names: Sequence[str], beginnings: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.lower().startswith(beginnings)]


def divide(
    items: Sequence[LabeledImage],
    images: Sequence[np.ndarray] | np.ndarray,
    share: float,
    by: str | None,
    seed: int,
) -> np.ndarray:
    """Chooses the images that are held out, and warns of leaks.

    Duplicates and near-duplicates, as `keras_fer.audit` finds them, stay on one side,
    and all images of a subject if `by` says so. Each class has the same share on both
    sides, as far as that allows. Where the items have a split, it is kept.

    Args:
        items: From `assign`.
        images: Theirs, uint8.
        share: Of the images to hold out.
        by: `"file"`, `"subject"`, or `None` for subjects where they are known.
        seed: Of the choice.

    Returns:
        bool `(N,)`, true for images that are held out.

    Raises:
        ValueError: No subject is known, or there is no way to divide the images.

    Warns:
        UserWarning: Duplicates or subjects are on both sides, or duplicates have
            different labels.
    """
    groups = duplicate_groups(images)
    _warn_of_conflicts(items, groups)
    if items[0].split is not None:
        held = np.array([item.split == HELD_OUT for item in items])
    else:
        held = _choose(items, _units(items, groups, by), share, seed)
    _check_classes(items, held)
    _warn_of_leaks(items, groups, held)
    return held


def _units(
    items: Sequence[LabeledImage], groups: np.ndarray, by: str | None
) -> np.ndarray:
    """Numbers of what is held out as a whole, `(N,)`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first: dict[str, int] = {}
    linked = [
        index if item.subject is None else first.setdefault(item.subject, index)
        for index, item in enumerate(items)
    ]
    if by == "subject" and not first:
        raise ValueError(
            "by='subject' needs to know the subjects: list the images in a CSV file "
            "with the columns path, label and subject."
        )
    if by == "file" or not first:
        return groups
    # A subject links its images, a duplicate those of two subjects.
    count = len(items)
    rows = np.tile(np.arange(count), 2)
    columns = np.concatenate([groups, linked])
    graph = coo_array((np.ones(2 * count), (rows, columns)), (count, count))
    units: np.ndarray = connected_components(graph, directed=False)[1]
    return units


def _choose(
    items: Sequence[LabeledImage], units: np.ndarray, share: float, seed: int
) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    _, classes = np.unique([item.label for item in items], return_inverse=True)
    totals = np.bincount(classes)
    folds = min(round(1 / share), len(np.unique(units)), totals.max())
    if folds < 2:
        raise ValueError(
            f"The {len(items)} images cannot be divided: they are of one subject, or "
            "duplicates of each other. Provide others."
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of classes with few images; see below.
        parts = [held for _, held in splitter.split(classes, classes, units)]

    def distance(held: np.ndarray) -> tuple[int, float]:
        counts = np.bincount(classes[held], minlength=len(totals))
        absent = int((counts == 0).sum() + len(totals) * (counts == totals).sum())
        return absent, abs(len(held) - share * len(items))

    chosen = np.zeros(len(items), bool)
    chosen[min(parts, key=distance)] = True
    return chosen


def _check_classes(items: Sequence[LabeledImage], held: np.ndarray) -> None:
    labels = np.array([item.label for item in items])
    names = {*labels.tolist()}
    for part, what in ((~held, "training"), (held, "held-out")):
        if not part.any():
            raise ValueError(f"There are no {what} images. Provide more images.")
        missing = sorted(names - {*labels[part].tolist()})
        if missing and what == "training":
            raise ValueError(
                f"There are no training images of {', '.join(missing)}: all are held "
                "out. Provide images of more subjects, or divide them yourself with a "
                "column split."
            )
        if missing:
            warnings.warn(
                f"no image of {', '.join(missing)} is held out: how well they are "
                "recognized is not measured",
                stacklevel=4,
            )


def _warn_of_conflicts(items: Sequence[LabeledImage], groups: np.ndarray) -> None:
    pairs = [
        (first, item)
        for first, item in ((items[g], items[i]) for i, g in enumerate(groups))
        if first.label != item.label
    ]
    if pairs:
        (one, other), number = pairs[0], len({first.path for first, _ in pairs})
        warnings.warn(
            f"{number} images have duplicates with another label, such as {one.path} "
            f"({one.label}) and {other.path} ({other.label})",
            stacklevel=4,
        )


def _warn_of_leaks(
    items: Sequence[LabeledImage], groups: np.ndarray, held: np.ndarray
) -> None:
    leaking = np.flatnonzero(held & np.isin(groups, groups[~held]))
    if len(leaking):
        one = leaking[0]
        other = np.flatnonzero(~held & (groups == groups[one]))[0]
        warnings.warn(
            f"{len(leaking)} of {held.sum()} held-out images have a duplicate among "
            f"the training images, such as {items[one].path} and {items[other].path}: "
            "the scores will be too high",
            stacklevel=4,
        )
    sides = [
        {items[row].subject for row in part} - {None}
        for part in (held.nonzero()[0].tolist(), (~held).nonzero()[0].tolist())
    ]
    if both := sides[0] & sides[1]:
        warnings.warn(
            f"{len(both)} subjects are in both parts: the scores are not those of new "
            "people",
            stacklevel=4,
        )
