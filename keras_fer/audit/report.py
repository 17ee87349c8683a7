"""What leaks from one split of a dataset into another, and what contradicts itself.

The images are read once. Of each, 34 bytes stay in memory: a hash of its pixels, its
difference hash, a hash of its name, and numbers for its split, label and subject. A
thumbnail waits in a temporary file (576 MB for a million images) for the comparison of
those whose hashes are near. Names are read in a second pass, and only those listed.
"""

from __future__ import annotations

import array
import os
import tempfile
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from keras_fer.audit.hashing import (
    BLOCK,
    CORRELATION,
    RADIUS,
    THUMBNAIL,
    correlate,
    difference_hash,
    hash_bytes,
    hash_pixels,
    make_thumbnail,
    near_pairs,
)
from keras_fer.audit.sources import Item, open_source
from keras_fer.console import one_line, printable

LISTED = 10_000
"""How many entries of each list are kept; the counts are complete."""

# How much of a large group of identical images is listed.
_GROUP = 100


def audit(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Finds duplicates, conflicting labels, and subjects across splits.

    Args:
        source: One of

            - a folder of images. Where one of its subfolders is named like a split
              (`train`, `training`, `val`, `test`, `PublicTest`, `fold_3`, ...), its
              subfolders are the splits and theirs the labels; otherwise, its
              subfolders are the labels of the only split, `all`.
            - a folder of `SPLIT.npz` files with `images` uint8 `(N, H, W)` or
              `(N, H, W, C)` and, where known, `label` and `subject`, `(N,)`.
            - the name of a prepared TFDS dataset, such as `"fer2013"` or
              `"fer2013/masked"`, or its folder.

    Returns:
        A dict of plain values, as `keras-fer audit --json` prints it:

        - `source`; `images`, the number read; `splits`, the size of each;
        - `unreadable`: `count`, and the `first` names with their errors;
        - `overlapping`: per split, the number of images that a larger split contains
          under the same id, such as those of a challenge subset. They are left out
          below;
        - `exact`: identical pixels: `groups`, `copies` (all but the first image of
          each group), `within` (copies per split), `across`: for two splits, how
          many `images` of one (`of`) occur `in` the other, and `listed` groups;
        - `conflicts`: `groups` of identical pixels with several labels, `listed`;
        - `near`: near-duplicates, as after compression, scaling or a change of
          brightness (few shifted or cropped images are found, and no mirrored ones):
          `pairs`, `within`, `across` with the number of `pairs` and of the `images`
          of one split in them, `left_out` comparisons, and `listed` pairs with their
          correlation. Identical images count once per split;
        - `subjects`: `None` where none is known; otherwise the number `known`, the
          number in several splits (`across`), `listed` with their images per split.

        Lists have at most `LISTED` entries; those across splits and then the closest
        come first.

    Raises:
        FileNotFoundError: There is no such folder or dataset, or it is not prepared.
        ValueError: It holds no images.
        ImportError: `source` names a dataset and tensorflow-datasets is missing.
    """
    items = open_source(source)
    with tempfile.TemporaryFile() as thumbnails:
        facts = _read(items, thumbnails)
        if not len(facts.split):
            raise ValueError(
                f"{str(source)!r} has no images to audit, and "
                f"{facts.unreadable['count']} unreadable ones. Pass a folder of "
                "images, a folder of SPLIT.npz files, or a TFDS dataset."
            )
        exact, conflicts = _exact(facts)
        near = _near(facts, thumbnails)
    report = {
        "source": str(source),
        "images": len(facts.split) + sum(facts.overlapping.values()),
        "splits": facts.sizes,
        "unreadable": facts.unreadable,
        "overlapping": facts.overlapping,
        "exact": exact,
        "conflicts": conflicts,
        "near": near,
        "subjects": _subjects(facts),
    }
    _name(report, facts, items)
    return report


def table(report: dict[str, Any]) -> str:
    """Formats the report of `audit` as a table with a few examples per finding."""
    sizes = ", ".join(f"{split} {n:,}" for split, n in report["splits"].items())
    lines = [f"{report['source']}: {report['images']:,} images ({sizes})"]

    def row(text: str, number: int, examples: Iterable[str] = ()) -> None:
        lines.append(f"  {text:<58}{number:>12,}")
        lines.extend(f"      {example}" for example in examples)

    bad = report["unreadable"]
    row(
        "unreadable, left out",
        bad["count"],
        [f"{entry['name']}: {entry['error']}" for entry in bad["first"][:3]],
    )
    for split, count in report["overlapping"].items():
        row(f"of {split} are in a larger split under the same id", count)

    exact = report["exact"]
    lines.append("identical pixels")
    row("groups", exact["groups"], map(_together, exact["listed"][:3]))
    for split, count in exact["within"].items():
        row(f"copies within {split}", count)
    for entry in exact["across"]:
        row(f"of {entry['of']} are in {entry['in']}", entry["images"])
    conflicts = report["conflicts"]
    row(
        "groups with conflicting labels",
        conflicts["groups"],
        map(_together, conflicts["listed"][:3]),
    )

    near = report["near"]
    lines.append(
        f"near-duplicates ({near['radius']} of 64 bits, correlation from "
        f"{near['correlation']})"
    )
    row(
        "pairs",
        near["pairs"],
        [
            f"{_together(entry)} ({entry['correlation']:.3f})"
            for entry in near["listed"][:3]
        ],
    )
    for split, count in near["within"].items():
        row(f"pairs within {split}", count)
    for entry in near["across"]:
        row(f"of {entry['of']} have a near-duplicate in {entry['in']}", entry["images"])
    if near["left_out"]:
        row("comparisons left out among many similar images", near["left_out"])

    subjects = report["subjects"]
    lines.append("subjects")
    if subjects is None:
        lines.append("  unknown")
    else:
        row("known", subjects["known"])
        row(
            "in several splits",
            subjects["across"],
            [
                f"{entry['subject']}: "
                + ", ".join(f"{split} {n}" for split, n in entry["splits"].items())
                for entry in subjects["listed"][:3]
            ],
        )
    return "\n".join(map(printable, lines))


def _together(entry: dict[str, Any]) -> str:
    parts = [
        image["name"] + (f" ({image['label']})" if image["label"] else "")
        for image in entry["images"][:4]
    ]
    more = len(entry["images"]) - len(parts)
    return " = ".join(parts) + (f" and {more} more" if more else "")


class Facts:
    """What stays of the images, in arrays of one entry per image.

    While images are read, the arrays grow; `close` makes them NumPy arrays.
    """

    def __init__(self) -> None:
        self.pixels: Any = array.array("Q")
        self.id: Any = array.array("Q")  # and pixels
        self.split: Any = array.array("H")
        self.label: Any = array.array("i")
        self.subject: Any = array.array("i")
        self.hashes: Any = []
        # Names of the numbers in split, label and subject.
        self.splits: Any = {}
        self.labels: Any = {}
        self.subject_names: Any = {}
        self.unreadable: dict[str, Any] = {"count": 0, "first": []}
        self.gaps: Any = array.array("Q")  # positions of the unreadable in the source
        self.overlapping: dict[str, int] = {}
        self.sizes: dict[str, int] = {}

    def close(self) -> None:
        """Turns the lists into arrays, without images that overlap by design."""
        for name in ("pixels", "id", "split", "label", "subject", "gaps"):
            setattr(self, name, np.array(getattr(self, name)))
        self.hashes = np.concatenate([*self.hashes, np.zeros(0, np.uint64)])
        for name in ("splits", "labels", "subject_names"):
            setattr(self, name, list(getattr(self, name)))

        first = np.unique(self.id, return_index=True)[1]
        del self.id
        self.row = np.sort(first).astype(np.uint32)  # of the thumbnails
        if len(self.row) == len(self.split):
            return
        again = np.ones(len(self.split), bool)
        again[self.row] = False
        counts = np.bincount(self.split[again], minlength=len(self.splits))
        self.overlapping = _positive(zip(self.splits, counts, strict=True))
        for name in ("pixels", "split", "label", "subject", "hashes"):
            setattr(self, name, getattr(self, name)[self.row])

    def positions(self, indices: np.ndarray) -> np.ndarray:
        """Positions of images in the source, which counts the unreadable ones too."""
        rows = self.row[indices].astype(np.int64)
        before = self.gaps.astype(np.int64) - np.arange(len(self.gaps))
        positions: np.ndarray = rows + np.searchsorted(before, rows, side="right")
        return positions


def _positive(pairs: Iterable[tuple[str, Any]]) -> dict[str, int]:
    return {name: int(count) for name, count in pairs if count}


def _read(items: Iterable[Item], file: IO[bytes]) -> Facts:
    """Reads all images; writes their thumbnails to the file."""
    from tqdm import tqdm

    facts = Facts()
    block: list[np.ndarray] = []

    def flush() -> None:
        if block:
            thumbnails = np.stack(block)
            facts.hashes.append(difference_hash(thumbnails))
            file.write(thumbnails.tobytes())
            block.clear()

    # On a terminal only, to standard error.
    for position, item in enumerate(tqdm(items, unit="image", disable=None)):
        facts.sizes[item.split] = facts.sizes.get(item.split, 0) + 1
        try:
            image = item.read()
            pixels, thumbnail = hash_pixels(image), make_thumbnail(image)
        except (OSError, ValueError, MemoryError) as error:
            facts.unreadable["count"] += 1
            facts.gaps.append(position)
            if len(facts.unreadable["first"]) < LISTED:
                words = one_line(error)
                facts.unreadable["first"].append({"name": item.name, "error": words})
            continue
        facts.pixels.append(pixels)
        facts.id.append(
            hash_bytes(f"{pixels} {item.name}".encode(errors="surrogatepass"))
        )
        for values, names, name in (
            (facts.split, facts.splits, item.split),
            (facts.label, facts.labels, item.label),
            (facts.subject, facts.subject_names, item.subject),
        ):
            values.append(-1 if name is None else names.setdefault(name, len(names)))
        block.append(thumbnail)
        if len(block) == BLOCK:
            flush()
    flush()
    file.flush()
    facts.close()
    return facts


# Findings. Images are indices here; `_name` replaces them by names.


def _exact(facts: Facts) -> tuple[dict[str, Any], dict[str, Any]]:
    """Finds groups of identical pixels, and those with conflicting labels."""
    order = np.argsort(facts.pixels, kind="stable")
    pixels = facts.pixels[order]
    new = np.concatenate([[True], pixels[1:] != pixels[:-1]])
    sizes = np.diff(np.append(np.flatnonzero(new), len(order)))
    members = order[np.repeat(sizes > 1, sizes)]
    sizes = sizes[sizes > 1]
    starts = np.cumsum(sizes) - sizes
    group = np.repeat(np.arange(len(sizes)), sizes)

    splits = facts.splits
    counts = np.zeros((len(sizes), len(splits)), np.int32)
    np.add.at(counts, (group, facts.split[members]), 1)
    shared = counts.T @ (counts > 0)  # [of, in]
    report = {
        "groups": len(sizes),
        "copies": int((sizes - 1).sum()),
        "within": _positive(
            zip(splits, np.maximum(counts - 1, 0).sum(axis=0), strict=True)
        ),
        "across": [
            {"of": splits[a], "in": splits[b], "images": int(shared[a, b])}
            for a in range(len(splits))
            for b in range(len(splits))
            if a != b and shared[a, b]
        ],
    }

    def listed(groups: np.ndarray) -> list[dict[str, Any]]:
        # Those across splits first.
        across = (counts[groups] > 0).sum(axis=1) > 1
        groups = groups[np.lexsort((members[starts[groups]], ~across))][:LISTED]
        return [
            {
                "size": int(sizes[g]),
                "images": members[starts[g] : starts[g] + sizes[g]][:_GROUP].tolist(),
            }
            for g in groups
        ]

    # The smallest and the largest known label of the group differ.
    labels = facts.label[members]
    low = np.full(len(sizes), np.iinfo(np.int32).max)
    high = np.full(len(sizes), -1)
    known = labels >= 0
    np.minimum.at(low, group[known], labels[known])
    np.maximum.at(high, group[known], labels[known])
    conflicting = np.flatnonzero(low < high)
    report["listed"] = listed(np.arange(len(sizes)))
    return report, {"groups": len(conflicting), "listed": listed(conflicting)}


def _near(facts: Facts, file: IO[bytes]) -> dict[str, Any]:
    """Finds near-duplicates; copies of one image count once per split."""
    # The hash of an image of one color is 0: it is similar to nothing.
    kept = np.flatnonzero(facts.hashes)
    order = kept[np.lexsort((facts.split[kept], facts.pixels[kept]))]
    new = np.ones(len(order), bool)
    pixels, split = facts.pixels[order], facts.split[order]
    new[1:] = (pixels[1:] != pixels[:-1]) | (split[1:] != split[:-1])
    kept = np.sort(order[new])
    thumbnails = np.memmap(file, np.uint8, "r").reshape(-1, THUMBNAIL**2)

    splits = facts.splits
    counts = np.zeros((len(splits), len(splits)), np.int64)
    # For a pair of splits, which images of the first have a twin in the second.
    twins: dict[tuple[int, int], np.ndarray] = {}
    best = np.zeros((0, 3))
    left_out = [0]
    for first, second in near_pairs(facts.hashes[kept], left_out):
        first, second = kept[first], kept[second]
        other = facts.pixels[first] != facts.pixels[second]
        first, second = first[other], second[other]
        correlation = correlate(thumbnails, facts.row[first], facts.row[second])
        found = correlation >= CORRELATION
        first, second, correlation = first[found], second[found], correlation[found]
        a, b = facts.split[first], facts.split[second]
        np.add.at(counts, (np.minimum(a, b), np.maximum(a, b)), 1)
        for one, two, images in ((a, b, first), (b, a, second)):
            for key in set(zip(one[one != two], two[one != two], strict=True)):
                chosen = (one == key[0]) & (two == key[1])
                twins.setdefault(key, np.zeros(len(facts.split), bool))[
                    images[chosen]
                ] = True
        # Those across splits first, then the closest.
        pairs = np.stack([first, second, correlation + 2.0 * (a != b)], axis=1)
        best = np.concatenate([best, pairs])
        best = best[np.argsort(-best[:, 2], kind="stable")][:LISTED]
    return {
        "radius": RADIUS,
        "correlation": CORRELATION,
        "pairs": int(counts.sum()),
        "within": _positive(zip(splits, counts.diagonal(), strict=True)),
        "across": [
            {
                "of": splits[a],
                "in": splits[b],
                "pairs": int(counts[min(a, b), max(a, b)]),
                "images": int(twins[a, b].sum()),
            }
            for a, b in sorted(twins)
        ],
        "left_out": left_out[0],
        "listed": [
            {"correlation": round(score % 2, 4), "images": [int(a), int(b)]}
            for a, b, score in best.tolist()
        ],
    }


def _subjects(facts: Facts) -> dict[str, Any] | None:
    """Counts the subjects, and those in several splits."""
    if not facts.subject_names:
        return None
    known = facts.subject >= 0
    counts = np.zeros((len(facts.subject_names), len(facts.splits)), np.int64)
    np.add.at(counts, (facts.subject[known], facts.split[known]), 1)
    across = np.flatnonzero((counts > 0).sum(axis=1) > 1)
    return {
        "known": len(facts.subject_names),
        "across": len(across),
        "listed": [
            {
                "subject": facts.subject_names[subject],
                "splits": _positive(zip(facts.splits, counts[subject], strict=True)),
            }
            for subject in across[:LISTED]
        ],
    }


def _name(report: dict[str, Any], facts: Facts, items: Iterable[Item]) -> None:
    """Replaces the indices of images by their names, splits and labels."""
    entries = [
        entry
        for part in ("exact", "conflicts", "near")
        for entry in report[part]["listed"]
    ]
    wanted = np.unique([i for entry in entries for i in entry["images"]]).astype(int)
    if not len(wanted):
        return
    named = {}
    positions = dict(
        zip(facts.positions(wanted).tolist(), wanted.tolist(), strict=True)
    )
    for position, item in enumerate(items):
        if position in positions:
            named[positions[position]] = {
                "name": item.name,
                "split": item.split,
                "label": item.label,
            }
    for entry in entries:
        entry["images"] = [named[i] for i in entry["images"]]
