"""What leaks from one split of a dataset into another, and what contradicts itself.

The images are read once. Of each, 34 bytes stay in memory: a hash of its pixels, a
64-bit difference hash of what it looks like (Krawetz, "Kind of Like That", 2013), a
hash of its name, and numbers for its split, label and subject. A thumbnail waits in a
temporary file (576 MB for a million images) for the comparison of those whose hashes
are near. Names are read in a second pass, for what is listed alone.
"""

import array
import collections
import dataclasses
import hashlib
import io
import os
import pathlib
import tempfile
import zipfile

import numpy as np

# What counts as a near-duplicate, chosen by looking at pairs of FER2013 after comparing
# all of its images with all others. Of 40 random pairs with a correlation from 0.95
# to 0.96, all show one photograph, cropped, scaled or stamped again; of 40 from 0.92 to
# 0.95, two show different people. A radius of 7 finds 96 % of the 1,331 pairs from
# 0.95 and all of the 430 from 0.98, and is the most that `_candidates` can do.
# Of FER2013's images stored again as JPEG, scaled or made darker, 99.8 % are found; of
# those moved by 2 % of their width 37 %, of those cropped by 8 % 1 %, mirrored none.
RADIUS = 7
CORRELATION = 0.95

# How much of each list is kept; what is counted is counted in full.
LISTED = 10_000

_THUMBNAIL = 24

# Thumbnails at once, and hashes at once.
_BLOCK = 8192
_COMPARED = 2**18

# A part of the hash, 16 of its 64 bits, finds the images to compare. Where so many
# share one (frames of a video, black images), each is compared with those that
# follow it this closely, and what is left out is counted.
_CROWD = 4096

# How much of a large group of identical images is listed.
_GROUP = 100

_SPLITS = ("train", "test", "val", "valid", "dev", "public", "private", "fold")


@dataclasses.dataclass
class _Item:
    """An image that has not been read yet."""

    name: str
    split: str
    label: str | None
    subject: str | None
    read: collections.abc.Callable


