import numpy as np
import pytest

from tests.tfds_builders.corruptions.drawn import face
from tfds_builders import corruptions

# Their published levels are not in the order of their distance to the image: a level
# with more blur has less of the displacement that a distance of pixels sees.
UNORDERED = ("glass_blur", "elastic_transform")


def distance(kind, image, result):
    a, b = image.astype(float), result.astype(float)
    if kind in ("frost", "fog"):
        # They also lighten a dark and darken a light image, so how much is left of
        # what there was to see tells more than how far the pixels are.
        return 1 - np.corrcoef(a.ravel(), b.ravel())[0, 1]
    return np.sqrt(((a - b) ** 2).mean())


@pytest.mark.medium
@pytest.mark.parametrize("size, channels", [(48, 1), (224, 3)])
@pytest.mark.parametrize("kind", corruptions.CORRUPTIONS)
def test_severity_grows(kind, size, channels):
    image = face(size, channels)
    distances = [
        np.mean(
            [
                distance(
                    kind, image, corruptions.apply(image, id, "corrupted", kind, s)[0]
                )
                for id in "abcdef"
            ]
        )
        for s in corruptions.SEVERITIES
    ]
    assert distances[0] > 0
    if kind in UNORDERED:
        assert len(set(distances)) == 5
        return
    # Some neighboring levels were published as good as equal: motion blur's third and
    # fourth differ in a radius beyond reach, fog's in the clouds' decay.
    steps = np.diff(distances) / distances[:-1]
    assert (steps > -0.06).all()
    assert (steps > 0.01).sum() >= 3
    assert distances[-1] > 1.1 * distances[0]


@pytest.mark.parametrize("kind, deviation", [("gaussian_noise", 0.12)])
def test_noise_is_as_strong_as_published(kind, deviation):
    image = np.full((224, 224, 3), 128, np.uint8)
    noise = corruptions.apply(image, "n", "corrupted", kind, 2)[0].astype(float) - 128
    assert np.std(noise) / 255 == pytest.approx(deviation, rel=0.02)


def test_impulses_are_as_many_as_published():
    image = np.full((48, 48, 1), 128, np.uint8)
    results = [
        corruptions.apply(image, f"{n}", "corrupted", "impulse_noise", 5)[0]
        for n in range(20)
    ]
    assert np.mean(np.array(results) != 128) == pytest.approx(0.07, abs=0.005)


def test_blurs_keep_an_even_image():
    image = np.full((64, 64, 3), 93, np.uint8)
    for kind in ("defocus_blur", "glass_blur", "motion_blur", "elastic_transform"):
        for severity in corruptions.SEVERITIES:
            result, _ = corruptions.apply(image, "x", "corrupted", kind, severity)
            np.testing.assert_allclose(result, image, atol=1)


def test_contrast_and_brightness_by_hand():
    image = np.array([[[40], [80]], [[120], [160]]], np.uint8)
    result, _ = corruptions.apply(image, "x", "corrupted", "contrast", 2)
    np.testing.assert_array_equal(result.ravel(), [70, 90, 110, 130])
    result, _ = corruptions.apply(image, "x", "corrupted", "brightness", 5)
    np.testing.assert_allclose(result.ravel(), image.ravel() + 76.5, atol=1)


def test_brightness_keeps_the_hue():
    image = np.tile(np.uint8([100, 50, 25]), (80, 80, 1))
    result, _ = corruptions.apply(image, "x", "corrupted", "brightness", 2)
    # The value 100 rises by 0.2 * 255.
    np.testing.assert_allclose(result[0, 0], np.array([1, 0.5, 0.25]) * 151, atol=1)
