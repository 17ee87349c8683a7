import csv

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_fer.labels import LABELS
from tests.tfds_builders import write_fer2013
from tfds_builders.ferplus.ferplus_dataset_builder import VOTES, Builder, winner
from zoo import data

USAGES = ("Training", "PublicTest", "PrivateTest")
# The counts of every rule, on the whole votes file, as in the dataset's README. Those
# of "majority" are the published ones.
COUNTS = {
    "majority": (25060, 3199, 3153),
    "votes": (28389, 3553, 3546),
    "all": (28559, 3579, 3573),
}


@pytest.mark.medium
class TestMajority(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 1, "public_test": 1, "private_test": 1}
    BUILDER_CONFIG_NAMES_TO_TEST = ["majority"]


class TestVotes(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 2, "public_test": 1, "private_test": 1}
    BUILDER_CONFIG_NAMES_TO_TEST = ["votes"]


@pytest.mark.medium
class TestAll(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 3, "public_test": 1, "private_test": 1}
    BUILDER_CONFIG_NAMES_TO_TEST = ["all"]


@pytest.mark.slow
class TestMajorityCorrupted(TestMajority):
    BUILDER_CONFIG_NAMES_TO_TEST = ["masked", "occluded", "corrupted"]


@pytest.mark.slow
class TestVotesCorrupted(TestVotes):
    BUILDER_CONFIG_NAMES_TO_TEST = ["votes_masked", "votes_occluded", "votes_corrupted"]


@pytest.mark.slow
class TestAllCorrupted(TestAll):
    BUILDER_CONFIG_NAMES_TO_TEST = ["all_masked", "all_occluded", "all_corrupted"]


@pytest.mark.parametrize(
    ("votes", "majority", "most_frequent", "any_vote"),
    [
        ((0, 9, 1, 0, 0, 0, 0, 0, 0, 0), "happiness", "happiness", "happiness"),
        # 5 of 10 is no majority; 5 of the 9 left without the single vote is.
        ((5, 0, 0, 5, 0, 0, 0, 0, 0, 0), None, "neutral", "neutral"),
        ((0, 0, 0, 5, 4, 1, 0, 0, 0, 0), "sadness", "sadness", "sadness"),
        # Ties with "unknown" go to the expression, a lost vote does not.
        ((0, 0, 4, 0, 0, 0, 0, 0, 4, 2), None, "surprise", "surprise"),
        ((0, 0, 0, 0, 0, 0, 0, 3, 4, 3), None, None, "contempt"),
        # Single votes count in "all" only.
        ((1, 1, 1, 1, 1, 1, 1, 1, 1, 1), None, None, "neutral"),
        ((0, 0, 0, 0, 0, 0, 1, 0, 0, 9), None, None, "fear"),
        ((0, 0, 0, 0, 0, 0, 0, 0, 1, 9), None, None, None),
    ],
)
def test_rules(votes, majority, most_frequent, any_vote):
    expected = {"majority": majority, "votes": most_frequent, "all": any_vote}
    for rule, name in expected.items():
        code = winner(np.array(votes), rule)
        assert (None if code is None else VOTES[code]) == name


def test_rules_give_the_published_counts(real_data):
    with open(real_data / "fer2013new.csv") as file:
        rows = list(csv.reader(file))[1:]
    assert len(rows) == 35887
    counts = {rule: dict.fromkeys(USAGES, 0) for rule in COUNTS}
    for usage, _, *votes in rows:
        chosen = [winner(np.array(votes, int), rule) for rule in COUNTS]
        for rule, code in zip(COUNTS, chosen, strict=True):
            counts[rule][usage] += code is not None
        # Each rule has the rows of the stricter one before it, and their labels.
        strict, *looser = [code for code in chosen if code is not None] or [None]
        assert all(code == strict for code in looser)
        assert sorted(chosen, key=lambda code: code is not None) == chosen
    assert {rule: tuple(each.values()) for rule, each in counts.items()} == COUNTS