def audit(source):
    """Finds duplicates, contradictions, and subjects across splits.

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
        What `keras-fer audit --json` prints, a dict of plain values:

        - `source`, `images` that were read, `splits` with how many each holds;
        - `unreadable`: `count` and the `first` names with what is wrong;
        - `overlapping`: of a split, how many images are by id and pixels also in a
          larger one, such as those of a challenge subset; the rest is without them;
        - `exact`: identical pixels: `groups`, `copies` (images but the first of each
          group), `within` (copies of each split), `across`: of every two splits, how
          many `images` of the one (`of`) occur `in` the other, and `listed` groups;
        - `conflicts`: `groups` of identical pixels with several labels, `listed`;
        - `near`: nearly the same pixels, as after compression, scaling, or a change of
          brightness (few of those that were moved or cropped are found, none that were
          mirrored): `pairs`, `within`, `across` with the number of `pairs` and of the
          `images` of one in them, `left_out` comparisons, and `listed` pairs with
          their correlation. Identical images count once a split;
        - `subjects`: `null` where none is known; otherwise how many are `known`, how
          many in several splits (`across`), `listed` with their images in each.

        Lists end after `LISTED` entries; what is across splits and what is closest
        comes first.

    Raises:
        FileNotFoundError: There is no such folder or dataset, or it is not prepared.
        ValueError: It holds no images.
        ImportError: A dataset is asked for without tensorflow-datasets.
    """
    items = _open(source)
    with tempfile.TemporaryFile() as thumbnails:
        facts = _read(items, thumbnails)
        if not len(facts.split):
            raise ValueError(
                f"No images to audit. Received: {str(source)!r} with "
                f"{facts.unreadable['count']} unreadable images. Expected a folder "
                "of images, a folder of SPLIT.npz files, or a TFDS dataset."
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


def duplicate_groups(images):
    """Numbers images so that exact and near-duplicates share a number.

    Near-duplicates are those of `audit`; a group holds whatever is linked by a chain of
    them.

    Args:
        images: uint8 images `(N, H, W)` or `(N, H, W, C)`, or a sequence of images of
            any size. 592 bytes of each stay in memory.

    Returns:
        int64 `(N,)`: of each image, the index of the first image of its group.
    """
    pixels = np.zeros(len(images), np.uint64)
    thumbnails = np.zeros((len(images), _THUMBNAIL, _THUMBNAIL), np.uint8)
    for index, image in enumerate(images):
        pixels[index], thumbnails[index] = _digest(image), _thumbnail(image)
    looks = np.concatenate(
        [
            np.zeros(0, np.uint64),
            *(
                _difference_hash(thumbnails[start : start + _BLOCK])
                for start in range(0, len(images), _BLOCK)
            ),
        ]
    )
    thumbnails = thumbnails.reshape(-1, _THUMBNAIL**2)
    _, first, inverse = np.unique(pixels, return_index=True, return_inverse=True)
    kept = np.sort(first[looks[first] != 0])  # A flat image looks like nothing.
    pairs = [(np.arange(len(images)), first[inverse])]
    for one, other in _candidates(looks[kept], [0]):
        one, other = kept[one], kept[other]
        found = _correlation(thumbnails, one, other) >= CORRELATION
        pairs.append((one[found], other[found]))
    one, other = (np.concatenate(column) for column in zip(*pairs, strict=True))
    # The least index spreads along the pairs until nothing changes.
    group = np.arange(len(images))
    while True:
        least = np.minimum(group[one], group[other])
        spread = group.copy()
        np.minimum.at(spread, one, least)
        np.minimum.at(spread, other, least)
        if np.array_equal(spread, group):
            return group
        group = spread


def table(report):
    """The report of `audit` as text for people, a few examples of each finding."""
    sizes = ", ".join(f"{split} {n:,}" for split, n in report["splits"].items())
    lines = [f"{report['source']}: {report['images']:,} images ({sizes})"]

    def row(text, number, examples=()):
        lines.append(f"  {text:<58}{number:>12,}")
        lines.extend(f"      {example}" for example in examples)

    bad = report["unreadable"]
    row(
        "unreadable, left out",
        bad["count"],
        [f"{entry['name']}: {entry['error']}" for entry in bad["first"][:3]],
    )
    for split, count in report["overlapping"].items():
        row(f"of {split} are by their ids also in another split", count)

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
        f"nearly the same ({near['radius']} of 64 bits, correlation from "
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
        row(f"of {entry['of']} are nearly in {entry['in']}", entry["images"])
    if near["left_out"]:
        row("comparisons left out where images crowd", near["left_out"])

    subjects = report["subjects"]
    lines.append("subjects")
    if subjects is None:
        lines.append("  not known")
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
    return "\n".join(lines)


def _together(entry):
    parts = [
        image["name"] + (f" ({image['label']})" if image["label"] else "")
        for image in entry["images"][:4]
    ]
    more = len(entry["images"]) - len(parts)
    return " = ".join(parts) + (f" and {more} more" if more else "")


# Sources. Each is something to iterate over several times, in the same order.


def _open(source):
    folder = pathlib.Path(source)
    if not folder.exists():
        return _Dataset(_builder(str(source)), str(source))
    if not folder.is_dir():
        raise NotADirectoryError(
            f"Not a folder. Received: {str(source)!r}. Expected a folder of images "
            "or of SPLIT.npz files, or the name of a TFDS dataset."
        )
    if (folder / "dataset_info.json").is_file():
        import tensorflow_datasets as tfds

        return _Dataset(tfds.builder_from_directory(folder), str(source))
    files = [path for path in sorted(folder.glob("*.npz")) if _has_images(path)]
    return _Arrays(files) if files else _Folder(folder)


def _builder(name):
    try:
        import tensorflow_datasets as tfds

        from keras_fer import datasets  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{name!r} is no folder, and to look for a dataset of that name needs "
            f"tensorflow-datasets: pip install 'keras_fer[datasets]' ({error})"
        ) from error
    try:
        builder = tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise FileNotFoundError(
            f"No such folder or dataset. Received: {name!r}. Expected a folder, or a "
            f"dataset that TFDS knows: {str(error).splitlines()[0]}"
        ) from error
    return builder


class _Folder:
    """Images in folders."""

    def __init__(self, root):
        from keras_fer.faces.images import SUFFIXES

        self.root = root
        self.suffixes = SUFFIXES
        self.split = any(
            entry.is_dir() and _is_split(entry.name) for entry in os.scandir(root)
        )

    def __iter__(self):
        from keras_fer.faces import read_image

        for path in self._walk(self.root, ()):
            *parents, _ = parts = path.relative_to(self.root).parts
            split, *labels = parents if self.split and parents else ["all", *parents]
            label = labels[0] if labels else None
            name = "/".join(parts)
            yield _Item(name, split, label, None, lambda path=path: read_image(path))

    def _walk(self, folder, above):
        # Sorted folder by folder: the list of all names never is in memory at once.
        here = folder.resolve()
        if here in above:  # A link to a folder that it is in.
            return
        for name in sorted(os.listdir(folder)):
            path = folder / name
            if name.startswith("."):
                continue
            if path.is_dir():
                yield from self._walk(path, (*above, here))
            elif path.suffix.lower() in self.suffixes:
                yield path


