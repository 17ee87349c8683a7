import math

import numpy as np
import pytest
from PIL import Image

from keras_fer.faces import Face, crop, detect

LEVEL = ((4.0, 5.0), (8.0, 5.0), (6.0, 7.0), (4.0, 9.0), (8.0, 9.0))


@pytest.fixture
def gradient():
    """Every pixel differs from every other."""
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows * 6, columns * 4, rows + columns], -1).astype(np.uint8)


@pytest.mark.parametrize("landmarks", [None, LEVEL])
@pytest.mark.parametrize(
    ("box", "margin", "rows", "columns"),
    [
        ((10, 12, 20, 20), 0.0, (12, 32), (10, 30)),
        ((10, 12, 15, 15), 0.0, (12, 27), (10, 25)),
        ((10, 8, 10, 20), 0.0, (8, 28), (5, 25)),
        ((20, 12, 10, 10), 0.5, (7, 27), (15, 35)),
        ((10, 12, 20, 20), -0.25, (17, 27), (15, 25)),
    ],
)
def test_upright_crop_is_a_slice(gradient, box, margin, rows, columns, landmarks):
    face = Face(box, "mtcnn", landmarks=landmarks)
    expected = gradient[slice(*rows), slice(*columns)]
    np.testing.assert_array_equal(crop(gradient, face, margin), expected)


def test_outside_repeats_the_border(gradient):
    padded = np.pad(gradient, ((10, 10), (10, 10), (0, 0)), mode="edge")
    for x, y in ((0, 0), (40, 20)):
        face = Face((x, y, 20, 20), "haar")
        expected = padded[y : y + 40, x : x + 40]
        np.testing.assert_array_equal(crop(gradient, face, 0.5), expected)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_crop_is_turned_back(gradient, turns):
    square = gradient[:40, :40]
    turned = np.rot90(square, turns)
    # The eyes of a face in the square, turned with it (counter-clockwise).
    angle = -turns * math.pi / 2
    across = np.array([math.cos(angle), math.sin(angle)])
    eyes = [tuple(np.array([20.0, 20.0]) + sign * 5 * across) for sign in (-1, 1)]
    face = Face((10, 10, 20, 20), "mtcnn", landmarks=(*eyes, *LEVEL[2:]))
    np.testing.assert_array_equal(crop(turned, face, 0.0), square[10:30, 10:30])
    upright = crop(turned, face, 0.0, align=False)
    np.testing.assert_array_equal(upright, turned[10:30, 10:30])


def test_face_in_profile_is_not_turned(gradient):
    face = Face((10, 10, 20, 20), "mtcnn", landmarks=((20, 15), (20, 17), *LEVEL[2:]))
    np.testing.assert_array_equal(crop(gradient, face, 0.0), gradient[10:30, 10:30])


def test_picture_larger_than_opencv_takes(gradient):
    wide = np.tile(gradient, (1, 600, 1))  # 36,000 pixels wide.
    face = Face((35_000, 10, 20, 20), "haar")
    np.testing.assert_array_equal(crop(wide, face, 0.0), wide[10:30, 35_000:35_020])


def test_level_eyes_on_a_leaning_photo(portrait):
    leaning = np.array(Image.fromarray(portrait).rotate(25))
    (face,) = detect(leaning, "mtcnn")

    def tilt(image):
        (found,) = detect(image, "mtcnn")
        left, right = np.array(found.landmarks[:2])
        return abs(math.degrees(math.atan2(*(right - left)[::-1])))

    assert tilt(crop(leaning, face, 0.4, align=False)) > 15
    assert tilt(crop(leaning, face, 0.4)) < 5


def test_bad_margin(gradient):
    for margin in (-0.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="margin"):
            crop(gradient, Face((10, 10, 20, 20), "haar"), margin)
