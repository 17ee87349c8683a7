import collections
import itertools

import numpy as np
import pytest
from PIL import Image

from keras_fer.audit import audit, duplicate_groups, hashing
from tests.audit.drawn import drawn, jpeg, save


def planted(count, seed=0):
    """Hashes, some of which are a few bits from others."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for bits in range(12):
        for target in rng.integers(0, count, 20):
            flips = rng.choice(64, bits, replace=False)
            value = int(hashes[rng.integers(count)])
            for bit in flips:
                value ^= 1 << int(bit)
            hashes[target] = value
    return hashes


@pytest.mark.parametrize("portion", [7, 2**18])
def test_candidates_are_all_pairs_within_the_radius_once(monkeypatch, portion):
    monkeypatch.setattr(hashing, "_COMPARED", portion)
    hashes = planted(600)
    expected = {
        (i, j)
        for i, j in itertools.combinations(range(len(hashes)), 2)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= hashing.RADIUS
    }
    left_out = [0]
    found = [
        pair
        for first, second in hashing.near_pairs(hashes, left_out)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    ]
    assert len(expected) > 100
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert left_out == [0]


def test_a_crowd_is_compared_in_part_and_counted(monkeypatch):
    monkeypatch.setattr(hashing, "_CROWD", 10)
    hashes = np.full(100, 12345, np.uint64)
    left_out = [0]
    found = sum(len(first) for first, _ in hashing.near_pairs(hashes, left_out))
    # Each with the ten after it, the last ten with fewer.
    assert found == 90 * 10 + 45
    # What is left out is left out for each of the four parts of the hash.
    assert left_out == [4 * (100 * 99 // 2 - found)]


# Groups of duplicates


def brightened(image):
    return np.clip(image * 0.8 + 30, 0, 255).astype(np.uint8)


def test_exact_and_near_duplicates_share_a_group():
    a, b, c = (drawn(seed) for seed in range(3))
    images = [a, b, c, a, jpeg(b), brightened(c)]
    groups = duplicate_groups(images)
    assert groups.dtype == np.int64
    assert groups.tolist() == [0, 1, 2, 0, 1, 2]


def test_different_images_have_groups_of_their_own():
    images = np.stack([drawn(seed) for seed in range(50)])
    assert duplicate_groups(images).tolist() == list(range(50))
    assert duplicate_groups(images[..., None].repeat(3, -1)).tolist() == [*range(50)]


def test_chains_link():
    """Between the ends of a blend, neighbors are near-duplicates, the ends are not."""
    start, end = drawn(0).astype(float), drawn(1).astype(float)
    shares = np.linspace(0, 1, 101)[:, None, None]
    chain = np.rint((1 - shares) * start + shares * end).astype(np.uint8)
    ends = chain[[0, -1]].reshape(2, -1).astype(float)
    assert np.corrcoef(ends)[0, 1] < hashing.CORRELATION - 0.2
    assert duplicate_groups(chain[[0, -1]]).tolist() == [0, 1]
    order = np.random.default_rng(0).permutation(len(chain))
    assert duplicate_groups(chain[order]).tolist() == [0] * len(chain)


def test_images_of_one_color_share_a_group_only_with_their_copies():
    shades = [10, 20, 10, 30]
    flat = [np.full((48, 48), shade, np.uint8) for shade in shades]
    assert duplicate_groups([*flat, drawn(0)]).tolist() == [0, 1, 0, 3, 4]


def test_images_of_different_sizes():
    image = drawn(0, 96)
    small = np.asarray(Image.fromarray(image).resize((48, 48)))
    assert duplicate_groups([drawn(1, 64), image, small]).tolist() == [0, 1, 1]


@pytest.mark.parametrize("number", [0, 1])
def test_groups_of_few(number):
    assert duplicate_groups([drawn(0)] * number).tolist() == [0] * number


@pytest.fixture
def duplicates():
    """Thirty images, some of them copies or near-duplicates of others."""
    images = [drawn(seed) for seed in range(20)]
    images += images[:4] + [jpeg(image, 95) for image in images[2:6]]
    return images + [brightened(image) for image in images[:2]]


def partition(groups):
    members = collections.defaultdict(set)
    for index, group in enumerate(groups):
        members[int(group)].add(index)
    return {frozenset(group) for group in members.values()}


def test_the_order_of_the_images_does_not_matter(duplicates):
    expected = partition(duplicate_groups(duplicates))
    assert len(expected) == 20
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(duplicates))
        shuffled = duplicate_groups([duplicates[index] for index in order])
        # The number of a group is the index of its first image.
        assert all(shuffled[group] == group for group in shuffled)
        received = {
            frozenset(int(order[index]) for index in group)
            for group in partition(shuffled)
        }
        assert received == expected


def test_groups_are_what_the_audit_lists(tmp_path, duplicates):
    """Connected components, in plain Python, of the pairs in the report."""
    save(tmp_path / "all.npz", images=np.stack(duplicates))
    report = audit(tmp_path)
    component = {index: {index} for index in range(len(duplicates))}
    for entry in report["exact"]["listed"] + report["near"]["listed"]:
        rows = [int(image["name"].split("[")[1][:-1]) for image in entry["images"]]
        joined = set().union(*(component[row] for row in rows))
        component.update(dict.fromkeys(joined, joined))
    expected = {frozenset(members) for members in component.values()}
    assert len(expected) < len(duplicates)
    assert partition(duplicate_groups(duplicates)) == expected
