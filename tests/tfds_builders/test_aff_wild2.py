import pathlib

import pytest
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from PIL import Image

from keras_fer.labels import LABELS
from tests.tfds_builders.drawn_faces import aff_wild2, build, examples, left_over
from tfds_builders.aff_wild2.aff_wild2_dataset_builder import Builder


@pytest.mark.medium
class TestExpr7(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["expr_7"]
    SPLITS = {"train": 7, "validation": 2}


@pytest.mark.slow
class TestExpr8(TestExpr7):
    BUILDER_CONFIG_NAMES_TO_TEST = ["expr_8"]
    SPLITS = {"train": 6, "validation": 2}


@pytest.mark.slow
class TestExpr7Corrupted(TestExpr7):
    BUILDER_CONFIG_NAMES_TO_TEST = ["masked", "occluded", "corrupted"]


@pytest.mark.slow
class TestExpr8Corrupted(TestExpr8):
    BUILDER_CONFIG_NAMES_TO_TEST = ["expr_8_masked", "expr_8_occluded"] + [
        "expr_8_corrupted"
    ]


@pytest.fixture
def root(tmp_path):
    return aff_wild2(tmp_path / "manual")


@pytest.mark.medium
def test_a_line_is_a_frame(root, tmp_path):
    # The names of the codes are compared, not how they are spelled.
    path = root / "EXPR_Set" / "Validation_Set" / "video9.txt"
    header = "neutral, Angry, Disgust, Fear, Happy, Sad, Surprise"
    path.write_text(f"{header}\n6\n-1\n0\n")
    splits = examples(build(Builder, tmp_path))
    found = {
        id: (LABELS[example["label"]], example["video"].decode(), example["frame"])
        for split in splits.values()
        for id, example in split.items()
    }
    assert found == {
        "1-30-1280x720/00001": ("neutral", "1-30-1280x720", 1),
        "1-30-1280x720/00002": ("anger", "1-30-1280x720", 2),
        "1-30-1280x720/00004": ("disgust", "1-30-1280x720", 4),
        "video2_left/00001": ("fear", "video2_left", 1),
        "video2_left/00002": ("happiness", "video2_left", 2),
        "video2_right/00001": ("sadness", "video2_right", 1),
        "video2_right/00002": ("surprise", "video2_right", 2),
        "video9/00001": ("surprise", "video9", 1),
        "video9/00003": ("neutral", "video9", 3),
    }
    assert set(splits["validation"]) == {"video9/00001", "video9/00003"}


@pytest.mark.medium
def test_other_is_left_out_and_counted(tmp_path):
    aff_wild2(tmp_path / "manual", codes=8)
    builder = build(Builder, tmp_path, "expr_8")
    assert builder.info.features["label"].names == list(LABELS[:7])
    skipped = builder.info.metadata["skipped"]
    assert skipped["label 7 is not an expression"] == {
        "count": 1,
        "first": ["video2_right/00002"],
    }
    # Built over what is there, it is not counted twice.
    again = tfds.GenerateMode.REUSE_CACHE_IF_EXISTS
    builder = build(Builder, tmp_path, "expr_8", download_mode=again)
    assert builder.info.metadata["skipped"] == skipped


def spoil(root):
    """What must be skipped of the tree, by reason."""
    train = root / "EXPR_Set" / "Train_Set"
    crops = root / "cropped_aligned"
    header = (train / "video2_left.txt").read_text().splitlines()[0]
    lines = [*("-1",) * 30, "8", "7", "1,2", "", "happy", "3", "3", "3", "5"]
    for video in ("long", "longer"):
        (train / f"{video}.txt").write_text("\n".join([header, *lines]))
        (crops / video).mkdir()
        (crops / video / "00037.jpg").write_bytes(b"\xff\xd8\xff")
        Image.new("RGB", (112, 111)).save(crops / video / "00038.jpg")
        Image.new("RGB", (112, 112)).save(crops / video / "00039.jpg")
    (train / "unseen.txt").write_text(f"{header}\n1\n2\n")
    both = {
        "label 8 outside the codes": [31],
        "label 7 outside the codes": [32],
        "line is not an integer": [33, 34, 35],
        "image is missing": [36],
        "image is damaged": [37],
        "image of size 112x111": [38],
    }
    expected = {
        reason: (
            2 * len(frames),
            [f"{video}/{i:05d}" for video in ("long", "longer") for i in frames],
        )
        for reason, frames in both.items()
    }
    first = ["1-30-1280x720/00003", *(f"long/{i:05d}" for i in range(1, 20))]
    expected["label -1 is not an expression"] = (62, first)
    expected["video has no crops"] = (1, ["unseen"])
    return expected


def counts(builder):
    return {
        reason.partition(" (")[0]: (one["count"], one["first"])
        for reason, one in builder.info.metadata["skipped"].items()
    }


@pytest.mark.medium
def test_what_cannot_be_used_is_skipped_and_counted(root, tmp_path):
    expected = spoil(root)
    builder = build(Builder, tmp_path)
    assert counts(builder) == expected
    assert builder.info.splits["train"].num_examples == 7 + 2
    # A reader of what was built sees the counts too, and no file beside TFDS's own.
    assert counts(Builder(data_dir=tmp_path / "built")) == expected
    assert not list(pathlib.Path(builder.data_dir).glob("skipped*"))


@pytest.mark.slow
def test_workers_in_processes_of_their_own_count_the_same(root, tmp_path):
    expected = spoil(root)
    options = PipelineOptions(
        direct_num_workers=2, direct_running_mode="multi_processing"
    )
    builder = build(Builder, tmp_path, beam_runner="DirectRunner", beam_options=options)
    assert counts(builder) == expected
    assert builder.info.splits["train"].num_examples == 7 + 2


@pytest.mark.parametrize(
    "header",
    [
        "Neutral,Anger,Disgust,Fear,Happiness,Surprise,Sadness",
        "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other",
        "0",
        "",
    ],
)
def test_codes_in_another_order_are_not_taken(root, tmp_path, header):
    path = root / "EXPR_Set" / "Validation_Set" / "video9.txt"
    path.write_text(f"{header}\n6\n")
    with pytest.raises(ValueError, match=rf"video9.txt .*got '{header}'"):
        build(Builder, tmp_path)
    assert left_over(tmp_path) == []


def test_nothing_is_left_of_a_build_that_fails(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="EXPR_Classification_Challenge/Train"):
        build(Builder, tmp_path, "expr_8")
    for path in (root / "EXPR_Set" / "Train_Set").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="no annotation in .*Train_Set"):
        build(Builder, tmp_path)
    assert left_over(tmp_path) == []
