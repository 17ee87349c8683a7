import keras
import numpy as np
import pytest

from keras_fer.training import landmark_heatmap
from keras_fer.training.heatmaps import (
    INNER_LANDMARKS,
    average_heatmap,
    check_heatmap,
)


def plain(landmarks, height, width, sigma, fine=40):
    """One Gaussian a landmark on a fine grid, averaged over every place."""
    y = (np.arange(height * fine) + 0.5) / (height * fine)
    x = (np.arange(width * fine) + 0.5) / (width * fine)
    total = np.zeros((height, width))
    for u, v in landmarks:
        gaussian = np.exp(
            -((y[:, None] - v) ** 2 + (x[None] - u) ** 2) / (2 * sigma**2)
        )
        total += gaussian.reshape(height, fine, width, fine).mean(axis=(1, 3))
    return total / total.max()


@pytest.mark.parametrize("size", [6, 14, (5, 9)])
@pytest.mark.parametrize("sigma", [3 / 224, 0.05, 0.3])
def test_equals_gaussians_on_a_fine_grid(size, sigma):
    landmarks = np.random.default_rng(0).random((3, 4, 2))
    heatmap = np.asarray(landmark_heatmap(landmarks, size, sigma))
    height, width = (size, size) if np.ndim(size) == 0 else size
    assert heatmap.shape == (3, height, width) and heatmap.dtype == "float32"
    for points, values in zip(landmarks, heatmap, strict=True):
        expected = plain(points, height, width, sigma)
        np.testing.assert_allclose(values, expected, atol=2e-3)
        assert values.max() == pytest.approx(1, abs=1e-6) and values.min() >= 0


def test_no_landmark_falls_between_the_places():
    """Where it lies within its place hardly matters, however thin the Gaussian."""
    points = np.array([[[0.25, 0.25], [0.55, 0.85]]])  # a center and a corner of two
    heatmap = np.asarray(landmark_heatmap(points, 2, sigma=0.01))[0]
    np.testing.assert_allclose(heatmap, [[1, 0], [0, 1]], atol=1e-3)


def test_missing_landmarks_are_left_out():
    points = np.random.default_rng(0).random((3, 5, 2))
    some = points.copy()
    some[0, 2] = np.nan
    some[1, 2, 0] = np.nan
    some[2] = np.nan
    heatmap = np.asarray(landmark_heatmap(some, 8))
    without = np.delete(points[:2], 2, axis=1)
    np.testing.assert_allclose(heatmap[:2], landmark_heatmap(without, 8), atol=1e-6)
    assert not heatmap[2].any()


def test_landmarks_outside_the_image_leave_no_trace():
    points = np.array([[[0.5, 1.4]], [[-0.3, 0.2]], [[0.5, 0.5]]])
    heatmap = np.asarray(landmark_heatmap(points, 8))
    assert heatmap.max(axis=(1, 2)).tolist() == [0, 0, 1]


def plain_average(heatmap, height, width):
    """Each position in turn, pixel by pixel, weighted by the area they share."""
    old_height, old_width = heatmap.shape
    result = np.zeros((height, width))
    for i, j in np.ndindex(height, width):
        top, left = i * old_height / height, j * old_width / width
        bottom, right = top + old_height / height, left + old_width / width
        for y, x in np.ndindex(old_height, old_width):
            shared_height = max(0, min(bottom, y + 1) - max(top, y))
            shared_width = max(0, min(right, x + 1) - max(left, x))
            result[i, j] += heatmap[y, x] * shared_height * shared_width
    return result * height * width / (old_height * old_width)


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (1, 1), (16, 12), (20, 15)])
def test_heatmaps_are_averaged_over_the_area_of_each_position(size):
    heatmap = np.random.default_rng(0).random((2, 16, 12)).astype("float32")
    received = np.asarray(average_heatmap(heatmap, size))
    assert received.shape == (2, *size) and received.dtype == "float32"
    for each, average in zip(heatmap, received, strict=True):
        np.testing.assert_allclose(average, plain_average(each, *size), atol=1e-6)
    compiled = keras.Sequential(
        [
            keras.Input((None, None)),
            keras.layers.Lambda(lambda x: average_heatmap(x, size)),
        ]
    )
    np.testing.assert_allclose(
        compiled.predict(heatmap, verbose=0), received, atol=1e-6
    )


@pytest.mark.parametrize("sigma", [3 / 224, 0.08])
def test_an_average_is_the_heatmap_drawn_at_the_smaller_size(sigma):
    landmarks = np.random.default_rng(0).random((3, 51, 2))
    average = np.asarray(
        average_heatmap(landmark_heatmap(landmarks, 48, sigma), (6, 6))
    )
    average = average / average.max(axis=(1, 2), keepdims=True)
    expected = landmark_heatmap(landmarks, 6, sigma)
    np.testing.assert_allclose(average, expected, atol=1e-5)


def test_inner_landmarks_are_51_without_the_jaw():
    assert len(range(68)[INNER_LANDMARKS]) == 51 and range(68)[INNER_LANDMARKS][0] == 17


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((4, 2)), 8), r"landmarks must .*got \(4, 2\)"),
        ((np.zeros((1, 4, 3)), 8), r"landmarks must .*got \(1, 4, 3\)"),
        ((np.zeros((1, 4, 2)), 0), "size must be .*got 0"),
        ((np.zeros((1, 4, 2)), (8, 2.5)), r"size must be .*got \(8, 2.5\)"),
        ((np.zeros((1, 4, 2)), 8, 0), "sigma must be positive, got 0"),
    ],
)
def test_other_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        landmark_heatmap(*arguments)


@pytest.mark.parametrize("value", [-0.1, np.nan, np.inf])
def test_what_is_no_heatmap_is_refused(value):
    heatmap = np.zeros((4, 3, 3), "float32")
    check_heatmap(heatmap)
    heatmap[2, 1, 1] = value
    with pytest.raises(ValueError, match="in 1 of 4 heatmaps, the first at index 2"):
        check_heatmap(heatmap)
