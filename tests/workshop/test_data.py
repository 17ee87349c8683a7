import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from keras_fer.labels import LABELS
from tests.tfds_builders import write_fer2013
from tfds_builders.fer2013.fer2013_dataset_builder import Builder as Fer2013
from tfds_builders.ferplus.ferplus_dataset_builder import Builder as Ferplus
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
    assert faces.scored[:4].tolist() == [True, False, False, True]
    np.testing.assert_allclose(faces.targets.sum(axis=1), 1)


def test_fer2013_codes_are_mapped_by_name(folder):
    faces = data.fer2013(folder, "train")
    names = [faces.labels[index] for index in faces.classes[:7]]
    assert names == "anger disgust fear happiness sadness surprise neutral".split()


def test_copies_of_an_image_stay_on_one_side(folder):
    faces = data.fer2013(folder, "train")
    kept, held = data.hold_out(faces, one_in=3)
    assert len(kept) + len(held) == 60 and 0 < len(held) < 60
    assert not data.occurs_in(held.images, kept.images).any()
    assert data.occurs_in(kept.images, faces.images).all()


@pytest.fixture(scope="module")
def copies():
    """600 smooth images, each with a re-encoded and a brightened copy and a twin."""
    coarse = np.random.default_rng(0).integers(30, 220, (600, 9, 9)).astype("uint8")
    originals = np.stack(
        [Image.fromarray(each).resize((48, 48), Image.BICUBIC) for each in coarse]
    )
    encoded = []
    for image in originals:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=70)
        encoded.append(np.asarray(Image.open(buffer)))
    brighter = np.clip(originals * 0.8 + 30, 0, 255).astype("uint8")
    images = np.concatenate([originals, np.stack(encoded), brighter, originals])
    return images[..., None]


def faces_of(images):
    number = len(images)
    targets = np.tile(np.eye(7, dtype="float32")[0], (number, 1))
    rows = np.arange(number)
    return data.Faces(images, targets, np.ones(number, bool), rows, LABELS[:7])


def held_out(faces, **options):
    """Whether each image is held out, `(N,)`, in the order of `rows`."""
    kept, held = data.hold_out(faces, **options)
    both = np.concatenate([kept.rows, held.rows])
    np.testing.assert_array_equal(np.sort(both), np.arange(len(faces)))
    result = np.zeros(len(faces), bool)
    result[held.rows] = True
    return result


def test_near_duplicates_stay_on_one_side(copies):
    sides = held_out(faces_of(copies)).reshape(4, -1)
    np.testing.assert_array_equal(sides, np.tile(sides[0], (4, 1)))
    # About one in twelve: 50 of 600, give or take four standard deviations.
    assert 22 < sides[0].sum() < 78
    # Without it, only the twins stay together.
    exact = held_out(faces_of(copies), duplicates="exact").reshape(4, -1)
    np.testing.assert_array_equal(exact[3], exact[0])
    for other in exact[1:3]:
        assert (other != exact[0]).sum() > 30


@pytest.mark.parametrize("duplicates", data.DUPLICATES)
def test_the_part_of_an_image_does_not_depend_on_its_position(copies, duplicates):
    faces = faces_of(copies)
    sides = held_out(faces, duplicates=duplicates)
    np.testing.assert_array_equal(held_out(faces, duplicates=duplicates), sides)
    order = np.random.default_rng(1).permutation(len(copies))
    moved = held_out(faces_of(copies[order]), duplicates=duplicates)
    np.testing.assert_array_equal(moved, sides[order])


def test_unknown_duplicates_are_refused(copies):
    message = "duplicates must be one of near, exact, got 'same'"
    with pytest.raises(ValueError, match=message):
        data.hold_out(faces_of(copies[:5]), duplicates="same")


def test_missing_data_say_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no train.npz"):
        data.fer2013(tmp_path, "train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": np.zeros((60, 32, 32), "uint8")},
            r"got uint8 of shape \(60, 32, 32\)",
        ),
        ({"images": np.zeros((60, 48, 48))}, "must be uint8 .* got float64"),
        (
            {"label": np.zeros(59, int)},
            r"label .* shape \(60,\), .* got int64 of shape \(59,\)",
        ),
        ({"label": np.full(60, 7)}, "codes from 0 to 6, got 7 to 7"),
        ({"label": None}, "images and label cannot be read"),
        (
            {"ferplus": np.zeros((60, 8), int)},
            r"ferplus .* \(60, 10\), .* of shape \(60, 8\)",
        ),
        ({"ferplus": None}, "images and ferplus cannot be read"),
    ],
)
def test_other_arrays_are_refused(folder, changes, message):
    with np.load(folder / "train.npz") as file:
        arrays = {**file, **changes}
    arrays = {name: value for name, value in arrays.items() if value is not None}
    np.savez(folder / "train.npz", **arrays)
    dataset = "ferplus" if "ferplus" in changes else "fer2013"
    with pytest.raises(ValueError, match=message):
        data.open_split(dataset, folder, "train")


def test_damaged_arrays_are_refused(folder):
    path = folder / "train.npz"
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ValueError, match="cannot be read from .*train.npz.*damaged"):
        data.open_split("fer2013", folder, "train")


