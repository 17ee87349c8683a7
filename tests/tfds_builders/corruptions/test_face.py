import numpy as np
import tensorflow_datasets as tfds

from tests.tfds_builders.corruptions.drawn import ALL, face
from tfds_builders import corruptions


def test_landmarks_that_are_none_count_as_none():
    image = face(48, 1)
    without, _ = corruptions.apply(image, "x", "masked")
    for landmarks in (
        np.zeros((68, 2)),
        np.full((5, 2), np.nan),
        np.random.default_rng(0).random((37, 2)),
    ):
        result, _ = corruptions.apply(image, "x", "masked", landmarks=landmarks)
        np.testing.assert_array_equal(result, without)


def test_a_face_outside_of_the_image_is_left_alone():
    image = face(48, 1)
    box = tfds.features.BBox(ymin=2.0, xmin=2.0, ymax=3.0, xmax=3.0)
    for family, kind in ALL[:6]:
        result, _ = corruptions.apply(image, "x", family, kind, bbox=box)
        if kind not in ("half_left", "half_right"):
            np.testing.assert_array_equal(result, image)
