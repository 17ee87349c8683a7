import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.tfds_builders.corruptions.drawn import ALL, face, fingerprint
from tfds_builders import corruptions

ROOT = pathlib.Path(__file__).parents[3]


def test_the_public_names():
    assert corruptions.FAMILIES == ("masked", "occluded", "corrupted")
    assert corruptions.SEVERITIES == (1, 2, 3, 4, 5)
    # An open kind is drawn by its position: this order is part of every image.
    assert corruptions.OCCLUSIONS == (
        "eyes",
        "mouth",
        "half_left",
        "half_right",
        "random_block",
        "grid",
        "cutout",
    )
    # The order of Hendrycks and Dietterich.
    assert corruptions.CORRUPTIONS == (
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "defocus_blur",
        "glass_blur",
        "motion_blur",
        "zoom_blur",
        "snow",
        "frost",
        "fog",
        "brightness",
        "contrast",
        "elastic_transform",
        "pixelate",
        "jpeg_compression",
    )


def test_importing_it_imports_nothing_heavy():
    code = (
        "import sys, tfds_builders.corruptions;"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    imported = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "numpy" in imported
    heavy = {"tensorflow", "tensorflow_datasets", "keras", "cv2", "keras_cv", "scipy"}
    assert not heavy & set(imported)


@pytest.mark.parametrize("size, channels", [(48, 1), (100, 3)])
@pytest.mark.parametrize("family, kind", ALL)
def test_all_kinds_change_the_image_alone(family, kind, size, channels):
    image = face(size, channels)
    before = image.copy()
    result, facts = corruptions.apply(image, "a/1.jpg", family, kind)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert (result != image).mean() > 0.005
    np.testing.assert_array_equal(image, before)
    if family == "masked":
        assert facts == {}
    elif family == "occluded":
        assert facts == {"occlusion": kind}
    else:
        assert facts["corruption"] == kind
        assert facts["severity"] in (1, 2, 3, 4, 5)


@pytest.mark.parametrize("shape", [(37, 61, 3), (150, 80, 1)])
@pytest.mark.parametrize("family, kind", ALL)
def test_images_of_any_shape(family, kind, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert corruptions.apply(image, "x", family, kind)[0].shape == shape


@pytest.mark.parametrize("family, kind", ALL)
def test_black_and_white_images_stay_in_range(family, kind):
    for value in (0, 255):
        image = np.full((48, 48, 3), value, np.uint8)
        with np.errstate(all="raise"):
            assert corruptions.apply(image, "x", family, kind)[0].dtype == np.uint8


@pytest.mark.medium
def test_the_same_in_any_order_and_process():
    here = fingerprint()
    assert fingerprint(backwards=True) == here
    code = (
        "from tests.tfds_builders.corruptions.drawn import fingerprint;"
        "print(fingerprint(backwards=True))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


@pytest.mark.parametrize(
    "family, kind",
    [("occluded", "grid"), ("occluded", "cutout"), ("occluded", "random_block")]
    + [("corrupted", "gaussian_noise"), ("corrupted", "frost"), ("corrupted", "snow")],
)
def test_ids_differ(family, kind):
    image = face(48, 1)
    results = {
        corruptions.apply(
            image, f"{n}", family, kind, 3 if family == "corrupted" else None
        )[0].tobytes()
        for n in range(8)
    }
    assert len(results) >= 7


@pytest.mark.medium
def test_the_id_decides_evenly_what_is_left_open():
    image = face(16, 1)
    names = [f"train/{n}.png" for n in range(600)]
    facts = [corruptions.apply(image, name, "corrupted")[1] for name in names]
    kinds = [fact["corruption"] for fact in facts]
    # 40 of each are expected, with a deviation of 6.
    assert all(15 < kinds.count(kind) < 65 for kind in corruptions.CORRUPTIONS)
    severities = [fact["severity"] for fact in facts]
    assert all(80 < severities.count(severity) < 160 for severity in range(1, 6))


def test_what_the_id_decides_can_be_asked_for():
    image = face(48, 1)
    for name in "abcdef":
        left_open, facts = corruptions.apply(image, name, "corrupted")
        asked_for, _ = corruptions.apply(
            image, name, "corrupted", facts["corruption"], facts["severity"]
        )
        np.testing.assert_array_equal(left_open, asked_for)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (
            ("blurred", None, None),
            ["family must be None or one of masked, occluded, corrupted", "'blurred'"],
        ),
        (("masked", "eyes", None), ["kind must be None for family='masked'", "eyes"]),
        ((None, "eyes", None), ["kind must be None for family=None", "eyes"]),
        (("occluded", "fog", None), ["fog", "random_block", "cutout"]),
        (("corrupted", "rain", None), ["rain", "gaussian_noise", "jpeg_compression"]),
        (("corrupted", "fog", 0), ["one of 1, 2, 3, 4, 5, got 0."]),
        (("corrupted", "fog", 6), ["one of 1, 2, 3, 4, 5, got 6."]),
        (("corrupted", "fog", 2.5), ["got 2.5."]),
        (("corrupted", "fog", True), ["got True."]),
        (("occluded", "eyes", 3), ["severity must be None", "'occluded', got 3"]),
    ],
)
def test_check_refuses_and_lists_the_choices(arguments, words):
    with pytest.raises(ValueError) as caught:
        corruptions.check(*arguments)
    for word in words:
        assert word in str(caught.value)


def test_check_accepts_what_there_is():
    corruptions.check(None, None, None)
    for family, kind in ALL:
        corruptions.check(family, kind, None)
        corruptions.check(family, None, None)
    corruptions.check("corrupted", None, 3)
    corruptions.check("corrupted", "fog", 5)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((48, 48), np.uint8),
        np.zeros((48, 48, 4), np.uint8),
        np.zeros((48, 48, 3), np.float32),
    ],
)
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match="image must be uint8 of shape"):
        corruptions.apply(image, "x", "masked")
