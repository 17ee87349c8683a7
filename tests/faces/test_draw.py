import numpy as np
import pytest
from PIL import Image

from keras_fer.faces import Face, ImageError, draw, overlay
from keras_fer.faces.draw import draw_resized

HAPPY = {"happiness": 0.98, "neutral": 0.02}


@pytest.mark.parametrize("size", [(1, 1), (60, 40), (640, 480), (3000, 2000)])
def test_draws_on_a_copy_of_any_size(size):
    image = np.full((size[1], size[0], 3), 127, np.uint8)
    width, height = (max(1, side // 2) for side in size)
    boxes = [(0, 0), (size[0] - width, size[1] - height)]
    faces = [Face((*at, width, height), "haar", probabilities=HAPPY) for at in boxes]
    result = draw(image, faces)
    assert result.shape == image.shape and result.dtype == np.uint8
    assert (image == 127).all()
    assert (result != 127).any()


def test_box_without_caption_changes_its_border_only():
    image = np.full((100, 100, 3), 127, np.uint8)
    changed = (draw(image, [Face((20, 30, 40, 50), "haar")]) != image).any(-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max()) == (30, 79)
    assert (columns.min(), columns.max()) == (20, 59)
    assert not changed[35:75, 25:55].any()


@pytest.mark.parametrize("box", [(20, 0, 60, 60), (150, 100, 48, 48), (0, 80, 60, 60)])
def test_caption_is_whole(box):
    """The caption's plate is as large at the border as in the middle."""

    def ink(box):
        image = np.full((160, 200, 3), 127, np.uint8)
        plain = draw(image, [Face(box, "haar")])
        named = draw(image, [Face(box, "haar", probabilities=HAPPY)])
        white = (named == 255).all(-1)
        assert (plain != named).any()
        return white.sum()

    assert ink(box) == pytest.approx(ink((70, 60, box[2], box[3])), rel=0.1)


@pytest.mark.parametrize("size", [(100, 75), (48, 48), (6000, 4000)])
@pytest.mark.parametrize("share", [0.03, 0.8])
def test_captions_are_legible_at_every_size(size, share):
    """Text is as high as 11 pixels, or a hundredth of the longer side, at least."""
    image = np.full((size[1], size[0], 3), 127, np.uint8)
    side = max(1, round(share * min(size)))
    face = Face((size[0] // 8, size[1] // 8, side, side), "haar", probabilities=HAPPY)
    white = (draw(image, [face]) > 180).all(-1)
    rows = np.flatnonzero(white.any(axis=1))
    # From the top of an "h" to the bottom of a "p".
    assert rows.max() - rows.min() + 1 >= 0.85 * max(11, max(size) / 80)
    assert white.mean() < 0.3


def test_captions_do_not_hide_each_other():
    def ink(*boxes):
        image = np.full((400, 400, 3), 127, np.uint8)
        faces = [Face(box, "haar", probabilities=HAPPY) for box in boxes]
        return (draw(image, faces) == 255).all(-1).sum()

    near = (100, 100, 40, 60), (130, 105, 40, 60)
    assert ink(*near) == sum(ink(box) for box in near)


def test_drawing_on_another_size():
    image = np.full((50, 100, 3), 127, np.uint8)
    face = Face((20, 10, 40, 30), "haar")
    assert draw_resized(image, [face]).shape == image.shape
    large = draw_resized(image, [face], least=400)
    assert large.shape == (200, 400, 3)
    np.testing.assert_array_equal(
        large, draw(large * 0 + 127, [Face((80, 40, 160, 120), "haar")])
    )
    assert draw_resized(image, [face], most=10).shape == (5, 10, 3)


def test_no_faces():
    image = np.asarray(Image.new("RGB", (10, 10), "red"))
    np.testing.assert_array_equal(draw(image, []), image)


SIDES = (14, 12)


def noise(number, channels=3):
    shape = (number, *SIDES, channels)
    return np.random.default_rng(0).integers(0, 256, shape).astype("float32")


def test_overlay_changes_nothing_where_the_map_is_zero():
    image = noise(1)[0].astype("uint8")
    heat = np.zeros(SIDES, "float32")
    np.testing.assert_array_equal(overlay(image, heat), image)
    heat[3, 4], heat[5, 6] = 1, 0.5
    result = overlay(image, heat, opacity=0.6)
    assert result.shape == image.shape and result.dtype == np.uint8
    changed = (result != image).any(-1)
    assert {*zip(*np.nonzero(changed), strict=True)} == {(3, 4), (5, 6)}
    # Both ends of viridis, and its middle, as Matplotlib documents them.
    yellow, green = np.array([253, 231, 37]), np.array([33, 145, 140])
    np.testing.assert_allclose(
        result[3, 4], 0.4 * image[3, 4] + 0.6 * yellow, rtol=0, atol=1
    )
    np.testing.assert_allclose(
        result[5, 6], 0.7 * image[5, 6] + 0.3 * green, rtol=0, atol=1
    )
    np.testing.assert_array_equal(overlay(image, heat, opacity=0), image)


def test_overlay_takes_gray():
    gray = noise(1, 1)[0]
    result = overlay(gray[..., 0], np.ones(SIDES))
    assert result.shape == (*SIDES, 3)
    np.testing.assert_array_equal(result, overlay(gray, np.ones(SIDES)))


def test_overlay_errors():
    image, heat = noise(1)[0], np.ones(SIDES)
    with pytest.raises(ValueError, match=r"width, \(14, 12\), got \(12, 14\)"):
        overlay(image, heat.T)
    for wrong in (2 * heat, -heat, heat * np.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            overlay(image, wrong)
    for opacity in (-0.1, 1.1):
        with pytest.raises(ValueError, match="opacity"):
            overlay(image, heat, opacity)
    with pytest.raises(ImageError):
        overlay(noise(1), heat)