def _is_split(name):
    return name.lower().startswith(_SPLITS)


class _Arrays:
    """Files of arrays, one a split."""

    def __init__(self, files):
        self.files = files

    def __iter__(self):
        for path in self.files:
            with np.load(path) as arrays:
                images = arrays["images"]
                columns = {
                    key: arrays[key] if key in arrays else None
                    for key in ("label", "subject")
                }
            _check_images(path, images)
            for key, column in columns.items():
                if column is not None and len(column) != len(images):
                    raise ValueError(
                        f"{path} holds {len(images)} images and {len(column)} values "
                        f"of {key}. Expected one for every image."
                    )
            for row, image in enumerate(images):
                label, subject = (
                    None if column is None else _text(column[row])
                    for column in columns.values()
                )
                name = f"{path.stem}[{row}]"
                yield _Item(name, path.stem, label, subject, lambda image=image: image)


def _has_images(path):
    try:
        with np.load(path) as arrays:
            return "images" in arrays
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npz file of arrays: {error}") from error


def _check_images(path, images):
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            f"images of {path} are no images. Received: shape={images.shape}, "
            f"dtype={images.dtype}. Expected uint8 (N, H, W) or (N, H, W, C)."
        )


class _Dataset:
    """A prepared TFDS dataset."""

    def __init__(self, builder, name):
        if not builder.info.splits:
            raise FileNotFoundError(
                f"{name!r} is not prepared under {builder.data_dir}. Run `tfds build` "
                "for it first, or set TFDS_DATA_DIR to where it is."
            )
        self.builder = builder
        features = builder.info.features
        if "image" not in features:
            raise ValueError(
                f"{name!r} has no images. Received: features {', '.join(features)}. "
                "Expected one named image."
            )
        self.keys = [
            key for key in ("image", "label", "id", "subject") if key in features
        ]
        # The larger first: a split that overlaps by design is part of a larger one.
        splits = builder.info.splits
        self.splits = sorted(splits, key=lambda split: -splits[split].num_examples)

    def __iter__(self):
        features = self.builder.info.features
        for split in self.splits:
            for row, example in enumerate(self._examples(split)):
                label = _text(example.get("label"))
                if label is not None and hasattr(features["label"], "int2str"):
                    # -1 is what TFDS writes where a label is not known.
                    known = int(label) >= 0
                    label = features["label"].int2str(int(label)) if known else None
                yield _Item(
                    _text(example.get("id")) or f"{split}[{row}]",
                    split,
                    label,
                    _text(example.get("subject")),
                    lambda content=example["image"]: _decode(content),
                )

    def _examples(self, split):
        """Dicts of features, images as the bytes that are stored."""
        import tensorflow_datasets as tfds

        decoders = {"image": tfds.decode.SkipDecoding()}
        if self.builder.info.file_format.value == "array_record":
            yield from self.builder.as_data_source(split, decoders=decoders)
        else:
            features = {key: True for key in self.keys}
            partial = tfds.decode.PartialDecoding(features, decoders=decoders)
            dataset = self.builder.as_dataset(
                split=split, decoders=partial, shuffle_files=False
            )
            import tensorflow as tf

            try:
                yield from dataset.as_numpy_iterator()
            except tf.errors.OpError as error:
                raise OSError(
                    f"{self.builder.data_dir} cannot be read to its end. Build the "
                    f"dataset again: {error.message}"
                ) from error


def _text(value):
    """A string; `None` where there is none or an empty one."""
    value = value.decode() if isinstance(value, bytes) else value
    return None if value is None or value == "" else str(value)


def _decode(content):
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("L" if image.mode == "L" else "RGB"))


# The one pass over the images.


