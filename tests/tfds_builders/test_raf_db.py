"""Tests of RAF-DB.

`python -m tests.tfds_builders.test_raf_db` draws the dummy data again.
"""

import pathlib
import shutil
import struct
import zlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.tfds_builders.drawn_faces import build, draw, examples
from tfds_builders.raf_db.raf_db_dataset_builder import Builder

DUMMY = pathlib.Path(__file__).parents[2] / "tfds_builders" / "raf_db" / "dummy_data"
# Name, its code in the label file, and what the paper calls this code.
IMAGES = [
    ("train_00001", 1, "surprise"),
    ("train_00002", 2, "fear"),
    ("train_00003", 3, "disgust"),
    ("train_00004", 4, "happiness"),
    ("test_0001", 5, "sadness"),
    ("test_0002", 6, "anger"),
    ("test_0003", 7, "neutral"),
]
SIZE = (40, 32)
POINTS = [(12, 10), (28, 10), (20, 16), (14, 24), (26, 24)]
LISTS = {
    "occlusion": "test_0001_aligned 4 3\ntest_0001_aligned 4 3\n",
    "pose_30": "4/test_0001_aligned.jpg\n6/test_0003_aligned.jpg\n",
    "pose_45": "6/test_0003_aligned.jpg\n9/test_9999_aligned.jpg\n",
}


def write(manual):
    """A tree as distributed, of shapes and no one's face."""
    root = manual / "raf_db" / "basic"
    for number, (name, _, _) in enumerate(IMAGES):
        draw(root / "Image" / "aligned" / f"{name}_aligned.jpg", (100, 100))
        draw(root / "Image" / "original" / f"{name}.jpg", SIZE)
        lines = [f"{x:.3f}\t{y:.3f}" for x, y in POINTS]
        codes = [number % 3, (number + 1) % 3, number % 5]
        texts = {
            f"manual/{name}_manu_attri.txt": [*lines, *map(str, codes)],
            f"boundingbox/{name}_boundingbox.txt": ["8.0 4.0 32.0 36.5 "],
        }
        for path, text in texts.items():
            path = root / "Annotation" / path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(text) + "\n")
    labels = root / "EmoLabel" / "list_patition_label.txt"
    labels.parent.mkdir()
    labels.write_text("".join(f"{name}.jpg {code}\n" for name, code, _ in IMAGES))
    (manual / "raf_db" / "subsets").mkdir()
    for subset, text in LISTS.items():
        (manual / "raf_db" / "subsets" / f"{subset}.txt").write_text(text)


@pytest.mark.medium
class TestDummyData(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 4, "test": 3, "occlusion": 1, "pose_30": 2, "pose_45": 1}
    OVERLAPPING_SPLITS = ["occlusion", "pose_30", "pose_45"]
    BUILDER_CONFIG_NAMES_TO_TEST = ["aligned", "original"]


@pytest.mark.slow
class TestCorrupted(TestDummyData):
    BUILDER_CONFIG_NAMES_TO_TEST = [
        name for name, config in Builder.builder_configs.items() if config.family
    ]


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "manual")
    return tmp_path


def basic(root):
    return root / "manual" / "raf_db" / "basic"


def nothing_is_left(root):
    """Of a build that failed, but for the names of the configs."""
    files = [path for path in (root / "built").rglob("*") if path.is_file()]
    return all(path.parent.name == ".config" for path in files)


def counts(builder):
    skipped = builder.info.metadata["skipped"]
    return {reason: facts["count"] for reason, facts in skipped.items()}


def test_dummy_data_are_what_is_written_here(root):
    written = root / "manual"
    files = sorted(path for path in written.rglob("*") if path.is_file())
    assert len(files) == 7 * 4 + 1 + 3
    for path in files:
        committed = DUMMY / path.relative_to(written)
        if path.suffix == ".txt":
            assert committed.read_text() == path.read_text()
        else:
            assert committed.is_file()


