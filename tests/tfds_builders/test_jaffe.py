import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from keras_fer.labels import LABELS
from tests.tfds_builders.drawn_faces import build, examples, jaffe, left_over
from tfds_builders.jaffe.jaffe_dataset_builder import Builder


@pytest.mark.medium
class TestBuilder(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["default"]
    SPLITS = {"fold_0": 2, **{f"fold_{i}": 1 for i in range(1, 10)}}


@pytest.mark.slow
class TestCorrupted(TestBuilder):
    BUILDER_CONFIG_NAMES_TO_TEST = ["masked", "occluded", "corrupted"]


def test_label_and_subject_are_in_the_name(tmp_path):
    root = jaffe(tmp_path / "manual")
    builder = build(Builder, tmp_path)
    splits = examples(builder)
    # Whoever leaves one fold out leaves one subject out.
    for examples_ in splits.values():
        assert len({example["subject"] for example in examples_.values()}) == 1
    found = {id: example for split in splits.values() for id, example in split.items()}
    assert sorted(found) == sorted(path.stem for path in root.iterdir())
    example = found["KA.AN1.39"]
    assert LABELS[example["label"]] == "anger"
    assert example["original_label"] == b"AN"
    assert example["subject"] == b"KA"
    with Image.open(root / "KA.AN1.39.tiff") as image:
        np.testing.assert_array_equal(example["image"][..., 0], np.asarray(image))
    names = {id[3:5]: LABELS[example["label"]] for id, example in found.items()}
    assert names == {
        "AN": "anger",
        "DI": "disgust",
        "FE": "fear",
        "HA": "happiness",
        "NE": "neutral",
        "SA": "sadness",
        "SU": "surprise",
    }


def test_what_cannot_be_used_is_skipped_and_counted(tmp_path):
    root = jaffe(tmp_path / "manual")
    path = root / "KA.SA1.50.tiff"
    path.write_bytes((root / "KA.AN1.39.tiff").read_bytes()[:300])
    Image.new("L", (255, 256)).save(root / "KA.SU1.51.tiff")
    Image.new("L", (256, 256)).save(root / "KA.XX1.52.tiff")
    Image.new("L", (256, 256)).save(root / "copy of KA.SU1.51.tiff")
    builder = build(Builder, tmp_path)
    assert builder.info.splits.total_num_examples == 11
    skipped = builder.info.metadata["skipped"]
    assert {
        reason.partition(" (")[0]: (one["count"], one["first"])
        for reason, one in skipped.items()
    } == {
        "image is damaged": (1, ["KA.SA1.50"]),
        "image of size 255x256": (1, ["KA.SU1.51"]),
        "label 'XX' outside the codes": (1, ["KA.XX1.52"]),
        "file name has no subject and expression": (1, ["copy of KA.SU1.51.tiff"]),
    }
    # Built over what is there, it is not counted twice.
    again = tfds.GenerateMode.REUSE_CACHE_IF_EXISTS
    assert (
        build(Builder, tmp_path, download_mode=again).info.metadata["skipped"]
        == skipped
    )


def test_nothing_is_left_of_a_build_that_fails(tmp_path):
    (tmp_path / "manual" / "other").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no folder .*jaffe.*Ask for JAFFE"):
        build(Builder, tmp_path)
    (tmp_path / "manual" / "jaffe").mkdir()
    with pytest.raises(ValueError, match="at least 10 subjects, got 0"):
        build(Builder, tmp_path)
    assert left_over(tmp_path) == []