class _Facts:
    """What stays of the images, in arrays of one entry an image."""

    def __init__(self):
        self.pixels = array.array("Q")
        self.id = array.array("Q")  # and pixels
        self.split = array.array("H")
        self.label = array.array("i")
        self.subject = array.array("i")
        self.looks = []
        # Names of the numbers in split, label and subject.
        self.splits, self.labels, self.subject_names = {}, {}, {}
        self.unreadable = {"count": 0, "first": []}
        self.gaps = array.array("Q")  # places of the unreadable in the source
        self.overlapping = {}
        self.sizes = {}

    def close(self):
        """Makes arrays of what was gathered, without what overlaps by design."""
        for name in ("pixels", "id", "split", "label", "subject", "gaps"):
            setattr(self, name, np.array(getattr(self, name)))
        self.looks = np.concatenate([*self.looks, np.zeros(0, np.uint64)])
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
        for name in ("pixels", "split", "label", "subject", "looks"):
            setattr(self, name, getattr(self, name)[self.row])

    def places(self, indices):
        """Where images are in the source, which counts the unreadable ones too."""
        rows = self.row[indices].astype(np.int64)
        before = self.gaps.astype(np.int64) - np.arange(len(self.gaps))
        return rows + np.searchsorted(before, rows, side="right")


def _positive(pairs):
    return {name: int(count) for name, count in pairs if count}


def _read(items, file):
    """Reads all images; their thumbnails go to the file."""
    from tqdm import tqdm

    facts, block = _Facts(), []

    def flush():
        if block:
            thumbnails = np.stack(block)
            facts.looks.append(_difference_hash(thumbnails))
            file.write(thumbnails.tobytes())
            block.clear()

    # On a terminal only, to standard error.
    for place, item in enumerate(tqdm(items, unit="image", disable=None)):
        facts.sizes[item.split] = facts.sizes.get(item.split, 0) + 1
        try:
            image = item.read()
            digest, thumbnail = _digest(image), _thumbnail(image)
        except (OSError, ValueError, SyntaxError, MemoryError) as error:
            facts.unreadable["count"] += 1
            facts.gaps.append(place)
            if len(facts.unreadable["first"]) < LISTED:
                words = " ".join(str(error).split()) or type(error).__name__
                facts.unreadable["first"].append({"name": item.name, "error": words})
            continue
        facts.pixels.append(digest)
        facts.id.append(_hash(f"{digest} {item.name}".encode()))
        for values, names, name in (
            (facts.split, facts.splits, item.split),
            (facts.label, facts.labels, item.label),
            (facts.subject, facts.subject_names, item.subject),
        ):
            values.append(-1 if name is None else names.setdefault(name, len(names)))
        block.append(thumbnail)
        if len(block) == _BLOCK:
            flush()
    flush()
    file.flush()
    facts.close()
    return facts


def _hash(content):
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())


def _digest(image):
    # In a million images, any two that differ share a hash with a chance of 3e-8.
    image = np.ascontiguousarray(image)
    return _hash(repr(image.shape[:2]).encode() + image.tobytes())


def _thumbnail(image):
    import cv2

    if image.ndim == 3 and image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.resize(
        np.ascontiguousarray(image),
        (_THUMBNAIL, _THUMBNAIL),
        interpolation=cv2.INTER_AREA,
    ).reshape(_THUMBNAIL, _THUMBNAIL)


def _difference_hash(thumbnails):
    """Whether each of 8 x 9 areas is brighter than that to its left, `(N,)` uint64."""

    def areas(count):
        edges = np.arange(count + 1) * _THUMBNAIL / count
        pixels = np.arange(_THUMBNAIL)
        low, high = edges[:-1, None], edges[1:, None]
        inside = np.minimum(high, pixels + 1) - np.maximum(low, pixels)
        return np.maximum(inside, 0).astype(np.float32)

    small = areas(8) @ thumbnails.astype(np.float32) @ areas(9).T
    bits = small[:, :, 1:] > small[:, :, :-1]
    return np.packbits(bits.reshape(-1, 64), axis=1).view(np.uint64)[:, 0]


# What is found. Images are indices here; `_name` puts names in their place.


def _exact(facts):
    """Groups of identical pixels, and those with conflicting labels."""
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

    def listed(groups):
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

    # Of the known labels of a group, the least and the greatest differ.
    labels = facts.label[members]
    low = np.full(len(sizes), np.iinfo(np.int32).max)
    high = np.full(len(sizes), -1)
    known = labels >= 0
    np.minimum.at(low, group[known], labels[known])
    np.maximum.at(high, group[known], labels[known])
    conflicting = np.flatnonzero(low < high)
    report["listed"] = listed(np.arange(len(sizes)))
    return report, {"groups": len(conflicting), "listed": listed(conflicting)}