@pytest.mark.parametrize("split", ["train", "public_test"])
def test_rules_agree_with_those_that_models_are_trained_by(real_data, split):
    faces = data.ferplus(real_data, split)
    with np.load(real_data / f"{split}.npz") as arrays:
        votes = arrays["ferplus"]
    codes = [winner(row, "votes") for row in votes]
    assert [i for i, code in enumerate(codes) if code is not None] == list(faces.rows)
    np.testing.assert_array_equal(
        [codes[row] for row in faces.rows], faces.targets.argmax(axis=1)
    )
    scored = [i for i, row in enumerate(votes) if winner(row, "majority") is not None]
    assert scored == list(faces.rows[faces.scored])


def build(manual, data_dir, config="majority"):
    builder = Builder(data_dir=data_dir, config=config)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual)
    )
    return builder


def examples(builder, split):
    """Examples by row."""
    source = tfds.as_numpy(builder.as_dataset(split))
    return {
        int(example["id"].decode().removeprefix("fer2013_")): example
        for example in source
    }


def skipped(builder):
    return {
        reason: facts["count"]
        for reason, facts in builder.info.metadata["skipped"].items()
    }


@pytest.fixture
def files(tmp_path):
    """Twelve rows, all with a majority; lines of faces and of votes to change."""
    usages = ["Training"] * 6 + ["PublicTest"] * 4 + ["PrivateTest"] * 2
    votes = np.zeros((12, 10), int)
    for row in range(12):
        votes[row, row % 8] = 8
        votes[row, 8] = 2
    images = np.random.default_rng(2).integers(0, 256, (12, 48, 48), "uint8")
    write_fer2013.write_faces(tmp_path / "fer2013.csv", images, [0] * 12, usages)
    write_fer2013.write_votes(tmp_path / "fer2013new.csv", votes, usages)
    return images, votes


def change(path, edit):
    """Edits the lines of a file; a row's line is the row's number plus one."""
    lines = path.read_text().splitlines()
    edit(lines)
    path.write_text("\n".join(lines) + "\n")


def test_votes_are_joined_by_row_and_not_by_name(tmp_path, files):
    images, votes = files
    # As in the real file: a face without a name, those after it named one lower.
    change(
        tmp_path / "fer2013new.csv",
        lambda lines: lines.__setitem__(3, lines[3].replace("fer0000002.png", "")),
    )
    builder = build(tmp_path, tmp_path / "data")
    rows = {
        row: e for s in builder.info.splits for row, e in examples(builder, s).items()
    }
    assert sorted(rows) == list(range(12))
    for row, example in rows.items():
        np.testing.assert_array_equal(example["image"][..., 0], images[row])
        np.testing.assert_array_equal(example["votes"], votes[row])
        assert LABELS[example["label"]] == VOTES[row % 8]
        assert example["original_label"] == row % 8
    assert skipped(builder) == {}


def test_files_may_lie_in_the_folders_of_both_datasets(tmp_path, files):
    for name, folder in (("fer2013.csv", "fer2013"), ("fer2013new.csv", "ferplus")):
        (tmp_path / folder).mkdir()
        (tmp_path / name).rename(tmp_path / folder / name)
    builder = build(tmp_path, tmp_path / "data")
    assert builder.info.splits.total_num_examples == 12


def test_bad_rows_are_counted_and_the_rest_goes_on(tmp_path, files):
    def spoil_faces(lines):
        lines[1] = lines[1][:3000]
        lines[2] = lines[2].replace(" ", " 300 ", 1)

    def spoil_votes(lines):
        lines[1] = lines[1].replace(",8,", ",", 1)
        lines[3] = lines[3].replace(",8,", ",", 1)
        lines[4] = lines[4].replace(",8,", ",many,", 1)
        lines[5] = lines[5].replace(",8,", ",2,", 1)

    change(tmp_path / "fer2013.csv", spoil_faces)
    change(tmp_path / "fer2013new.csv", spoil_votes)
    builder = build(tmp_path, tmp_path / "data")
    assert skipped(builder) == {
        "row has a wrong number of fields": 1,
        "row has damaged pixels": 1,
        "votes have a wrong number of fields": 1,
        "votes are not integers": 1,
        "no expression by the rule 'majority'": 1,
    }
    assert list(examples(builder, "train")) == [5]


