import dataclasses
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from keras_fer.labels import LABELS
from tests.tfds_builders.drawn_faces import build, ck_plus, examples, left_over
from tfds_builders.ck_plus.ck_plus_dataset_builder import Builder

SEQUENCES = {"fold_0": 2} | {f"fold_{i}": 1 for i in range(1, 10)}
CODES = "anger contempt disgust fear happiness sadness surprise".split()


def names(corrupted):
    """Number of images a sequence -> names of the configs that take as many."""
    return {
        count: [
            config.name
            for config in Builder.BUILDER_CONFIGS
            if config.frames + config.neutral == count
            and (config.family is not None) == corrupted
        ]
        for count in (1, 2, 3, 4)
    }


@pytest.mark.medium
class TestLast(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = names(False)[1]
    SPLITS = SEQUENCES


@pytest.mark.slow
class TestLastNeutral(TestLast):
    BUILDER_CONFIG_NAMES_TO_TEST = names(False)[2]
    SPLITS = {fold: 2 * count for fold, count in SEQUENCES.items()}


@pytest.mark.slow
class TestLast3(TestLast):
    BUILDER_CONFIG_NAMES_TO_TEST = names(False)[3]
    SPLITS = {fold: 3 * count for fold, count in SEQUENCES.items()}


@pytest.mark.slow
class TestLast3Neutral(TestLast):
    BUILDER_CONFIG_NAMES_TO_TEST = names(False)[4]
    SPLITS = {fold: 4 * count for fold, count in SEQUENCES.items()}


@pytest.mark.slow
class TestLastCorrupted(TestLast):
    BUILDER_CONFIG_NAMES_TO_TEST = names(True)[1]


@pytest.mark.slow
class TestLastNeutralCorrupted(TestLastNeutral):
    BUILDER_CONFIG_NAMES_TO_TEST = names(True)[2]


@pytest.mark.slow
class TestLast3Corrupted(TestLast3):
    BUILDER_CONFIG_NAMES_TO_TEST = names(True)[3]


@pytest.mark.slow
class TestLast3NeutralCorrupted(TestLast3Neutral):
    BUILDER_CONFIG_NAMES_TO_TEST = names(True)[4]


@pytest.fixture
def root(tmp_path):
    return ck_plus(tmp_path / "manual")


def joined(builder):
    return {
        id: one for split in examples(builder).values() for id, one in split.items()
    }


def test_emotion_files_give_the_labels(root, tmp_path):
    found = joined(build(Builder, tmp_path))
    # The unlabeled S082 is not among them.
    assert sorted(found) == [f"S{5 + 7 * i:03d}_001_00000005" for i in range(11)]
    for i, id in enumerate(sorted(found)):
        assert LABELS[found[id]["label"]] == CODES[i % 7]
        assert found[id]["original_label"] == 1 + i % 7
        assert found[id]["subject"].decode() == id[:4]
        assert found[id]["frame"] == 5


def test_frames_and_neutral(root, tmp_path):
    found = joined(build(Builder, tmp_path, "last3_neutral"))
    assert {
        one["frame"]: (LABELS[one["label"]], one["original_label"])
        for id, one in found.items()
        if id.startswith("S012")
    } == {
        1: ("neutral", 0),
        3: ("contempt", 2),
        4: ("contempt", 2),
        5: ("contempt", 2),
    }


def test_pixels_are_gray_and_landmarks_fractions(root, tmp_path):
    found = joined(build(Builder, tmp_path))
    for id in ("S005_001_00000005", "S026_001_00000005"):  # the second is in color
        path = root / "cohn-kanade-images" / id[:4] / "001" / f"{id}.png"
        with Image.open(path) as image:
            gray = np.asarray(image.convert("L"))
        np.testing.assert_array_equal(found[id]["image"][..., 0], gray)
        path = root / "Landmarks" / id[:4] / "001" / f"{id}_landmarks.txt"
        pixels = [[float(word) for word in line.split()] for line in path.open()]
        np.testing.assert_allclose(
            found[id]["landmarks"] * (32, 24), pixels, rtol=0, atol=1e-4
        )
        assert 0 < found[id]["landmarks"].min() < found[id]["landmarks"].max() < 1


@pytest.mark.medium
def test_no_subject_is_in_two_folds(root, tmp_path):
    splits = examples(build(Builder, tmp_path, "last3_neutral"))
    subjects = [
        {example["subject"] for example in found.values()} for found in splits.values()
    ]
    assert subjects[0] == {b"S005", b"S075"}
    assert sum(map(len, subjects)) == len(set().union(*subjects)) == 11


def test_without_contempt(root, tmp_path):
    config = dataclasses.replace(
        Builder.builder_configs["last_neutral"], name="seven", classes=7
    )
    builder = build(Builder, tmp_path, config)
    assert builder.info.features["label"].names == list(LABELS[:7])
    assert builder.info.metadata["skipped"] == {
        "contempt is not among the classes": {
            "count": 2,
            "first": ["S012_001_00000005", "S061_001_00000005"],
        }
    }


def test_what_cannot_be_used_is_skipped_and_counted(root, tmp_path):
    def sequence(folder, number):
        return root / folder / f"S{number:03d}" / "001"

    def emotion(number):
        return next(sequence("Emotion", number).iterdir())

    # In the first fold, beside S075, which is left as it is: no fold gets empty.
    emotion(5).write_text("   1.0 2.0\n")
    landmarks = {}
    for i in range(7):
        new = f"S005_00{2 + i}"
        for folder in ("cohn-kanade-images", "Emotion", "Landmarks"):
            shutil.copytree(
                sequence(folder, 12), root / folder / "S005" / new.split("_")[1]
            )
            for path in (root / folder / "S005" / new.split("_")[1]).iterdir():
                path.rename(path.with_name(path.name.replace("S012_001", new)))
        landmarks[i] = (
            root / "Landmarks" / "S005" / f"00{2 + i}" / f"{new}_00000005_landmarks.txt"
        )
    images = root / "cohn-kanade-images" / "S005"
    (root / "Emotion/S005/002/S005_002_00000005_emotion.txt").write_text("9.0\n")
    (root / "Emotion/S005/003/S005_003_00000005_emotion.txt").write_text("1.5\n")
    lines = landmarks[2].read_text().splitlines()
    landmarks[2].write_text("\n".join([lines[0] + " 3.0", *lines[1:]]))
    landmarks[3].write_text("\n".join(lines[1:]))
    (images / "006" / "S005_006_00000005.png").unlink()
    path = images / "007" / "S005_007_00000005.png"
    path.write_bytes(path.read_bytes()[:70])
    shutil.rmtree(images / "008")
    builder = build(Builder, tmp_path)
    skipped = builder.info.metadata["skipped"]
    assert {
        reason.partition(" (")[0]: one["first"] for reason, one in skipped.items()
    } == {
        "emotion file has no single integer": [
            "S005_001_00000005_emotion.txt",
            "S005_003_00000005_emotion.txt",
        ],
        "label 9 outside the codes": ["S005_002_00000005"],
        "landmarks are not 68 lines of x and y": [
            "S005_004_00000005",
            "S005_005_00000005",
        ],
        "image is missing": ["S005_006_00000005", "S005_008_00000005"],
        "image is damaged": ["S005_007_00000005"],
    }
    assert builder.info.splits.total_num_examples == 10


def test_a_sequence_too_short(root, tmp_path):
    for frame in (1, 2):
        name = f"S075_001_{frame:08d}.png"
        (root / "cohn-kanade-images" / "S075" / "001" / name).unlink()
    skipped = build(Builder, tmp_path, "last3_neutral").info.metadata["skipped"]
    assert skipped == {"sequence is too short": {"count": 1, "first": ["S075_001"]}}


def test_nothing_is_left_of_a_build_that_fails(root, tmp_path):
    shutil.rmtree(root / "Emotion" / "S005")
    shutil.rmtree(root / "Emotion" / "S012")
    with pytest.raises(ValueError, match="at least 10 subjects, got 9"):
        build(Builder, tmp_path)
    shutil.rmtree(root / "Emotion")
    with pytest.raises(FileNotFoundError, match="no folder .*/Emotion. Ask for CK"):
        build(Builder, tmp_path)
    assert left_over(tmp_path) == []
