import warnings

import numpy as np
import pytest

from keras_fer.finetuning.split import assign, divide
from keras_fer.labeled import LabeledImage
from tests.audit.drawn import drawn, jpeg


def items(number=60, subjects=None, split=None):
    return [
        LabeledImage(
            f"{index}.png",
            "abc"[index % 3],
            None if subjects is None else f"s{index % subjects}",
            None if split is None else split(index),
        )
        for index in range(number)
    ]


@pytest.fixture(scope="module")
def faces():
    """Sixty images; the last ten are the first ten as JPEG shows them."""
    images = [drawn(seed) for seed in range(50)]
    return np.stack([*images, *(jpeg(image, 95) for image in images[:10])])


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def labels(given, chosen):
    return [item.label for item, one in zip(given, chosen, strict=True) if one]


def test_duplicates_stay_on_one_side(faces):
    given = items()
    sides = set()
    for seed in range(5):
        with pytest.warns(UserWarning, match="10 images have duplicates with another"):
            held = divide(given, faces, 0.2, None, seed)
        np.testing.assert_array_equal(held[:10], held[50:])
        assert 9 <= held.sum() <= 15
        assert {*labels(given, held)} == {*labels(given, ~held)} == {*"abc"}
        sides.add(held.tobytes())
    assert len(sides) == 5
    with pytest.warns(UserWarning):
        again = divide(given, faces, 0.2, None, 4)
    np.testing.assert_array_equal(again, held)


def test_subjects_stay_on_one_side(faces, no_warnings):
    given = items(48, subjects=8)
    for by in (None, "subject"):
        held = divide(given, faces[:48], 0.25, by, 0)
        out = {item.subject for item, one in zip(given, held, strict=True) if one}
        rest = {item.subject for item, one in zip(given, held, strict=True) if not one}
        assert held.sum() == 12 and len(out) == 2 and not out & rest


def test_files_of_known_subjects_can_be_held_out(faces):
    with pytest.warns(UserWarning, match="subjects are in both parts"):
        held = divide(items(48, subjects=8), faces[:48], 0.25, "file", 0)
    assert held.sum() == 12


def test_what_cannot_be_divided(faces):
    with pytest.raises(ValueError, match="needs to know the subjects"):
        divide(items(48), faces[:48], 0.2, "subject", 0)
    with pytest.raises(ValueError, match="cannot be divided"):
        divide(items(48, subjects=1), faces[:48], 0.2, None, 0)
    # Each class has one subject.
    with pytest.raises(ValueError, match="no training images of"):
        divide(items(48, subjects=3), faces[:48], 0.2, None, 0)


def test_leaks_of_a_given_split_are_named(faces):
    given = assign(items(split=lambda row: "train" if row < 50 else "val"), "x")
    with pytest.warns(UserWarning) as caught:
        held = divide(given, faces, 0.2, None, 0)
    assert held.nonzero()[0].tolist() == list(range(50, 60))
    texts = [str(warning.message) for warning in caught]
    assert any("10 of 10 held-out images have a duplicate" in text for text in texts)
    assert any("such as 50.png and 0.png" in text for text in texts)


def test_a_class_that_is_not_held_out_is_named(faces):
    given = assign(items(48, split=lambda row: "val" if row % 9 == 0 else "train"), "x")
    with pytest.warns(UserWarning, match="no image of b, c is held out"):
        divide(given, faces[:48], 0.2, None, 0)


def test_names_of_splits():
    names = ["Training", "valid", "dev", "test", "private"]
    given = assign(items(10, split=lambda row: names[row % 5]), "x")
    assert [item.split for item in given] == ["train", "val", "val"] * 2
    # Without a split to hold out, it is chosen from those for training.
    given = assign(items(10, split=lambda row: "test" if row % 2 else "train"), "x")
    assert [item.split for item in given] == [None] * 5
    with pytest.raises(ValueError, match="'a', 'b', and none of them begins with"):
        assign(items(4, split=lambda row: "ab"[row % 2]), "x")
