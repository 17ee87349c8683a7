import threading
import time

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.utils.class_weight import compute_class_weight

from keras_fer.training.batches import Batches, Examples, balanced_shares, class_weights

# Twenty-five of one class, five of the other, one of the third.
CLASSES = np.repeat([0, 1, 2], [25, 5, 1])
TARGETS = np.eye(3, dtype="float32")[CLASSES]
SEED, SIZE, EPOCHS = [7, 1], 8, 4
STEPS = Batches.per_epoch(len(TARGETS), SIZE) * EPOCHS


def batches(take=lambda rows: rows, first=0, seed=SEED, steps=STEPS, **options):
    return Batches(Examples(take, TARGETS, **options), SIZE, seed, steps, first)


def colors(rows):
    """Images that say which class they are of: a channel each."""
    return np.tile((255 * TARGETS[rows])[:, None, None], (1, 48, 48, 1))


def mixed(**options):
    return batches(colors, mixing=[layers.MixUp(), layers.CutMix()], **options)


def assert_equal(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


def test_epochs_are_permutations_without_the_remainder():
    assert STEPS == 12 == len(batches())
    epochs = np.array([batches()[step][0] for step in range(STEPS)]).reshape(4, -1)
    for rows in epochs:
        assert len(set(rows)) == 24
    # In another order, and without others.
    assert len({tuple(rows) for rows in epochs}) == 4
    assert len({tuple(sorted(rows)) for rows in epochs}) == 4


def test_fewer_images_than_a_batch_are_a_batch():
    few = Batches(Examples(lambda rows: rows, TARGETS[:5]), SIZE, SEED, 2)
    assert [sorted(few[step][0]) for step in range(2)] == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize("make", [batches, mixed])
def test_a_batch_is_that_of_its_number(make):
    expected = [make()[step] for step in range(STEPS)]
    one, later = make(), make(first=5)
    for step in (11, 0, 7, 7, 5):
        assert_equal(one[step], expected[step])
    assert len(later) == STEPS - 5
    for step in range(len(later)):
        assert_equal(later[step], expected[5 + step])
    other = batches(seed=[7, 2])
    assert set(other[0][0]) != set(batches()[0][0])


def test_balanced_sampling_draws_every_class_as_often():
    shares = balanced_shares(TARGETS)
    drawn = batches(steps=3000, shares=shares)
    counts = sum(drawn[step][1].sum(axis=0) for step in range(3000))
    # Six standard deviations of a share of 24,000.
    np.testing.assert_allclose(counts / counts.sum(), 1 / 3, atol=0.02)
    plain = sum(batches()[step][1].sum(axis=0) for step in range(STEPS))
    assert plain[0] / plain.sum() > 0.75


def test_class_weights_are_those_of_scikit_learn():
    weights = class_weights(TARGETS)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=CLASSES)
    np.testing.assert_allclose(weights, expected[CLASSES], rtol=1e-6)
    rows, _, received = batches(weights=weights)[3]
    np.testing.assert_array_equal(received, weights[rows])


# What CutMix pastes begins and ends between pixels: less than one more or less a side.
@pytest.mark.parametrize(
    ("layer", "error"), [(layers.MixUp, 1e-4), (layers.CutMix, 2 / 48)]
)
def test_labels_are_mixed_as_the_images_are(layer, error):
    several = batches(colors, mixing=[layer()])
    shares = []
    for step in range(STEPS):
        images, labels = several[step]
        # An image's mean color is the mixture of classes that it shows.
        seen = images.mean(axis=(1, 2)) / 255
        np.testing.assert_allclose(seen, labels, atol=error)
        shares.append(labels.max(axis=1).min())
    assert min(shares) < 0.9


def test_threads_give_the_same_batches_in_order():
    names = set()

    def slow(rows):
        names.add(threading.current_thread().name)
        time.sleep(0.02 if rows[0] % 2 else 0)
        return colors(rows)

    inputs = keras.Input((48, 48, 3))
    echo = keras.Model(inputs, layers.Identity()(inputs))
    several = batches(slow, mixing=[layers.MixUp()], workers=4)
    received = echo.predict(several, verbose=0)
    one = batches(colors, mixing=[layers.MixUp()])
    expected = np.concatenate([one[step][0] for step in range(STEPS)])
    np.testing.assert_array_equal(received, expected)
    assert len(names) > 1