def test_landmarks_of_other_images_are_refused(folder):
    path = folder / "train_landmarks.npz"
    with pytest.raises(FileNotFoundError, match="has no train_landmarks.npz"):
        data.open_split("fer2013", folder, "train", landmarks=True)
    points = np.random.default_rng(0).random((60, 68, 2))
    np.savez(path, landmarks=points, valid=np.arange(60) > 0)
    faces = data.open_split("ferplus", folder, "train", landmarks=True)
    np.testing.assert_allclose(faces.landmarks[1:], points[faces.rows[1:]], rtol=1e-6)
    assert np.isnan(faces.landmarks[0]).all()
    np.savez(path, landmarks=points[1:], valid=np.ones(59, bool))
    with pytest.raises(ValueError, match=r"\(60, 68, 2\) .* got \(59, 68, 2\)"):
        data.open_split("ferplus", folder, "train", landmarks=True)


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """The same drawn faces as arrays, and as datasets that TFDS has built of a csv."""
    folder = tmp_path_factory.mktemp("twice")
    rng = np.random.default_rng(0)
    images = write_fer2013.draw(60)
    label = (np.arange(60) % 7).astype("uint8")
    votes = rng.multinomial(10, [0.4, 0.2, 0.1, 0.1, 0.05, 0, 0, 0, 0.1, 0.05], 60)
    usages = np.repeat(["Training", "PublicTest"], [45, 15])
    for usage, split in (("Training", "train"), ("PublicTest", "public_test")):
        mine = usages == usage
        parts = {"images": images, "label": label, "ferplus": votes}
        parts = {name: value[mine] for name, value in parts.items()}
        np.savez(folder / f"{split}.npz", **parts)
    write_fer2013.write_faces(folder / "fer2013.csv", images, label, usages)
    write_fer2013.write_votes(folder / "fer2013new.csv", votes, usages)
    for builder, config in ((Fer2013, None), (Ferplus, "votes")):
        builder(
            data_dir=folder / "built", config=config, file_format="array_record"
        ).download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=folder)
        )
    return folder


def assert_same_faces(received, expected):
    """As sets: TFDS shuffles what it builds."""
    assert received.labels == expected.labels and len(received) == len(expected)
    images = [faces.images[:].reshape(len(faces), -1) for faces in (received, expected)]
    orders = [np.lexsort(each.T) for each in images]
    np.testing.assert_array_equal(images[0][orders[0]], images[1][orders[1]])
    for name in ("targets", "scored"):
        np.testing.assert_array_equal(
            getattr(received, name)[orders[0]], getattr(expected, name)[orders[1]]
        )


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("split", ["train", "public_test"])
@pytest.mark.parametrize("dataset", ["fer2013", "ferplus"])
def test_tfds_gives_what_the_arrays_give(twice, monkeypatch, dataset, split, lazy):
    if lazy:
        monkeypatch.setattr(data, "MEMORY", 0)
    built = data.open_split(dataset, f"tfds:{twice / 'built'}", split)
    assert isinstance(built.images, data.LazyImages) == lazy
    arrays = data.open_split(dataset, twice, split)
    if dataset == "ferplus":
        assert 0 < arrays.scored.sum() < len(arrays)
    assert_same_faces(built, arrays)
    for duplicates in data.DUPLICATES:
        parts = (data.hold_out(each, 4, duplicates) for each in (built, arrays))
        for one, other in zip(*parts, strict=True):
            assert len(one)
            assert_same_faces(one, other)


def test_unread_images_are_as_read_ones(twice, monkeypatch):
    source = f"tfds:{twice / 'built'}"
    read = data.open_split("fer2013", source, "train+public_test")
    monkeypatch.setattr(data, "MEMORY", 0)
    unread = data.open_split("fer2013", source, "train+public_test")
    assert unread.images.shape == read.images.shape == (60, 48, 48, 1)
    # In the order of the rows asked for, across both sources, twice selected.
    rows = np.array([59, 3, 3, 44, 45])
    np.testing.assert_array_equal(unread.images[rows], read.images[rows])
    np.testing.assert_array_equal(unread[rows].images[1:3], read[rows].images[1:3])
    np.testing.assert_array_equal(
        unread[read.classes == 2].rows, read[read.classes == 2].rows
    )
    smaller = data.LazyImages(unread.images.sources, 24)
    assert smaller.shape == (60, 24, 24, 1) and smaller[:2].dtype == "uint8"


def test_what_tfds_cannot_read_is_named(twice):
    source = f"tfds:{twice / 'built'}"
    with pytest.raises(FileNotFoundError, match="masked is not prepared .*tfds build"):
        data.open_split("fer2013/masked", source, "train")
    with pytest.raises(ValueError, match="must name splits of fer2013, .*train"):
        data.open_split("fer2013", source, "train+validation")
    with pytest.raises(ValueError, match="has no landmarks"):
        data.open_split("fer2013", source, "train", landmarks=True)


@pytest.mark.slow
def test_published_counts_of_the_real_data(real_data):
    test = data.ferplus(real_data, "public_test")
    assert test.scored.sum() == 3199
    test = data.fer2013(real_data, "public_test")
    assert np.bincount(test.classes).tolist() == [607, 895, 415, 653, 467, 56, 496]
    train = data.fer2013(real_data, "train")
    assert data.occurs_in(test.images, train.images).sum() == 280
