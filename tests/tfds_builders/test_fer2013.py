import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from keras_fer.labels import LABELS
from tests.tfds_builders import write_fer2013
from tfds_builders.fer2013 import table
from tfds_builders.fer2013.fer2013_dataset_builder import Builder

ROOT = pathlib.Path(__file__).parents[2]
# FER2013's codes 0 to 6, as its authors list them.
NAMES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


class TestDummyData(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 4, "public_test": 1, "private_test": 1}
    BUILDER_CONFIG_NAMES_TO_TEST = ["original"]


@pytest.mark.slow
class TestCorrupted(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 4, "public_test": 1, "private_test": 1}
    BUILDER_CONFIG_NAMES_TO_TEST = ["masked", "occluded", "corrupted"]


def build(manual, data, **options):
    builder = Builder(data_dir=data, **options)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual)
    )
    return builder


def examples(builder, split):
    """Examples by id."""
    source = tfds.as_numpy(builder.as_dataset(split))
    return {example["id"].decode(): example for example in source}


def skipped(builder):
    return {
        reason: facts["count"]
        for reason, facts in builder.info.metadata["skipped"].items()
    }


@pytest.fixture
def arrays():
    """Twelve rows: images, labels, usages."""
    usages = ["Training"] * 7 + ["PublicTest"] * 3 + ["PrivateTest"] * 2
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (12, 48, 48), "uint8")
    return images, np.arange(12) % 7, usages


def test_dummy_data_are_those_of_the_tool(tmp_path):
    write_fer2013.write_dummy(tmp_path)
    for name in ("fer2013", "ferplus"):
        for path in (tmp_path / name / "dummy_data").iterdir():
            committed = ROOT / "tfds_builders" / name / "dummy_data" / path.name
            assert committed.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("header", write_fer2013.HEADERS)
@pytest.mark.parametrize("folder", ["", "fer2013"])
def test_both_spellings_give_back_every_row(tmp_path, arrays, header, folder):
    images, labels, usages = arrays
    names = dict(zip(write_fer2013.HEADERS, table.NAMES, strict=True))
    manual = tmp_path / "manual" / folder
    manual.mkdir(parents=True)
    write_fer2013.write_faces(manual / names[header], *arrays, header=header)
    builder = build(tmp_path / "manual", tmp_path / "data")
    assert set(builder.info.splits) == set(write_fer2013.USAGES)
    assert skipped(builder) == {}
    seen = 0
    for split, usage in write_fer2013.USAGES.items():
        for id, example in examples(builder, split).items():
            row = int(id.removeprefix("fer2013_"))
            assert usages[row] == usage
            np.testing.assert_array_equal(example["image"][..., 0], images[row])
            assert example["original_label"] == labels[row]
            assert LABELS[example["label"]] == NAMES[labels[row]]
            seen += 1
    assert seen == len(images)


def test_absent_splits_are_absent(tmp_path, arrays):
    images, labels, _ = arrays
    write_fer2013.write_faces(
        tmp_path / "fer2013.csv", images, labels, ["PublicTest"] * 12
    )
    builder = build(tmp_path, tmp_path / "data")
    assert list(builder.info.splits) == ["public_test"]


