import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.tfds_builders.corruptions.drawn import changed, five, points
from tfds_builders import corruptions


@pytest.mark.parametrize("turn", [-0.5, 0, 0.3])
@pytest.mark.parametrize("number", [68, 5])
def test_a_mask_covers_nose_and_mouth_but_not_the_eyes(turn, number):
    image = np.full((200, 200, 3), 90, np.uint8)
    full = points(turn)
    landmarks = full if number == 68 else five(full)
    on = {"landmarks": landmarks}
    assert changed(image, "masked", at=full[48:], **on).all()
    assert changed(image, "masked", at=full[[30, 33]], **on).all()
    assert not changed(image, "masked", at=full[36:48], **on).any()
    assert not changed(image, "masked", at=full[17:27], **on).any()


@pytest.mark.parametrize("size", [48, 200])
def test_a_mask_without_landmarks_follows_the_box(size):
    image = np.full((size, size, 1), 90, np.uint8)
    mouth, eyes = points()[48:], points()[36:48]
    assert changed(image, "masked", at=mouth).all()
    assert not changed(image, "masked", at=eyes).any()

    box = tfds.features.BBox(ymin=0.5, xmin=0.4, ymax=1.0, xmax=0.9)
    low, span = np.array([0.4, 0.5]), 0.5
    assert changed(image, "masked", at=low + span * mouth, bbox=box).all()
    assert not changed(image, "masked", at=low + span * eyes, bbox=box).any()
    result, _ = corruptions.apply(image, "x", "masked", bbox=box)
    assert (result == image)[: size // 2].all()


def test_a_mask_has_smooth_edges_and_is_as_bright_as_the_face():
    dark, bright = (np.full((48, 48, 1), v, np.uint8) for v in (40, 220))
    at = (36, 24)
    results = [corruptions.apply(image, "x", "masked")[0] for image in (dark, bright)]
    assert results[0][at] < results[1][at]
    # Antialiased: many gray levels, not two.
    assert len(np.unique(results[0])) > 10
