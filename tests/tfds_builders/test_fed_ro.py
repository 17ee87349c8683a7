import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from keras_fer.labels import LABELS
from tests.tfds_builders.drawn_faces import build, examples, fed_ro, left_over
from tfds_builders.fed_ro.fed_ro_dataset_builder import Builder


class TestBuilder(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["default"]
    SPLITS = {"test": 8}


@pytest.mark.slow
class TestCorrupted(TestBuilder):
    BUILDER_CONFIG_NAMES_TO_TEST = ["masked", "occluded", "corrupted"]


def test_folders_give_labels_however_they_are_spelled(tmp_path):
    root = fed_ro(tmp_path / "manual")
    (root / "anger").rename(root / "Angry")
    (root / "happiness").rename(root / "Happy")
    found = examples(build(Builder, tmp_path))["test"]
    assert {id: LABELS[example["label"]] for id, example in found.items()} == {
        "Angry/0.jpg": "anger",
        "disgust/0.jpg": "disgust",
        "fear/0.jpg": "fear",
        "fear/1.jpg": "fear",
        "Happy/0.jpg": "happiness",
        "neutral/0.jpg": "neutral",
        "sadness/0.jpg": "sadness",
        "surprise/0.jpg": "surprise",
    }
    assert found["Angry/0.jpg"]["original_label"] == b"Angry"


def test_what_cannot_be_used_is_skipped_and_counted(tmp_path):
    root = fed_ro(tmp_path / "manual")
    path = root / "fear" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    (root / "fear" / "Thumbs.db").touch()
    (root / "8").mkdir()
    skipped = build(Builder, tmp_path).info.metadata["skipped"]
    assert {
        reason.partition(" (")[0]: one["first"] for reason, one in skipped.items()
    } == {
        "folder is not an expression": ["8"],
        "image is damaged": ["fear/1.jpg"],
        "file is not an image": ["fear/Thumbs.db"],
    }


def test_numbered_folders_are_not_guessed(tmp_path):
    root = fed_ro(tmp_path / "manual")
    for i, path in enumerate(sorted(root.iterdir())):
        path.rename(root / str(i))
    with pytest.raises(FileNotFoundError, match="(?s)has 0, 1, 2.*number the"):
        build(Builder, tmp_path)
    root.rename(tmp_path / "manual" / "other")
    with pytest.raises(FileNotFoundError, match=r"no folder .*fed_ro"):
        build(Builder, tmp_path)
    assert left_over(tmp_path) == []


def test_data_source_gives_the_same_pixels(tmp_path):
    root = fed_ro(tmp_path / "manual")
    # A gray image among those in color.
    Image.open(root / "fear" / "0.jpg").convert("L").save(root / "fear" / "1.png")
    found = examples(build(Builder, tmp_path))["test"]
    shutil.rmtree(tmp_path / "built")
    builder = build(Builder, tmp_path, file_format="array_record")
    source = builder.as_data_source(split="test")
    assert len(source) == len(found) == 9
    for example in source:
        expected = found[example["id"].decode()]["image"]
        assert example["image"].shape == (24, 32, 3)
        if example["id"] == b"fear/1.png":
            np.testing.assert_array_equal(example["image"], expected)
        # Two decoders of JPEG round and fill in colors differently.
        assert np.abs(example["image"].astype(int) - expected).mean() < 1