def test_bad_rows_are_counted_and_the_rest_goes_on(tmp_path, arrays):
    path = tmp_path / "fer2013.csv"
    write_fer2013.write_faces(path, *arrays)
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:4000]  # no Usage any more
    lines[2] = '"' + lines[2][:4000]  # an open quote must not swallow the next row
    lines[3] = lines[3].replace(" ", " 256 ", 1)  # 2,305 numbers, one too high
    lines[4] = lines[4].replace(" ", " x", 1)
    lines[5] = "7" + lines[5][1:]
    lines[6] = "happy" + lines[6][1:]
    lines[8] = lines[8].replace("PublicTest", "Public")
    lines[9] = ",".join((lines[9].split(",")[0], "1 2 3", "PublicTest"))
    lines.insert(10, "")  # a blank line is no row
    path.write_text("\r\n".join(lines))
    builder = build(tmp_path, tmp_path / "data")
    assert skipped(builder) == {
        "row has a wrong number of fields": 2,
        "row has damaged pixels": 3,
        "label 7 outside the codes": 1,
        "label 'happy' outside the codes": 1,
        "Usage 'Public' is unknown": 1,
    }
    kept = {id for s in builder.info.splits for id in examples(builder, s)}
    assert kept == {table.row_id(row) for row in (6, 9, 10, 11)}
    # Kept with the dataset, and with names.
    again = Builder(data_dir=tmp_path / "data")
    assert skipped(again) == skipped(builder)
    facts = again.info.metadata["skipped"]["row has a wrong number of fields"]
    assert list(facts["first"]) == ["fer2013_00000000", "fer2013_00000001"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,c\n1,2,3\n", "no column emotion, Usage, pixels.*'a, b, c'"),
        ("", "no column"),
        ("emotion,pixels\n1,2\n", "no column Usage"),
        ("emotion,pixels,Usage\n", "no row with a Usage"),
        (
            "emotion,pixels,Usage\n0,1 2,Training\n",
            "has no usable face for split train",
        ),
    ],
)
def test_a_csv_without_anything_usable_is_an_error(tmp_path, content, message):
    (tmp_path / "fer2013.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        build(tmp_path, tmp_path / "data")
    assert not complete(tmp_path / "data")
    assert not list((tmp_path / "data").rglob("*incomplete*"))


def complete(data):
    """Whether TFDS takes what is there for a dataset."""
    return bool(list(data.rglob("dataset_info.json"))) or (
        Builder(data_dir=data).is_prepared()
    )


def test_missing_files_say_what_to_place_where(tmp_path):
    with pytest.raises(AssertionError, match="fer2013.csv"):
        build(tmp_path / "nowhere", tmp_path / "data")
    (tmp_path / "manual").mkdir()
    (tmp_path / "manual" / "other.txt").write_text("")
    with pytest.raises(FileNotFoundError, match="train/angry"):
        build(tmp_path / "manual", tmp_path / "data")


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "test"), ("train", "test")),
        (
            ("Training", "PublicTest", "PrivateTest"),
            ("train", "public_test", "private_test"),
        ),
    ],
)
def test_folders_of_images(tmp_path, arrays, folders, splits):
    images = arrays[0]
    words = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    for folder in folders:
        for code, word in enumerate(words):
            target = tmp_path / folder / word
            target.mkdir(parents=True)
            suffix = "png" if code else "jpg"
            Image.fromarray(images[code]).save(target / f"{code}.{suffix}")
    first = tmp_path / folders[0]
    Image.fromarray(images[0, :40]).save(first / "happy" / "small.png")
    (first / "happy" / "cut.png").write_bytes(
        (first / "happy" / "3.png").read_bytes()[:300]
    )
    (first / "happy" / "Thumbs.db").write_bytes(b"not an image")
    (first / "contempt").mkdir()
    shutil.copy(first / "sad" / "4.png", first / "contempt" / "x.png")
    (first / "bored").mkdir()
    shutil.copy(first / "sad" / "4.png", first / "bored" / "x.png")
    builder = build(tmp_path, tmp_path / "data")
    assert set(builder.info.splits) == set(splits)
    assert skipped(builder) == {
        "image of size 48x40": 1,
        "image is damaged (OSError)": 1,
        "label 'contempt' outside the codes": 1,
        "label 'bored' outside the codes": 1,
    }
    for split in splits:
        got = examples(builder, split)
        assert len(got) == 7
        for code in range(1, 7):
            example = got[f"{split}/{words[code]}/{code}.png"]
            np.testing.assert_array_equal(example["image"][..., 0], images[code])
            assert example["original_label"] == code
            assert LABELS[example["label"]] == NAMES[code]
        assert LABELS[got[f"{split}/angry/0.jpg"]["label"]] == "anger"


def test_two_folders_for_one_split_are_an_error(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "Training").mkdir()
    with pytest.raises(ValueError, match="Two folders are split train"):
        build(tmp_path, tmp_path / "data")


def test_a_build_is_the_same_every_time(tmp_path, arrays):
    write_fer2013.write_faces(tmp_path / "fer2013.csv", *arrays)
    orders = [
        list(examples(build(tmp_path, tmp_path / name), "train")) for name in "ab"
    ]
    assert orders[0] == orders[1]


WITHOUT_TENSORFLOW = """
import importlib.machinery
import sys
import numpy as np


class Hide(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.split(".")[0] != "tensorflow":
            return super().find_spec(name, path, target)


finder = importlib.machinery.PathFinder
sys.meta_path[:] = [Hide if each is finder else each for each in sys.meta_path]
from tfds_builders.fer2013.fer2013_dataset_builder import Builder

source = Builder(data_dir=sys.argv[1], file_format="array_record").as_data_source()
for split, examples in source.items():
    examples = [examples[i] for i in range(len(examples))]
    np.savez(
        f"{sys.argv[2]}/{split}.npz",
        **{key: np.array([e[key] for e in examples]) for key in examples[0]},
    )
assert "tensorflow" not in sys.modules
"""


@pytest.mark.slow
def test_reading_without_tensorflow_gives_the_same(tmp_path, arrays):
    write_fer2013.write_faces(tmp_path / "fer2013.csv", *arrays)
    records = build(tmp_path, tmp_path / "tfrecord")
    build(tmp_path, tmp_path / "array_record", file_format="array_record")
    subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, tmp_path / "array_record", tmp_path],
        env={**os.environ, "PYTHONPATH": f"{ROOT}"},
        check=True,
    )
    for split in records.info.splits:
        expected = examples(records, split)
        with np.load(tmp_path / f"{split}.npz") as read:
            assert [id.decode() for id in read["id"]] == list(expected)
            for i, example in enumerate(expected.values()):
                for key, value in example.items():
                    np.testing.assert_array_equal(read[key][i], value)


