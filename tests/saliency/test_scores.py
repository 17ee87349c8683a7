import numpy as np
import pytest

from keras_fer.saliency import insertion_deletion

SIDE = 12


class Patch:
    """Its second class is as probable as the patch is bright, on a dark image."""

    def __init__(self, top, left):
        self.at = slice(top, top + 3), slice(left, left + 3)
        self.seen = []

    def predict(self, images):
        assert images.dtype == np.uint8
        self.seen.append(images)
        share = images[:, *self.at].mean((1, 2, 3)) / 255
        return np.stack([1 - share, share], axis=1)


def patches(model, number=2):
    images = np.zeros((number, SIDE, SIDE, 3), np.uint8)
    images[:, *model.at] = 255
    return images


def perfect(model, number=2):
    maps = np.zeros((number, SIDE, SIDE))
    maps[:, *model.at] = 1
    return maps


def test_a_perfect_map_and_its_opposite():
    model = Patch(2, 7)
    images, maps = patches(model), perfect(model)
    good = insertion_deletion(model, images, maps, steps=16)
    bad = insertion_deletion(model, images, 1 - maps, steps=16)
    # The patch is a sixteenth of the image: one step.
    mean = np.rint(images.mean()) / 255
    np.testing.assert_allclose(good.inserted[:, 1:], 1)
    np.testing.assert_allclose(good.deleted[:, 1:], mean)
    np.testing.assert_allclose(good.deleted[:, 0], 1)
    start = good.inserted[0, 0]
    assert 0 < start < 0.5
    np.testing.assert_allclose(bad.inserted[:, :-1], start)
    np.testing.assert_allclose(bad.deleted[:, :-1], 1)
    np.testing.assert_allclose(good.insertion, 1 - (1 - start) / 32)
    np.testing.assert_allclose(bad.insertion, start + (1 - start) / 32)
    np.testing.assert_allclose(good.deletion, mean + (1 - mean) / 32)


def test_pixels_come_in_the_order_of_the_map():
    model = Patch(0, 0)
    random = np.random.default_rng(0)
    images = random.integers(1, 255, (1, SIDE, SIDE, 1), dtype=np.uint8)
    maps = random.permutation(SIDE * SIDE).reshape(1, SIDE, SIDE)
    insertion_deletion(model, images, maps, steps=SIDE * SIDE)
    deleted = model.seen[-SIDE * SIDE :]
    mean = np.rint(images.mean())
    for step, now in enumerate(deleted, 1):
        expected = np.where(maps >= SIDE * SIDE - step, mean, images[..., 0])
        np.testing.assert_array_equal(now[..., 0], expected)


def test_ties_are_not_in_the_order_of_rows():
    """A map without any preference is as good at the top as at the bottom."""
    scores = [
        insertion_deletion(
            Patch(top, 4), patches(Patch(top, 4)), np.ones((2, SIDE, SIDE))
        ).insertion[0]
        for top in (0, 9)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.15)
    assert 0.3 < scores[0] < 0.8


def test_classes_and_batches():
    model = Patch(3, 3)
    images, maps = patches(model, 70), perfect(model, 70)
    predicted = insertion_deletion(model, images, maps, steps=4)
    other = insertion_deletion(model, images, maps, classes=[0] * 70, steps=4)
    assert predicted.inserted.shape == predicted.deleted.shape == (70, 5)
    np.testing.assert_allclose(other.inserted, 1 - predicted.inserted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"maps": np.ones((2, 4, 4))},
            r"must be finite and have the shape \(2, 12",
        ),
        ({"maps": np.full((2, SIDE, SIDE), np.nan)}, "maps must be finite"),
        ({"images": np.zeros((2, SIDE, SIDE))}, "images must have the shape"),
        ({"steps": 0}, "steps must be a positive integer, got 0"),
        ({"classes": [0, 2]}, "classes must be 2 integers from 0 to 1"),
        ({"classes": [0]}, "classes must be 2 integers"),
    ],
)
def test_wrong_arguments(change, message):
    model = Patch(0, 0)
    given = {"images": patches(model), "maps": perfect(model), **change}
    with pytest.raises(ValueError, match=message):
        insertion_deletion(model, **given)
