"""Tests of AffectNet.

`python -m tests.tfds_builders.test_affectnet` draws the dummy data again.
"""

import csv
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.tfds_builders.drawn_faces import build, draw, examples
from tfds_builders.affectnet.affectnet_dataset_builder import Builder

DUMMY = pathlib.Path(__file__).parents[2] / "tfds_builders" / "affectnet" / "dummy_data"
COLUMNS = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,"
    "expression,valence,arousal"
)
# Number of the image, its code, and what the paper calls this code.
TRAIN = [
    (0, 0, "neutral"),
    (1, 1, "happiness"),
    (2, 2, "sadness"),
    (3, 3, "surprise"),
    (4, 4, "fear"),
    (5, 5, "disgust"),
    (6, 6, "anger"),
    (7, 7, "contempt"),
    (8, 10, None),
]
VALIDATION = [(9, 0, "neutral"), (10, 3, "surprise"), (11, 7, "contempt")]
SMALL = {
    "train_set": [(0, 0, "neutral"), (1, 1, "happiness"), (3, 7, "contempt")],
    "val_set": [(0, 2, "sadness"), (2, 7, "contempt")],
}
SIZE = (48, 40)
BOX = (8, 4, 32, 30)  # x, y, width, height
POINTS = np.stack([np.linspace(10, 38, 68), np.linspace(6, 32, 68)], axis=1).round(2)


def path_of(number):
    """As in the lists: a folder, and 56 hexadecimal digits."""
    return f"{number % 2 + 1}/{number:056x}.jpg"


def row(number, code, box=BOX, points=POINTS, valence="-0.5", arousal="0.25"):
    points = ";".join(f"{x:g};{y:g}" for x, y in points)
    return [path_of(number), *box, points, code, valence, arousal]


def write_full(root):
    """The release of 2017, of shapes and no one's face."""
    lists = root / "Manually_Annotated_file_lists"
    lists.mkdir(parents=True)
    for name, images in (("training", TRAIN), ("validation", VALIDATION)):
        with open(lists / f"{name}.csv", "w", newline="") as file:
            file.write(f"{COLUMNS}\n")
            for number, code, _ in images:
                draw(root / "Manually_Annotated_Images" / path_of(number), SIZE)
                affect = "-2" if code == 10 else "0.25"
                written = row(number, code, arousal=affect)
                csv.writer(file, lineterminator="\n").writerow(written)
    (root / "subsets").mkdir()
    for subset, text in {
        "occlusion": f"val/0/{9:056x}/\nval/0/{9:056x}/\n",
        "pose_30": f"0/{9:056x}.jpg\n3/{10:056x}.jpg\n7/{11:056x}.jpg\n",
        "pose_45": f"3/{10:056x}/8.jpg\n3/{99:056x}/8.jpg\n",
    }.items():
        (root / "subsets" / f"{subset}.txt").write_text(text)


def write_small(root):
    """The release of 2021, its numbers as strings for every other image."""
    for folder, images in SMALL.items():
        (root / folder / "annotations").mkdir(parents=True)
        for number, code, _ in images:
            draw(root / folder / "images" / f"{number}.jpg", SIZE)
            kind = str if number % 2 else np.float64
            for name, value in {
                "exp": np.array((kind if number % 2 else np.int64)(code)),
                "val": np.array(kind(-0.5)),
                "aro": np.array(kind(-2 if number == 3 else 0.25)),
                "lnd": POINTS.ravel(),
            }.items():
                np.save(root / folder / "annotations" / f"{number}_{name}.npy", value)


def write(manual):
    write_full(manual / "affectnet")
    write_small(manual / "affectnet")