BUILD = """
import sys
import tensorflow_datasets as tfds
from tfds_builders.fer2013.fer2013_dataset_builder import Builder

Builder(data_dir=sys.argv[2], file_format=sys.argv[3]).download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=sys.argv[1])
)
"""


def build_apart(manual, data, file_format="tfrecord", **options):
    """A process of its own that builds."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, manual, data, file_format],
        env={**os.environ, "PYTHONPATH": f"{ROOT}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_complete_and_can_start_again(tmp_path, arrays):
    repeats = 500
    images, labels, usages = arrays
    many = np.tile(images, (repeats, 1, 1)), np.tile(labels, repeats)
    write_fer2013.write_faces(tmp_path / "fer2013.csv", *many, usages * repeats)
    data = tmp_path / "data"
    process = build_apart(tmp_path, data)
    # Half-way: the first split is being written, the others are not there.
    while not list(data.rglob("*incomplete*/*train*")):
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert list(data.rglob("*incomplete*"))
    assert not complete(data)
    builder = build(tmp_path, data)
    counts = {split: info.num_examples for split, info in builder.info.splits.items()}
    assert counts == {
        split: usages.count(usage) * repeats
        for split, usage in write_fer2013.USAGES.items()
    }
    got = examples(builder, "train")
    assert len(got) == counts["train"]
    for id, example in got.items():
        row = int(id.removeprefix("fer2013_")) % 12
        np.testing.assert_array_equal(example["image"][..., 0], images[row])


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount).returncode:
        pytest.skip("no right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_full_disk_leaves_no_dataset(tmp_path, arrays, small_disk, file_format):
    images, labels, usages = arrays
    many = np.tile(images, (100, 1, 1)), np.tile(labels, 100)  # 2.5 MB of records
    write_fer2013.write_faces(tmp_path / "fer2013.csv", *many, usages * 100)
    process = build_apart(tmp_path, small_disk, file_format)
    error = process.communicate()[1].decode()
    assert process.returncode
    assert "No space left on device" in error, error
    assert not complete(small_disk)
    assert not list(small_disk.rglob("*incomplete*"))


# What `tfds build` runs, for where `tfds` itself cannot start: its other commands need
# mlcroissant.
TFDS_BUILD = """
import sys
import simple_parsing
from tensorflow_datasets.scripts.cli import build

simple_parsing.parse(build.Args, args=sys.argv[1:]).execute()
"""


@pytest.mark.slow
def test_tfds_build(tmp_path, arrays):
    write_fer2013.write_faces(tmp_path / "fer2013.csv", *arrays)
    if importlib.util.find_spec("mlcroissant"):
        command = [pathlib.Path(sys.executable).with_name("tfds"), "build"]
    else:
        command = [sys.executable, "-c", TFDS_BUILD]
    command += [
        "fer2013",
        "--config=original",
        "--imports=tfds_builders.fer2013.fer2013_dataset_builder",
        f"--manual_dir={tmp_path}",
        f"--data_dir={tmp_path / 'data'}",
    ]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": f"{ROOT}"}, check=True)
    builder = Builder(data_dir=tmp_path / "data")
    assert builder.is_prepared()
    assert builder.info.splits["train"].num_examples == 7


@pytest.mark.slow
def test_the_real_csv_comes_back_row_for_row(tmp_path, real_data):
    images, labels, usages, _ = write_fer2013.load(real_data)
    write_fer2013.write_faces(tmp_path / "fer2013.csv", images, labels, usages)
    builder = build(tmp_path, tmp_path / "data")
    assert skipped(builder) == {}
    counts = {split: info.num_examples for split, info in builder.info.splits.items()}
    assert counts == {"train": 28709, "public_test": 3589}
    for split in counts:
        with np.load(real_data / f"{split}.npz") as expected:
            index, count = expected["index"], len(expected["label"])
            rows = {table.row_id(row): i for i, row in enumerate(index)}
            pixels = np.zeros((count, 48, 48), "uint8")
            labels = np.full(count, -1)
            for example in tfds.as_numpy(builder.as_dataset(split)):
                i = rows.pop(example["id"].decode())
                pixels[i] = example["image"][..., 0]
                labels[i] = example["original_label"]
                assert LABELS[example["label"]] == NAMES[labels[i]]
            assert not rows
            np.testing.assert_array_equal(pixels, expected["images"])
            np.testing.assert_array_equal(labels, expected["label"])
