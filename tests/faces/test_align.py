import math

import numpy as np
import pytest
from PIL import Image

from keras_fer.faces import Face, crop, detect, paste_heatmap

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


def test_image_larger_than_opencv_takes(gradient):
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


# === Putting a map back ===


def leaning_face(degrees):
    """A face of 40 pixels whose eyes are turned, clockwise in the image."""
    angle = math.radians(degrees)
    across = np.array([math.cos(angle), math.sin(angle)])
    eyes = [tuple(np.array([70.0, 50.0]) + sign * 10 * across) for sign in (-1, 1)]
    return Face((50, 30, 30, 40), "mtcnn", landmarks=(*eyes, *LEVEL[2:]))


@pytest.mark.parametrize("margin", [-0.1, 0.0, 0.3])
@pytest.mark.parametrize("degrees", [0, 25, -70, 180])
def test_a_spot_of_the_crop_goes_back_where_it_was(degrees, margin):
    face = leaning_face(degrees)
    rows, columns = np.mgrid[:120, :160]
    for x, y in ((60, 44), (68, 52), (65, 50), (72, 55)):
        spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
        cut = crop(255 * spot, face, margin)[..., 0] / 255
        back = paste_heatmap(cut, spot.shape, face, margin)
        assert back.shape == spot.shape and back.dtype == np.float32
        assert np.unravel_index(back.argmax(), back.shape) == (y, x)
        np.testing.assert_allclose(back, spot, atol=0.1)


def test_what_was_not_cropped_is_zero():
    # The longer side of the box, 40, on its center, (65, 50).
    expected = np.zeros((120, 160))
    expected[30:70, 45:85] = 1
    ones, level = np.ones((40, 40)), leaning_face(0)
    np.testing.assert_array_equal(paste_heatmap(ones, (120, 160, 3), level), expected)
    leaning = leaning_face(30)
    upright = paste_heatmap(ones, (120, 160), leaning, align=False)
    np.testing.assert_array_equal(upright, expected)
    turned = paste_heatmap(ones, (120, 160), leaning)
    assert turned.sum() == pytest.approx(1600, rel=0.01)
    rows, columns = np.mgrid[:120, :160]
    distance = np.hypot(rows - 49.5, columns - 64.5)
    assert (turned[distance < 19] == 1).all() and (turned[distance > 30] == 0).all()


@pytest.mark.parametrize("side", [10, 40, 224])
def test_a_map_may_have_another_resolution(side):
    ramp = np.broadcast_to((np.arange(side) + 0.5) / side, (side, side))
    back = paste_heatmap(ramp, (120, 160), leaning_face(0))
    expected = (np.arange(40) + 0.5) / 40
    inside = slice(2, -2) if side < 40 else slice(None)
    np.testing.assert_allclose(
        back[30:70, 45:85][:, inside], np.tile(expected, (40, 1))[:, inside], atol=0.01
    )


def test_what_lay_outside_the_image_is_dropped(gradient):
    for x, y in ((0, 0), (40, 20)):
        face = Face((x, y, 20, 20), "haar")
        heat = np.arange(1600.0).reshape(40, 40)
        whole = np.zeros((60, 80))
        whole[y : y + 40, x : x + 40] = heat
        expected = whole[10:50, 10:70]
        np.testing.assert_array_equal(
            paste_heatmap(heat, (40, 60), face, 0.5), expected
        )


def test_paste_heatmap_on_a_image_larger_than_opencv_takes():
    face = Face((35_000, 10, 20, 20), "haar")
    back = paste_heatmap(np.ones((20, 20)), (40, 36_000), face)
    assert back.sum() == 400 and (back[10:30, 35_000:35_020] == 1).all()


def test_paste_heatmap_errors():
    for heat in (np.ones((20, 10)), np.ones((1, 20, 20)), np.ones((0, 0))):
        with pytest.raises(ValueError, match="Call once per face"):
            paste_heatmap(heat, (120, 160), leaning_face(0))
    with pytest.raises(ValueError, match="margin"):
        paste_heatmap(np.ones((20, 20)), (120, 160), leaning_face(0), -0.5)