@pytest.mark.medium
class TestFullSeven(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = Builder
    SPLITS = {"train": 7, "validation": 2, "occlusion": 1, "pose_30": 2, "pose_45": 1}
    OVERLAPPING_SPLITS = ["occlusion", "pose_30", "pose_45"]
    BUILDER_CONFIG_NAMES_TO_TEST = ["full_7"]


@pytest.mark.slow
class TestFullEight(TestFullSeven):
    SPLITS = {"train": 8, "validation": 3, "occlusion": 1, "pose_30": 3, "pose_45": 1}
    BUILDER_CONFIG_NAMES_TO_TEST = ["full_8"]


@pytest.mark.slow
class TestSmallSeven(TestFullSeven):
    SPLITS = {"train": 2, "validation": 1}
    BUILDER_CONFIG_NAMES_TO_TEST = ["small_7"]


@pytest.mark.slow
class TestSmallEight(TestFullSeven):
    SPLITS = {"train": 3, "validation": 2}
    BUILDER_CONFIG_NAMES_TO_TEST = ["small_8"]


FAMILIES = ("masked", "occluded", "corrupted")


@pytest.mark.slow
class TestCorruptedFullSeven(TestFullSeven):
    BUILDER_CONFIG_NAMES_TO_TEST = list(FAMILIES)


@pytest.mark.slow
class TestCorruptedFullEight(TestFullEight):
    BUILDER_CONFIG_NAMES_TO_TEST = [f"full_8_{family}" for family in FAMILIES]


@pytest.mark.slow
class TestCorruptedSmallSeven(TestSmallSeven):
    BUILDER_CONFIG_NAMES_TO_TEST = [f"small_7_{family}" for family in FAMILIES]


@pytest.mark.slow
class TestCorruptedSmallEight(TestSmallEight):
    BUILDER_CONFIG_NAMES_TO_TEST = [f"small_8_{family}" for family in FAMILIES]


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "manual")
    return tmp_path


def released(root):
    return root / "manual" / "affectnet"


def training(root):
    return released(root) / "Manually_Annotated_file_lists" / "training.csv"


def counts(builder):
    skipped = builder.info.metadata["skipped"]
    return {reason: facts["count"] for reason, facts in skipped.items()}


def nothing_is_left(root):
    """Whether a failed build left no file except the names of the configs."""
    files = [path for path in (root / "built").rglob("*") if path.is_file()]
    return all(path.parent.name == ".config" for path in files)


def without_subsets(root):
    shutil.rmtree(released(root) / "subsets")


def test_dummy_data_are_what_is_written_here(root):
    written = root / "manual"
    files = sorted(path for path in written.rglob("*") if path.is_file())
    assert len(files) == 12 + 2 + 3 + 5 * 5
    for path in files:
        committed = DUMMY / path.relative_to(written)
        if path.suffix == ".npy":
            np.testing.assert_array_equal(np.load(committed), np.load(path))
        elif path.suffix == ".jpg":
            assert committed.is_file()
        else:
            assert committed.read_text() == path.read_text()


@pytest.mark.medium
def test_full(root):
    without_subsets(root)
    builder = build(Builder, root, "full_8")
    found = examples(builder)
    names = builder.info.features["label"].names
    x, y, width, height = BOX
    for split, images in (("train", TRAIN[:8]), ("validation", VALIDATION)):
        assert len(found[split]) == len(images)
        for number, code, expression in images:
            example = found[split][path_of(number).removesuffix(".jpg")]
            path = released(root) / "Manually_Annotated_Images" / path_of(number)
            whole = np.asarray(Image.open(path))
            np.testing.assert_array_equal(
                example["image"], whole[y : y + height, x : x + width]
            )
            # Fractions of the crop lead back to the points in the whole image.
            np.testing.assert_allclose(
                example["landmarks"] * (width, height) + (x, y), POINTS, atol=1e-4
            )
            assert example["original_label"] == code
            assert names[example["label"]] == expression
            assert (example["valence"], example["arousal"]) == (-0.5, 0.25)


@pytest.mark.medium
def test_default_is_full_seven_and_counts_what_it_leaves_out(root):
    builder = build(Builder, root)
    assert builder.builder_config.name == "full_7"
    # Contempt is in pose_30 too, but it is one image, missing from one split.
    ids = [path_of(number).removesuffix(".jpg") for number in (7, 8, 11)]
    assert builder.info.metadata["skipped"] == {
        "occlusion list: line is a duplicate": {
            "count": 1,
            "first": [f"val/0/{9:056x}/"],
        },
        "pose_45 list: line names no known image": {
            "count": 1,
            "first": [f"3/{99:056x}/8.jpg"],
        },
        "contempt is not among the classes": {"count": 2, "first": [ids[0], ids[2]]},
        "label 10 is not an expression": {"count": 1, "first": [ids[1]]},
    }
    # The same when read back, and no file beside those of TFDS.
    again = Builder(data_dir=root / "built")
    assert again.info.metadata["skipped"] == builder.info.metadata["skipped"]
    assert not list(builder.data_path.glob("skipped*"))


