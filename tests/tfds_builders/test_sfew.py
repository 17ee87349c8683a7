import shutil

import pytest
import tensorflow_datasets as tfds

from keras_fer.labels import LABELS
from tests.tfds_builders.drawn_faces import build, examples, left_over, sfew
from tfds_builders.sfew.sfew_dataset_builder import Builder


@pytest.mark.medium
class TestBuilder(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["aligned", "original"]
    SPLITS = {"train": 14, "validation": 7}


@pytest.mark.slow
class TestCorrupted(TestBuilder):
    BUILDER_CONFIG_NAMES_TO_TEST = [
        config.name for config in Builder.BUILDER_CONFIGS if config.family
    ]


@pytest.mark.parametrize(
    "config, part, shape",
    [("aligned", "_Aligned_Faces", (30, 24, 3)), ("original", "", (28, 36, 3))],
)
def test_folders_give_labels(tmp_path, config, part, shape):
    sfew(tmp_path / "manual")
    splits = examples(build(Builder, tmp_path, config))
    found = {
        example["original_label"].decode(): LABELS[example["label"]]
        for example in splits["validation"].values()
    }
    assert found == {
        "Angry": "anger",
        "Disgust": "disgust",
        "Fear": "fear",
        "Happy": "happiness",
        "Neutral": "neutral",
        "Sad": "sadness",
        "Surprise": "surprise",
    }
    assert (
        splits["train"][f"Train{part}/Sad/FilmTrain_0010.png"]["image"].shape == shape
    )


def test_one_layout_is_enough(tmp_path):
    root = sfew(tmp_path / "manual")
    shutil.rmtree(root / "Train")
    assert build(Builder, tmp_path, "aligned").info.splits.total_num_examples == 21
    with pytest.raises(FileNotFoundError, match=r"no folder .*sfew/Train/Angry"):
        build(Builder, tmp_path, "original")
    assert not [path for path in left_over(tmp_path) if "original" in path.parts]


def test_what_cannot_be_used_is_skipped_and_counted(tmp_path):
    root = sfew(tmp_path / "manual")
    path = root / "Val" / "Sad" / "FilmVal_0000.png"
    path.write_bytes(path.read_bytes()[:60])
    (root / "Val" / "Sad" / "list.txt").touch()
    (root / "Val" / "Contempt").mkdir()
    shutil.copy(root / "Val" / "Fear" / path.name, root / "Val" / "Contempt")
    skipped = build(Builder, tmp_path, "original").info.metadata["skipped"]
    assert {
        reason.partition(" (")[0]: one["first"] for reason, one in skipped.items()
    } == {
        "label 'Contempt' outside the codes": ["Val/Contempt/FilmVal_0000.png"],
        "image is damaged": ["Val/Sad/FilmVal_0000.png"],
        "file is not an image": ["Val/Sad/list.txt"],
    }