def test_challenge_lists_name_faces_of_the_private_test(tmp_path, files):
    (tmp_path / "subsets").mkdir()
    lines = ["3/fer0000010.png", "1_fer0000010.png 3 0", "fer0000000.png 0 0", ""]
    (tmp_path / "subsets" / "pose_30.txt").write_text("\n".join(lines))
    builder = build(tmp_path, tmp_path / "data")
    assert set(builder.info.splits) == {
        "train",
        "public_test",
        "private_test",
        "pose_30",
    }
    (row,) = examples(builder, "pose_30")
    assert row == 10 and sorted(examples(builder, "private_test")) == [10, 11]
    assert skipped(builder) == {
        "pose_30 list: line is a duplicate": 1,
        "pose_30 list: line names no known image": 1,
    }


def test_a_csv_without_the_private_test_is_fine(tmp_path, files):
    change(tmp_path / "fer2013.csv", lambda lines: lines.__delitem__(slice(11, None)))
    builder = build(tmp_path, tmp_path / "data")
    assert {s: i.num_examples for s, i in builder.info.splits.items()} == {
        "train": 6,
        "public_test": 4,
    }


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        # A lost row shifts all those after it.
        ("fer2013.csv", lambda lines: lines.pop(2), "Row 5 .*'PublicTest'.*'Training'"),
        ("fer2013new.csv", lambda lines: lines.pop(2), "Row 5 "),
        ("fer2013new.csv", lambda lines: lines.pop(), "ends after 11 rows"),
        ("fer2013.csv", lambda lines: lines.pop(), "ends in the middle of PrivateTest"),
        ("fer2013.csv", lambda lines: lines.__delitem__(slice(1, None)), "no row in"),
        ("fer2013.csv", lambda lines: lines.pop(0), "no column emotion"),
        ("fer2013new.csv", lambda lines: lines.pop(0), "no column Usage, Image name"),
    ],
)
def test_files_that_are_not_about_the_same_rows(tmp_path, files, name, edit, message):
    change(tmp_path / name, edit)
    with pytest.raises(ValueError, match=message):
        build(tmp_path, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("dataset_info.json"))
    assert not list((tmp_path / "data").rglob("*incomplete*"))


@pytest.mark.parametrize("name", ["fer2013.csv", "fer2013new.csv"])
def test_a_missing_file_says_what_to_place_where(tmp_path, files, name):
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {name}"):
        build(tmp_path, tmp_path / "data")


@pytest.mark.slow
@pytest.mark.parametrize("rule", COUNTS)
def test_the_real_files_give_the_published_counts(tmp_path, real_data, rule):
    images, labels, usages, votes = write_fer2013.load(real_data)
    # The images of the private test are not at hand: drawn shapes stand for them, so
    # that every row of the votes has one.
    private = write_fer2013.draw(3589)
    write_fer2013.write_faces(
        tmp_path / "fer2013.csv",
        np.concatenate([images, private]),
        [*labels, *[0] * 3589],
        [*usages, *["PrivateTest"] * 3589],
    )
    (tmp_path / "fer2013new.csv").symlink_to(real_data / "fer2013new.csv")
    builder = build(tmp_path, tmp_path / "data", rule)
    counts = {split: info.num_examples for split, info in builder.info.splits.items()}
    expected = dict(
        zip(("train", "public_test", "private_test"), COUNTS[rule], strict=False)
    )
    assert counts == expected
    assert skipped(builder) == {
        f"no expression by the rule {rule!r}": 35887 - sum(expected.values())
    }
    for split in ("train", "public_test"):
        for row, example in examples(builder, split).items():
            np.testing.assert_array_equal(example["image"][..., 0], images[row])
            np.testing.assert_array_equal(example["votes"], votes[row])
            # Whatever the rule, no other expression has more votes.
            assert votes[row][example["label"]] == votes[row][:8].max() > 0
