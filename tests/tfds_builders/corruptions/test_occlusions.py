import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.tfds_builders.corruptions.drawn import changed, five, points
from tfds_builders import corruptions


@pytest.mark.parametrize("number", [68, 5, 0])
def test_occlusions_cover_what_they_are_called(number):
    image = np.full((100, 100, 3), 90, np.uint8)
    full = points()
    where = {"landmarks": {68: full, 5: five(full), 0: None}[number]}
    eyes, mouth = full[36:48], full[48:]
    assert changed(image, "occluded", "eyes", eyes, **where).all()
    assert not changed(image, "occluded", "eyes", mouth, **where).any()
    assert changed(image, "occluded", "mouth", mouth, **where).all()
    assert not changed(image, "occluded", "mouth", eyes, **where).any()
    left, right = full[36:42], full[42:48]
    assert changed(image, "occluded", "half_left", left, **where).all()
    assert not changed(image, "occluded", "half_left", right, **where).any()
    assert changed(image, "occluded", "half_right", right, **where).all()
    assert not changed(image, "occluded", "half_right", left, **where).any()


def test_blocks_lie_within_the_face():
    image = np.full((100, 100, 1), 90, np.uint8)
    box = tfds.features.BBox(ymin=0.2, xmin=0.3, ymax=0.8, xmax=0.9)
    for name in "abcdefgh":
        result, _ = corruptions.apply(image, name, "occluded", "random_block", bbox=box)
        rows, columns = np.nonzero(result[..., 0] == 0)
        assert 20 <= rows.min() and rows.max() < 80
        assert 30 <= columns.min() and columns.max() < 90
        assert 0.08 < len(rows) / 3600 < 0.26
