import dataclasses
import itertools
import pathlib
import shutil
import tempfile

import pytest
import tensorflow_datasets as tfds

from keras_fer.labels import LABELS
from tests.tfds_builders.drawn_faces import build, examples, left_over, oulu_casia
from tfds_builders.oulu_casia.oulu_casia_dataset_builder import Builder

SEQUENCES = {"fold_0": 2, "fold_1": 1, "fold_2": 6} | {
    f"fold_{i}": 1 for i in range(3, 10)
}


@pytest.mark.medium
class TestBuilder(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["vl_strong"]
    SPLITS = {fold: 3 * count for fold, count in SEQUENCES.items()}


@pytest.mark.slow
class TestNeutral(TestBuilder):
    BUILDER_CONFIG_NAMES_TO_TEST = [
        config.name for config in Builder.BUILDER_CONFIGS if config.neutral
    ]
    SPLITS = {fold: 4 * count for fold, count in SEQUENCES.items()}


@pytest.mark.slow
class TestOthers(TestBuilder):
    """Over a tree drawn for the test: all six lights would be 480 files."""

    BUILDER_CONFIG_NAMES_TO_TEST = [
        config.name for config in Builder.BUILDER_CONFIGS if not config.neutral
    ]

    # Named here, for `dummy_data` is remembered from when pytest collects the class.
    FOLDER = tempfile.TemporaryDirectory()
    EXAMPLE_DIR = FOLDER.name

    @classmethod
    def setUpClass(cls):
        for camera, light in itertools.product(
            ("VL", "NI"), ("Strong", "Weak", "Dark")
        ):
            oulu_casia(pathlib.Path(cls.EXAMPLE_DIR), camera, light)
        super().setUpClass()


@pytest.fixture
def root(tmp_path):
    return oulu_casia(tmp_path / "manual")


def test_last_three_frames_and_neutral_from_the_first(root, tmp_path):
    splits = examples(build(Builder, tmp_path, "vl_strong_neutral"))
    found = {
        id: (LABELS[example["label"]], example["original_label"], example["frame"])
        for id, example in splits["fold_3"].items()
    }
    assert found == {
        "VL/Strong/P004/Happiness/000": ("neutral", b"Happiness", 0),
        "VL/Strong/P004/Happiness/002": ("happiness", b"Happiness", 2),
        "VL/Strong/P004/Happiness/003": ("happiness", b"Happiness", 3),
        "VL/Strong/P004/Happiness/004": ("happiness", b"Happiness", 4),
    }


def test_no_subject_is_in_two_folds(root, tmp_path):
    splits = examples(build(Builder, tmp_path))
    subjects = [
        {example["subject"] for example in found.values()} for found in splits.values()
    ]
    assert subjects[0] == {b"P001", b"P011"}
    assert sum(map(len, subjects)) == len(set().union(*subjects)) == 11
    labels = {LABELS[example["label"]] for example in splits["fold_2"].values()}
    assert labels == set(LABELS[1:7])


def test_camera_and_light_decide_the_folder(root, tmp_path):
    oulu_casia(tmp_path / "manual", "NI", "Dark")
    config = dataclasses.replace(
        Builder.builder_configs["ni_dark"], name="peak", frames=1
    )
    splits = examples(build(Builder, tmp_path, config))
    assert list(splits["fold_1"]) == ["NI/Dark/P002/Disgust/004"]


def test_what_cannot_be_used_is_skipped_and_counted(root, tmp_path):
    part = root / "VL" / "Strong"
    for i in range(3):
        (part / "P001" / "Anger" / f"00{i}.jpeg").unlink()
    (part / "P002" / "Disgust" / "003.jpeg").write_bytes(b"")
    (part / "P002" / "Disgust" / "Thumbs.db").touch()
    (part / "P004" / "Happiness").rename(part / "P004" / "Happy")
    (part / "P004" / "notes.txt").touch()
    shutil.copytree(part / "P005" / "Sadness", part / "P004" / "Sadness")
    builder = build(Builder, tmp_path)
    skipped = builder.info.metadata["skipped"]
    assert {
        reason.partition(" (")[0]: one["first"] for reason, one in skipped.items()
    } == {
        "sequence is too short": ["VL/Strong/P001/Anger"],
        "file is not a frame": ["VL/Strong/P002/Disgust/Thumbs.db"],
        "image is damaged": ["VL/Strong/P002/Disgust/003"],
        "label 'Happy' outside the codes": [
            f"VL/Strong/P004/Happy/00{i}" for i in (2, 3, 4)
        ],
        "file is outside a sequence": ["VL/Strong/P004/notes.txt"],
    }
    # Sixteen sequences and a copied one, less the two left out and a frame.
    assert builder.info.splits.total_num_examples == 3 * (16 + 1 - 2) - 1


def test_nothing_is_left_of_a_build_that_fails(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*oulu_casia/NI/Weak"):
        build(Builder, tmp_path, "ni_weak")
    shutil.rmtree(root / "VL" / "Strong" / "P003")
    shutil.rmtree(root / "VL" / "Strong" / "P004")
    with pytest.raises(ValueError, match="at least 10 subjects, got 9"):
        build(Builder, tmp_path)
    assert left_over(tmp_path) == []
