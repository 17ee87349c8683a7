import dataclasses
import json
import re

import numpy as np
import pytest

from keras_fer.labels import LABELS
from keras_fer.training import batches
from tests.workshop.train_worker import PLAIN, draw
from zoo import data, evaluate, mixture, train
from zoo.data import Faces
from zoo.recipe import Recipe, Stage

SEVEN = LABELS[:7]


def faces(labels, classes, shape, seed, **options):
    """Random images, whose targets are certain."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (len(classes), *shape), "uint8")
    targets = np.eye(len(labels), dtype="float32")[classes]
    number = np.arange(len(classes))
    return Faces(images, targets, number >= 0, number, tuple(labels), **options)


def test_labels_by_name_and_images_of_one_shape():
    gray = faces(SEVEN, [0, 1, 2], (48, 48, 1), 0)
    color = faces(("contempt", "Sad", "happy"), [0, 1, 2, 1], (20, 30, 3), 1)
    mixed = mixture.mix([gray, color], ["a", "b"], "a", 24)
    # The image of contempt has no label of the first.
    assert mixed.labels == SEVEN and len(mixed) == 6
    names = [SEVEN[place] for place in mixed.classes]
    assert names == [*LABELS[:3], "sadness", "happiness", "sadness"]
    assert mixed.parts.tolist() == [0, 0, 0, 1, 1, 1]
    assert mixed.rows.tolist() == [0, 1, 2, 1, 2, 3]
    assert mixed.images.shape == (6, 24, 24, 3) and mixed.images.dtype == "uint8"
    # Gray stays gray, and what a resized image shows is where it was.
    np.testing.assert_array_equal(mixed.images[:3, ..., 0], mixed.images[:3, ..., 2])
    np.testing.assert_allclose(mixed.images[3].mean(), color.images[1].mean(), atol=4)
    # The other way round, contempt is a label that the second does not have.
    other = mixture.mix([gray, color], ["a", "b"], "b", 24)
    assert other.labels == color.labels and other.classes.tolist() == [2, 0, 1, 2, 1]


def test_soft_labels_are_spread_over_what_is_known():
    soft = faces(LABELS, [1], (4, 4, 1), 0)
    soft.targets[0, :] = [0, 0.6, 0.2, 0, 0, 0, 0, 0.2]
    mixed = mixture.mix([faces(SEVEN, [0], (4, 4, 1), 1), soft], "ab", "a", 4)
    np.testing.assert_allclose(mixed.targets[1], [0, 0.75, 0.25, 0, 0, 0, 0])


def test_images_that_are_not_read_are_the_same(monkeypatch):
    parts = [
        faces(SEVEN, [0, 1], (6, 6, 1), 0),
        faces(SEVEN, [2, 3, 4], (9, 5, 3), 1),
    ]
    read = mixture.mix(parts, "ab", "a", 8)
    monkeypatch.setattr(mixture, "MEMORY", 0)
    lazy = mixture.mix(parts, "ab", "a", 8)
    assert isinstance(lazy.images, mixture.MixedImages)
    assert lazy.images.shape == read.images.shape
    np.testing.assert_array_equal(lazy.images[:], read.images)
    np.testing.assert_array_equal(np.stack(list(lazy.images)), read.images)
    chosen = np.array([4, 0, 2])
    np.testing.assert_array_equal(lazy[chosen].images[1:], read[chosen].images[1:])
    assert lazy[lazy.parts == 1].rows.tolist() == [0, 1, 2]


@pytest.mark.parametrize("balanced", [False, True])
def test_the_weights_are_the_shares_of_what_is_drawn(balanced):
    few = faces(SEVEN, np.arange(14) % 7, (4, 4, 1), 0)
    many = faces(SEVEN, np.minimum(np.arange(90) // 40, 2), (4, 4, 1), 1)
    mixed = mixture.mix([few, many], "ab", "a", 4)
    shares = batches.mixed_shares(mixed.parts, mixed.targets, [1, 3], balanced)
    examples = batches.Examples(lambda rows: rows, mixed.targets, shares=shares)
    drawn = batches.Batches(examples, 52, [0], 400)
    rows = np.concatenate([drawn[step][0] for step in range(400)])
    assert np.mean(mixed.parts[rows] == 1) == pytest.approx(0.75, abs=0.01)
    own = rows[mixed.parts[rows] == 1]
    frequencies = np.bincount(mixed.classes[own], minlength=7) / len(own)
    # 40, 40 and 10 images of three classes; the others of the seven do not occur.
    expected = [1 / 3] * 3 if balanced else [4 / 9, 4 / 9, 1 / 9]
    np.testing.assert_allclose(frequencies, [*expected, 0, 0, 0, 0], atol=0.015)


def test_what_cannot_be_mixed_is_named():
    first = faces(SEVEN, [0, 1], (4, 4, 1), 0)
    other = faces(("calm", "tense"), [0, 1], (4, 4, 1), 1)
    message = "calm cannot be mixed with seven: .* no label in common"
    with pytest.raises(ValueError, match=message):
        mixture.mix([first, other], ["seven", "calm"], "seven", 4)
    other = faces(LABELS, [7, 7], (4, 4, 1), 1)
    with pytest.raises(ValueError, match="b cannot .* has no image with one of the"):
        mixture.mix([first, other], "ab", "a", 4)
    five = faces(SEVEN, [0], (4, 4, 1), 2, landmarks=np.zeros((1, 5, 2)))
    with pytest.raises(ValueError, match="different landmarks"):
        mixture.mix([first, five], "ab", "a", 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixture": {"ferplus": 1.0}}, "must name 'fer2013', .* got ferplus"),
        ({"mixture": {"fer2013": 1.0}}, "and others"),
        ({"mixture": {"fer2013": 1, "ferplus": 0}}, "must be above 0"),
        ({"mixture": {"fer2013": 1, "ferplus": 1}, "train": "folds"}, "with folds"),
    ],
)
def test_mixtures_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAIN, **changes)


@pytest.mark.medium
def test_a_run_on_two_datasets(tmp_path):
    """The same images with two kinds of labels: none of those held out is seen."""
    folder = draw(tmp_path, 120)
    draw(tmp_path, 40, "public_test")
    recipe = Recipe(
        architecture="PAttLite",
        arguments={"grayscale": True},
        dataset="fer2013",
        mixture={"fer2013": 0.5, "ferplus": 0.5},
        stages=(Stage(1, 1e-3, 48, backbone="frozen"),),
        batch=16,
        ema=None,
        name="mixed",
    )
    train.train(recipe, folder, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["recipe"]["mixture"] == recipe.mixture
    parts = [
        data.hold_out(data.open_split(name, folder, "train")) for name in recipe.mixture
    ]
    contempt = [int((part.targets[:, 7:] > 0.5).sum()) for part in parts[1]]
    assert facts["trained_on"] == sum(len(part[0]) for part in parts) - contempt[0]
    assert facts["selected_on"] == sum(len(part[1]) for part in parts) - contempt[1]
    held = np.concatenate([part[1].images for part in parts])
    kept = np.concatenate([part[0].images for part in parts])
    assert len(held) and not data.occurs_in(held, kept).any()
    # Images of either dataset count as duplicates.
    result = evaluate.evaluate(tmp_path / "run", "default", folder)
    assert result["dataset"] == "fer2013" and "without_train" not in result
    assert re.fullmatch("[0-9a-f]{64}", facts["data_sha256"])