@pytest.mark.medium
def test_aligned(root):
    builder = build(Builder, root)
    assert builder.builder_config.name == "aligned"
    found = examples(builder)
    as_stored = {
        example["id"]: example["image"]
        for split in ("train", "test")
        for example in tfds.as_numpy(
            builder.as_dataset(split, decoders={"image": tfds.decode.SkipDecoding()})
        )
    }
    names = builder.info.features["label"].names
    for name, code, expression in IMAGES:
        example = found[name.split("_")[0]][name]
        path = basic(root) / "Image" / "aligned" / f"{name}_aligned.jpg"
        assert as_stored[name.encode()] == path.read_bytes()
        assert example["image"].shape == (100, 100, 3)
        assert example["original_label"] == code
        assert names[example["label"]] == expression
        assert "landmarks" not in example
    first = found["train"]["train_00001"]
    assert (first["gender"], first["race"], first["age"]) == (0, 1, 0)
    assert (
        builder.info.features["age"].names[found["test"]["test_0001"]["age"]] == "70+"
    )


def test_original(root):
    found = examples(build(Builder, root, "original"))
    for split in ("train", "test"):
        for example in found[split].values():
            assert example["image"].shape == (32, 40, 3)
            np.testing.assert_allclose(
                example["landmarks"] * SIZE, POINTS, rtol=0, atol=1e-4
            )
            # Top, left, bottom, right; the box ends below the image.
            np.testing.assert_allclose(example["bbox"], [4 / 32, 8 / 40, 1, 32 / 40])


def test_subsets_are_parts_of_the_test_split(root):
    builder = build(Builder, root)
    found = examples(builder)
    assert {split: sorted(found[split]) for split in LISTS} == {
        "occlusion": ["test_0001"],
        "pose_30": ["test_0001", "test_0003"],
        "pose_45": ["test_0003"],
    }
    np.testing.assert_equal(found["pose_45"]["test_0003"], found["test"]["test_0003"])
    assert builder.info.metadata["skipped"] == {
        "occlusion list: line is a duplicate": {
            "count": 1,
            "first": ["test_0001_aligned 4 3"],
        },
        "pose_45 list: line names no known image": {
            "count": 1,
            "first": ["9/test_9999_aligned.jpg"],
        },
    }


def test_without_lists_there_are_no_subsets(root):
    shutil.rmtree(root / "manual" / "raf_db" / "subsets")
    assert set(build(Builder, root).info.splits) == {"train", "test"}


def test_without_annotations(root):
    shutil.rmtree(basic(root) / "Annotation")
    shutil.rmtree(root / "manual" / "raf_db" / "subsets")
    builder = build(Builder, root, "original")
    for example in examples(builder)["train"].values():
        assert (example["gender"], example["race"], example["age"]) == (-1, -1, -1)
        assert np.isnan(example["landmarks"]).all()
        np.testing.assert_array_equal(example["bbox"], [0, 0, 1, 1])
    assert counts(builder) == {}


def test_damaged_annotations_are_left_out_and_counted(root):
    folder = basic(root) / "Annotation"
    manual, boxes = folder / "manual", folder / "boundingbox"
    (manual / "train_00001_manu_attri.txt").write_text("1 2\n3 4\n")
    (manual / "train_00002_manu_attri.txt").write_text("1 2 " * 5 + "0 3 0")
    (manual / "train_00003_manu_attri.txt").unlink()
    (boxes / "train_00001_boundingbox.txt").write_text("8 4 32 nan")
    (boxes / "train_00002_boundingbox.txt").write_text("32 4 8 28")
    (boxes / "train_00003_boundingbox.txt").write_text("a b c d")
    shutil.rmtree(root / "manual" / "raf_db" / "subsets")
    builder = build(Builder, root, "original")
    found = examples(builder)["train"]
    assert len(found) == 4
    for name in ("train_00001", "train_00002", "train_00003"):
        assert np.isnan(found[name]["landmarks"]).all()
        assert found[name]["race"] == -1
        np.testing.assert_array_equal(found[name]["bbox"], [0, 0, 1, 1])
    assert counts(builder) == {
        "annotation file is damaged and ignored": 4,
        "annotation file is missing": 1,
        "face box is damaged and ignored": 1,
    }