@pytest.mark.slow
def test_subsets_are_parts_of_validation(root):
    found = examples(build(Builder, root, "full_8"))
    for subset, numbers in {
        "occlusion": [9],
        "pose_30": [9, 10, 11],
        "pose_45": [10],
    }.items():
        ids = {path_of(number).removesuffix(".jpg") for number in numbers}
        assert found[subset].keys() == ids
        for id in ids:
            np.testing.assert_equal(found[subset][id], found["validation"][id])


@pytest.mark.medium
def test_small(root):
    builder = build(Builder, root, "small_8")
    found = examples(builder)
    names = builder.info.features["label"].names
    for split, folder in (("train", "train_set"), ("validation", "val_set")):
        assert len(found[split]) == len(SMALL[folder])
        for number, code, expression in SMALL[folder]:
            example = found[split][f"{folder}/{number}"]
            assert example["image"].shape == (40, 48, 3)
            np.testing.assert_allclose(
                example["landmarks"] * SIZE, POINTS, rtol=0, atol=1e-4
            )
            assert example["original_label"] == code
            assert names[example["label"]] == expression
            assert example["valence"] == -0.5
            # -2 means that the annotator gave none.
            assert example["arousal"] == 0.25 or number == 3
    assert np.isnan(found["train"]["train_set/3"]["arousal"])
    assert counts(builder) == {}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A builder of the full release with rows and images of all kinds."""
    root = tmp_path_factory.mktemp("damaged")
    write(root / "manual")
    without_subsets(root)
    images = released(root) / "Manually_Annotated_Images"
    (images / path_of(0)).unlink()
    content = (images / path_of(1)).read_bytes()
    (images / path_of(1)).write_bytes(content[: len(content) // 2])
    with open(training(root), "a", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(row(2, 2, box=(0, 0, 9, 9)))
        rows.writerow(row(20, 11))
        rows.writerow(row(21, "happy"))
        rows.writerow(row(22, 1, valence="high"))
        rows.writerow(row(23, 1, points=POINTS[:60]))
        for number, box in {24: (48, 0, 9, 9), 25: (3, 3, -1, -1)}.items():
            draw(images / path_of(number), SIZE)
            rows.writerow(row(number, 1, box=box))
        # A box that reaches beyond the image, and no landmarks.
        draw(images / path_of(30), SIZE)
        rows.writerow(row(30, 1, box=(-8, -4, 100, 24)))
        fields = row(31, 1)
        fields[5] = "NULL"
        draw(images / path_of(31), SIZE)
        rows.writerow(fields)
        # More skips than names are kept.
        rows.writerows(row(number, 9) for number in range(100, 150))
        file.write("\n\n")
        file.write(",".join(map(str, row(26, 1)))[:80])  # truncated, without a line end
    return build(Builder, root)


@pytest.mark.medium
def test_bad_rows_and_images_are_skipped_and_named(damaged):
    found = examples(damaged)["train"]
    assert {int(id.split("/")[1], 16) for id in found} == {2, 3, 4, 5, 6, 30, 31}
    facts = dict(damaged.info.metadata["skipped"])
    many = facts.pop("label 9 is not an expression")
    assert many["count"] == 50
    assert len(many["first"]) == len(set(many["first"])) == 20
    skipped = {
        reason: [int(id.split("/")[1], 16) for id in fact["first"]]
        for reason, fact in facts.items()
    }
    assert skipped == {
        "image is missing": [0],
        "image is damaged (OSError)": [1],
        "row is a duplicate": [2],
        "label 11 outside the codes": [20],
        "label 'happy' outside the codes": [21],
        "row has values that are not numbers": [22, 23],
        "face box is empty or outside the image": [24, 25],
        "row has 6 fields, not 9": [26],
        "contempt is not among the classes": [7, 11],
        "label 10 is not an expression": [8],
    }
    assert all(fact["count"] == len(fact["first"]) for fact in facts.values())


@pytest.mark.medium
def test_missing_landmarks_and_a_box_over_the_edge(damaged):
    found = examples(damaged)["train"]
    over = found[path_of(30).removesuffix(".jpg")]
    assert over["image"].shape == (20, 48, 3)
    np.testing.assert_allclose(over["landmarks"] * (48, 20), POINTS, atol=1e-4)
    assert np.isnan(found[path_of(31).removesuffix(".jpg")]["landmarks"]).all()


@pytest.mark.medium
def test_bad_files_of_the_small_release(root):
    folder = released(root) / "train_set"
    annotations, images = folder / "annotations", folder / "images"
    (images / "0.jpg").unlink()  # annotated, but no image
    draw(images / "50.jpg", SIZE)  # an image, but no label
    for number in (51, 52, 53):
        draw(images / f"{number}.jpg", SIZE)
        for kind in ("exp", "val", "aro", "lnd"):
            shutil.copy(
                annotations / f"1_{kind}.npy", annotations / f"{number}_{kind}.npy"
            )
    np.save(annotations / "51_exp.npy", np.array({"code": 1}), allow_pickle=True)
    (annotations / "52_exp.npy").write_bytes(b"")
    np.save(annotations / "53_lnd.npy", POINTS[:5])
    (annotations / "53_val.npy").unlink()
    builder = build(Builder, root, "small_7")
    found = examples(builder)["train"]
    assert sorted(found) == ["train_set/1", "train_set/53"]
    assert np.isnan(found["train_set/53"]["landmarks"]).all()
    assert np.isnan(found["train_set/53"]["valence"])
    assert found["train_set/53"]["arousal"] == 0.25
    skipped = builder.info.metadata["skipped"]
    assert skipped["image is missing"]["first"] == ["train_set/0"]
    assert skipped["no label"]["first"] == [f"train_set/{n}" for n in (50, 51, 52)]
    assert skipped["annotation exp is damaged and ignored"]["first"] == [
        "51_exp.npy",
        "52_exp.npy",
    ]
    assert skipped["annotation lnd is damaged and ignored"]["first"] == ["53_lnd.npy"]
    assert skipped["annotation val is missing"]["first"] == ["50_val.npy", "53_val.npy"]


@pytest.mark.parametrize(
    ("missing", "config"),
    [
        ("Manually_Annotated_file_lists/validation.csv", "full_7"),
        ("Manually_Annotated_Images", "full_7"),
        ("val_set/annotations", "small_8"),
        ("train_set", "small_8"),
    ],
)
def test_incomplete_tree(root, missing, config):
    path = released(root) / missing
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(FileNotFoundError, match=missing.split("/")[0]):
        build(Builder, root, config)
    assert nothing_is_left(root)


def test_a_list_without_its_header(root):
    lines = training(root).read_text().splitlines(keepends=True)
    training(root).write_text("".join(lines[1:]))
    with pytest.raises(ValueError, match="put it on top"):
        build(Builder, root)
    assert nothing_is_left(root)


@pytest.mark.medium
def test_a_list_without_a_usable_row(root):
    without_subsets(root)
    training(root).write_text(f"{COLUMNS}\n")
    with pytest.raises(Exception, match="train"):
        build(Builder, root)
    assert nothing_is_left(root)


@pytest.mark.slow
def test_workers_in_other_processes(root):
    """The same examples and skips from a runner that pickles all it is given."""
    import apache_beam as beam

    options = beam.options.pipeline_options.PipelineOptions(
        ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    )
    here = build(Builder, root)
    (root / "there").mkdir()
    (root / "there" / "manual").symlink_to(root / "manual")
    there = build(Builder, root / "there", beam_options=options)
    np.testing.assert_equal(examples(there), examples(here))
    assert there.info.metadata["skipped"] == here.info.metadata["skipped"]


@pytest.mark.slow
def test_command_line(root):
    # Every subcommand imports it, and TFDS does not install it.
    pytest.importorskip("mlcroissant")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tensorflow_datasets.scripts.cli.main",
            "build",
            str(DUMMY.parent / "affectnet_dataset_builder.py"),
            "--config=small_8",
            f"--data_dir={root / 'built'}",
            f"--manual_dir={root / 'manual'}",
        ],
        check=True,
        cwd=DUMMY.parents[2],
    )
    assert (
        len(examples(Builder(data_dir=root / "built", config="small_8"))["train"]) == 3
    )


if __name__ == "__main__":
    shutil.rmtree(DUMMY, ignore_errors=True)
    write(DUMMY)