def _near(facts, file):
    """Pairs of images that are nearly the same; copies of one count once a split."""
    # The hash of an image of one color, which looks like nothing, is 0.
    kept = np.flatnonzero(facts.looks)
    order = kept[np.lexsort((facts.split[kept], facts.pixels[kept]))]
    new = np.ones(len(order), bool)
    pixels, split = facts.pixels[order], facts.split[order]
    new[1:] = (pixels[1:] != pixels[:-1]) | (split[1:] != split[:-1])
    kept = np.sort(order[new])
    thumbnails = np.memmap(file, np.uint8, "r").reshape(-1, _THUMBNAIL**2)

    splits = facts.splits
    counts = np.zeros((len(splits), len(splits)), np.int64)
    twins = {}  # For a pair of splits, which images of the first are in the second.
    best = np.zeros((0, 3))
    left_out = [0]
    for first, second in _candidates(facts.looks[kept], left_out):
        first, second = kept[first], kept[second]
        other = facts.pixels[first] != facts.pixels[second]
        first, second = first[other], second[other]
        correlation = _correlation(thumbnails, facts.row[first], facts.row[second])
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


def _candidates(hashes, left_out):
    """Pairs of hashes at most `RADIUS` bits apart, each once, in portions.

    Of the four 16-bit parts of hashes 7 bits apart, at least one differs by a bit or
    none (Norouzi et al., "Fast Search in Hamming Space with Multi-Index Hashing", CVPR
    2012). So for every part, the images are sorted by it, and each is compared with
    those that come after it and have the same part, up to a bit.

    Args:
        hashes: uint64 `(N,)`.
        left_out: A list of one number; comparisons left out are added to it.

    Yields:
        Two arrays of indices.
    """
    assert RADIUS < 8
    count = len(hashes)
    parts = np.ascontiguousarray(hashes).view(np.uint16).reshape(count, 4)
    indices = np.arange(count)
    for part in range(4):
        key = parts[:, part].astype(np.int64)
        ranked = np.sort(key << 32 | indices)
        for flip in (0, *(1 << bit for bit in range(16))):
            wanted = (key ^ flip) << 32
            low = np.searchsorted(ranked, wanted | indices, side="right")
            high = np.searchsorted(ranked, wanted + (1 << 32))
            left_out[0] += int(np.maximum(high - low - _CROWD, 0).sum())
            amount = np.minimum(high - low, _CROWD)
            ends = np.cumsum(amount)
            done = 0
            while done < count:
                before = ends[done - 1] if done else 0
                stop = np.searchsorted(ends, before + _COMPARED, side="right")
                stop = max(stop, done + 1)
                here = slice(done, stop)
                first = np.repeat(indices[here], amount[here])
                offset = np.repeat(low[here] - ends[here] + amount[here], amount[here])
                second = ranked[offset + np.arange(before, ends[stop - 1])] & 0xFFFFFFFF
                done = stop
                bits = hashes[first] ^ hashes[second]
                near = np.bitwise_count(bits) <= RADIUS
                first, second, bits = first[near], second[near], bits[near]
                # What an earlier part has found already is not found again.
                per_part = np.bitwise_count(bits.view(np.uint16).reshape(-1, 4))
                new = (per_part[:, :part] > 1).all(axis=1)
                if new.any():
                    yield first[new], second[new]


def _correlation(thumbnails, first, second):
    """Correlation of the pixels of pairs, `(N,)`; 0 for those of one color."""
    result = np.zeros(len(first))
    for start in range(0, len(first), _BLOCK):
        here = slice(start, start + _BLOCK)
        a, b = (thumbnails[rows[here]].astype(np.float32) for rows in (first, second))
        a -= a.mean(axis=1, keepdims=True)
        b -= b.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        result[here] = np.einsum("ij,ij->i", a, b) / np.maximum(norms, 1)
    return result


def _subjects(facts):
    """Subjects, and those that are in several splits."""
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


def _name(report, facts, items):
    """Puts images' names, splits and labels where their indices are."""
    entries = [
        entry
        for part in ("exact", "conflicts", "near")
        for entry in report[part]["listed"]
    ]
    wanted = np.unique([i for entry in entries for i in entry["images"]]).astype(int)
    if not len(wanted):
        return
    named = {}
    places = dict(zip(facts.places(wanted).tolist(), wanted.tolist(), strict=True))
    for place, item in enumerate(items):
        if place in places:
            named[places[place]] = {
                "name": item.name,
                "split": item.split,
                "label": item.label,
            }
    for entry in entries:
        entry["images"] = [named[i] for i in entry["images"]]