def test_bad_images_and_labels_are_skipped_once(root):
    aligned = basic(root) / "Image" / "aligned"
    (aligned / "test_0001_aligned.jpg").unlink()  # also in two subsets
    content = (aligned / "train_00001_aligned.jpg").read_bytes()
    (aligned / "train_00001_aligned.jpg").write_bytes(content[: len(content) // 2])
    Image.new("RGB", (100, 99)).save(aligned / "train_00002_aligned.jpg")
    labels = basic(root) / "EmoLabel" / "list_patition_label.txt"
    lines = ["train_00003.jpg 8", "train_00004.jpg 4", "train_00004.jpg 5", "train_5"]
    others = [line for line in labels.read_text().splitlines() if "_00003" not in line]
    others.remove("train_00004.jpg 4")
    labels.write_text("\n".join([*others, *lines, "valid_0001.jpg 1", ""]))
    (root / "manual" / "raf_db" / "subsets" / "occlusion.txt").unlink()
    builder = build(Builder, root)
    found = examples(builder)
    assert {split: sorted(of) for split, of in found.items()} == {
        "train": ["train_00004"],
        "test": ["test_0002", "test_0003"],
        "pose_30": ["test_0003"],
        "pose_45": ["test_0003"],
    }
    skipped = builder.info.metadata["skipped"]
    assert skipped["image is missing"] == {"count": 1, "first": ["test_0001"]}
    assert skipped["image of size 100x99"]["first"] == ["train_00002"]
    assert skipped["label 8 outside the codes"]["first"] == ["train_00003"]
    assert skipped["label line is a duplicate"]["first"] == ["train_00004.jpg 5"]
    assert skipped["label line is not 'NAME.jpg CODE'"]["first"] == [
        "train_5",
        "valid_0001.jpg 1",
    ]
    assert sum(counts(builder).values()) == 8  # and the damaged one, and a line


def test_images_of_the_original_config_that_cannot_be_read(root):
    shutil.rmtree(root / "manual" / "raf_db" / "subsets")
    original = basic(root) / "Image" / "original"
    (original / "train_00001.jpg").unlink()
    (original / "train_00002.jpg").write_bytes(b"no image")
    # A header that claims ten gigapixels.
    header = b"IHDR" + struct.pack(">IIBBBBB", 100000, 100000, 8, 2, 0, 0, 0)
    (original / "train_00003.jpg").write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\x0d"
        + header
        + struct.pack(">I", zlib.crc32(header))
        + b"\0\0\0\0IDAT"
    )
    builder = build(Builder, root, "original")
    assert sorted(examples(builder)["train"]) == ["train_00004"]
    assert counts(builder) == {
        "image is missing": 1,
        "image is damaged (UnidentifiedImageError)": 1,
        "image is damaged (DecompressionBombError)": 1,
    }


@pytest.mark.parametrize(
    ("missing", "config"),
    [
        ("Image/original", "original"),
        ("Image/aligned", "aligned"),
        ("EmoLabel", "aligned"),
        (".", "aligned"),
    ],
)
def test_incomplete_tree(root, missing, config):
    shutil.rmtree(basic(root) / missing)
    with pytest.raises(FileNotFoundError, match="list_patition_label.txt"):
        build(Builder, root, config)
    assert nothing_is_left(root)


def test_label_file_without_a_usable_line(root):
    labels = basic(root) / "EmoLabel" / "list_patition_label.txt"
    labels.write_text("test_0001.jpg 1\n")
    with pytest.raises(ValueError, match="has no line of split 'train'"):
        build(Builder, root)
    assert nothing_is_left(root)


if __name__ == "__main__":
    shutil.rmtree(DUMMY, ignore_errors=True)
    write(DUMMY)
