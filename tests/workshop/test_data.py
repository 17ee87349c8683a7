import numpy as np
import pytest

from keras_fer.labels import LABELS
from zoo import data


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 48, 48)).astype("uint8")
    images[30:] = images[:30]
    votes = np.zeros((60, 10), "int16")
    votes[:, 1] = 10
    #           ne ha su sa an di fe co un nf
    votes[0] = [5, 3, 1, 1, 0, 0, 0, 0, 0, 0]  # Single votes fall: 5 of 8.
    votes[1] = [4, 4, 1, 1, 0, 0, 0, 0, 0, 0]  # No winner over half.
    votes[2] = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]  # Nothing left.
    votes[3] = [2, 0, 0, 0, 0, 0, 0, 0, 0, 8]  # Not a face.
    votes[4] = [4, 0, 0, 0, 0, 0, 0, 0, 4, 0]  # First, but not over half.
    label = (np.arange(60) % 7).astype("uint8")
    np.savez(tmp_path / "train.npz", images=images, label=label, ferplus=votes)
    return tmp_path


def test_ferplus_votes_become_soft_labels(folder):
    faces = data.ferplus(folder, "train")
    assert faces.labels == LABELS
    assert len(faces) == 58 and not {2, 3} & set(faces.rows)
    np.testing.assert_allclose(faces.targets[0], np.array([5, 3] + 6 * [0]) / 8)
    np.testing.assert_allclose(faces.targets[2], np.eye(8)[0])
    assert faces.certain[:4].tolist() == [True, False, False, True]
    np.testing.assert_allclose(faces.targets.sum(axis=1), 1)


def test_fer2013_codes_are_mapped_by_name(folder):
    faces = data.fer2013(folder, "train")
    names = [faces.labels[index] for index in faces.classes[:7]]
    assert names == "anger disgust fear happiness sadness surprise neutral".split()


def test_copies_of_a_picture_stay_on_one_side(folder):
    faces = data.fer2013(folder, "train")
    kept, held = data.carve(faces, one_in=3)
    assert len(kept) + len(held) == 60 and 0 < len(held) < 60
    assert not data.occurs_in(held.images, kept.images).any()
    assert data.occurs_in(kept.images, faces.images).all()


def test_missing_data_say_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected it to hold train.npz"):
        data.fer2013(tmp_path, "train")


@pytest.mark.slow
def test_published_counts_of_the_real_data(real_data):
    test = data.ferplus(real_data, "public_test")
    assert test.certain.sum() == 3199
    test = data.fer2013(real_data, "public_test")
    assert np.bincount(test.classes).tolist() == [607, 895, 415, 653, 467, 56, 496]
    train = data.fer2013(real_data, "train")
    assert data.occurs_in(test.images, train.images).sum() == 280
