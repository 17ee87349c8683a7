"""Hashes of images, and pairs of images whose hashes are near.

An image is identified by a hash of its pixels, and compared with others by a 64-bit
difference hash (Krawetz, "Kind of Like That", 2013) and then by a thumbnail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

# What counts as a near-duplicate, chosen by inspecting pairs of FER2013 after comparing
# all of its images with all others. Of 40 random pairs with a correlation from 0.95
# to 0.96, all show one photograph, cropped, scaled or stamped again; of 40 from 0.92 to
# 0.95, two show different people. A radius of 7 finds 96 % of the 1,331 pairs from
# 0.95 and all of the 430 from 0.98, and is the largest that `near_pairs` supports.
# Of FER2013's images stored again as JPEG, scaled or made darker, 99.8 % are found; of
# those moved by 2 % of their width 37 %, of those cropped by 8 % 1 %, mirrored none.
RADIUS = 7
CORRELATION = 0.95


THUMBNAIL = 24

# Thumbnails at once, and hashes at once.
BLOCK = 8192
_COMPARED = 2**18

# A part of the hash, 16 of its 64 bits, selects the images to compare. Where many
# share one (frames of a video, black images), each is compared with this many of those
# that follow it, and the comparisons left out are counted.
_CROWD = 4096


def duplicate_groups(images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Numbers images so that exact and near-duplicates share a number.

    Near-duplicates are those of `audit`. Images linked by a chain of them share a
    group. Images of one color have exact duplicates only.

    Args:
        images: uint8 images `(N, H, W)` or `(N, H, W, C)`, or a sequence of images of
            any size. 592 bytes of each stay in memory.

    Returns:
        int64 `(N,)`: per image, the index of the first image of its group.
    """
    pixels = np.zeros(len(images), np.uint64)
    thumbnails: np.ndarray = np.zeros((len(images), THUMBNAIL, THUMBNAIL), np.uint8)
    for index, image in enumerate(images):
        pixels[index] = hash_pixels(image)
        thumbnails[index] = make_thumbnail(image)
    hashes = np.concatenate(
        [
            np.zeros(0, np.uint64),
            *(
                difference_hash(thumbnails[start : start + BLOCK])
                for start in range(0, len(images), BLOCK)
            ),
        ]
    )
    thumbnails = thumbnails.reshape(-1, THUMBNAIL**2)
    _, first, inverse = np.unique(pixels, return_index=True, return_inverse=True)
    kept = np.sort(first[hashes[first] != 0])  # 0: of one color.
    pairs = [(np.arange(len(images)), first[inverse])]
    for one, other in near_pairs(hashes[kept], [0]):
        one, other = kept[one], kept[other]
        found = correlate(thumbnails, one, other) >= CORRELATION
        pairs.append((one[found], other[found]))
    one, other = (np.concatenate(column) for column in zip(*pairs, strict=True))
    # The smallest index spreads along the pairs until nothing changes.
    group = np.arange(len(images))
    while True:
        least = np.minimum(group[one], group[other])
        spread = group.copy()
        np.minimum.at(spread, one, least)
        np.minimum.at(spread, other, least)
        if np.array_equal(spread, group):
            return group
        group = spread


def hash_bytes(content: bytes) -> int:
    """64-bit hash of bytes."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())


def hash_pixels(image: np.ndarray) -> int:
    """64-bit hash of an image's pixels and size."""
    # In a million images, any two that differ share a hash with a chance of 3e-8.
    image = np.ascontiguousarray(image)
    return hash_bytes(repr(image.shape[:2]).encode() + image.tobytes())


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """Scales an image to `(THUMBNAIL, THUMBNAIL)` uint8 grayscale."""
    import cv2

    if image.ndim == 3 and image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small: np.ndarray = cv2.resize(
        np.ascontiguousarray(image),
        (THUMBNAIL, THUMBNAIL),
        interpolation=cv2.INTER_AREA,
    )
    return small.reshape(THUMBNAIL, THUMBNAIL)


def difference_hash(thumbnails: np.ndarray) -> np.ndarray:
    """Whether each of 8x9 areas is brighter than its left neighbor, `(N,)` uint64."""

    def areas(count: int) -> np.ndarray:
        edges = np.arange(count + 1) * THUMBNAIL / count
        pixels = np.arange(THUMBNAIL)
        low, high = edges[:-1, None], edges[1:, None]
        inside = np.minimum(high, pixels + 1) - np.maximum(low, pixels)
        weights: np.ndarray = np.maximum(inside, 0).astype(np.float32)
        return weights

    small = areas(8) @ thumbnails.astype(np.float32) @ areas(9).T
    bits = small[:, :, 1:] > small[:, :, :-1]
    hashes: np.ndarray = np.packbits(bits.reshape(-1, 64), axis=1).view(np.uint64)
    return hashes[:, 0]


def near_pairs(
    hashes: np.ndarray, left_out: list[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields all pairs of hashes at most `RADIUS` bits apart, each once, in portions.

    Of the four 16-bit parts of hashes 7 bits apart, at least one differs by at most one
    bit (Norouzi et al., "Fast Search in Hamming Space with Multi-Index Hashing", CVPR
    2012). So for every part, the images are sorted by it, and each is compared with
    those after it whose part is the same or differs by one bit.

    Args:
        hashes: uint64 `(N,)`.
        left_out: A list of one number, to which the comparisons left out are added.

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
                stop = int(np.searchsorted(ends, before + _COMPARED, side="right"))
                stop = max(stop, done + 1)
                here = slice(done, stop)
                first = np.repeat(indices[here], amount[here])
                offset = np.repeat(low[here] - ends[here] + amount[here], amount[here])
                second = ranked[offset + np.arange(before, ends[stop - 1])] & 0xFFFFFFFF
                done = stop
                bits = hashes[first] ^ hashes[second]
                near = np.bitwise_count(bits) <= RADIUS
                first, second, bits = first[near], second[near], bits[near]
                # Pairs that an earlier part has found are dropped.
                per_part = np.bitwise_count(bits.view(np.uint16).reshape(-1, 4))
                new = (per_part[:, :part] > 1).all(axis=1)
                if new.any():
                    yield first[new], second[new]


def correlate(
    thumbnails: np.ndarray, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Computes the correlation of the pixels of pairs of thumbnails.

    Args:
        thumbnails: uint8 `(N, THUMBNAIL**2)`.
        first: Indices `(P,)`.
        second: Indices `(P,)`.

    Returns:
        `(P,)`; 0 where a thumbnail has one color.
    """
    result = np.zeros(len(first))
    for start in range(0, len(first), BLOCK):
        here = slice(start, start + BLOCK)
        a, b = (thumbnails[rows[here]].astype(np.float32) for rows in (first, second))
        a -= a.mean(axis=1, keepdims=True)
        b -= b.mean(axis=1, keepdims=True)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        result[here] = np.einsum("ij,ij->i", a, b) / np.maximum(norms, 1)
    return result
