import json
import os
import subprocess
import sys

import numpy as np
import pytest

from keras_fer.audit import audit, sources, table
from tests.audit.drawn import drawn, save, write


def test_without_splits_the_first_level_is_the_label(tmp_path):
    image = drawn(0)
    report = audit(
        write(
            tmp_path,
            {"anger/a.png": image, "fear/b.png": image, "top.png": drawn(1)},
        )
    )
    assert report["splits"] == {"all": 3}
    (group,) = report["conflicts"]["listed"]
    assert [p["label"] for p in group["images"]] == ["anger", "fear"]


@pytest.mark.parametrize("name", ["Training", "PublicTest", "val", "fold_3", "dev"])
def test_names_of_splits(tmp_path, name):
    report = audit(write(tmp_path, {f"{name}/anger/a.png": drawn(0)}))
    assert report["splits"] == {name: 1}


def test_a_link_to_a_folder_above_ends(tmp_path):
    write(tmp_path, {"train/anger/a.png": drawn(0)})
    (tmp_path / "train/anger/again").symlink_to(tmp_path)
    assert audit(tmp_path)["images"] == 1


def test_arrays(tmp_path):
    images = np.stack([drawn(seed) for seed in range(8)])
    save(tmp_path / "train.npz", images=images[:6], label=np.arange(6))
    other = images[[0, 6, 7]]
    save(tmp_path / "public_test.npz", images=other, label=np.array([3, 1, 1]))
    save(tmp_path / "train_landmarks.npz", landmarks=np.zeros((6, 68, 2)))
    report = audit(tmp_path)
    assert report["splits"] == {"public_test": 3, "train": 6}
    (group,) = report["conflicts"]["listed"]
    assert group["images"] == [
        {"name": "public_test[0]", "split": "public_test", "label": "3"},
        {"name": "train[0]", "split": "train", "label": "0"},
    ]


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"images": np.zeros((3, 8), np.uint8)}, "must be uint8"),
        ({"images": np.zeros((3, 8, 8), np.float32)}, "float32"),
        (
            {"images": np.zeros((3, 8, 8), np.uint8), "label": np.zeros(2)},
            "3 images and 2 values of label",
        ),
        ({"images": np.zeros((3, 0, 8), np.uint8)}, "at least one pixel"),
        ({"images": np.zeros((3, 8, 8, 0), np.uint8)}, "must be uint8"),
        ({"images": np.zeros((3, 8, 8, 4), np.uint8)}, "must be uint8"),
        ({"images": np.uint8(0)}, "must be uint8"),
        (
            {"images": np.zeros((3, 8, 8), np.uint8), "label": np.eye(3)},
            r"label of .* one value per image, got shape \(3, 3\)",
        ),
        (
            {"images": np.zeros((3, 8, 8), np.uint8), "subject": np.uint8(0)},
            r"subject of .* got shape \(\)",
        ),
        (
            {"images": np.zeros((3, 8, 8), np.uint8), "label": np.full(3, None)},
            "not an .npz file of arrays: .*allow_pickle",
        ),
    ],
)
def test_arrays_that_are_no_images(tmp_path, arrays, words):
    save(tmp_path / "train.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        audit(tmp_path)


def test_a_file_of_arrays_that_is_cut_off(tmp_path):
    path = tmp_path / "train.npz"
    save(path, images=np.zeros((3, 8, 8), np.uint8))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match="train.npz is not an .npz file"):
        audit(tmp_path)


def test_an_empty_array_has_no_images(tmp_path):
    save(tmp_path / "train.npz", images=np.zeros((0, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="has no images to audit"):
        audit(tmp_path)


@pytest.mark.parametrize("name", ["train.npz", "a.png"])
def test_pipes_do_not_hang(tmp_path, name):
    write(tmp_path, {"b.png": drawn(0)})
    os.mkfifo(tmp_path / name)
    code = "import sys; from keras_fer import cli; sys.exit(cli.main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "audit", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "special file" in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_damaged_files_of_arrays(tmp_path):
    """Whatever NumPy and zipfile raise is one `ValueError`, or the file is whole."""
    path = tmp_path / "train.npz"
    images = np.stack([drawn(seed, 16) for seed in range(3)])
    np.savez_compressed(path, images=images, label=np.arange(3))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(400):
        content = bytearray(whole)
        for at in rng.integers(0, len(content), 3):
            content[at] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            audit(tmp_path)
        except ValueError as error:
            failed += 1
            assert "train.npz" in str(error) or "has no images" in str(error)
    assert failed > 100
    np.save(tmp_path / "array.npy", images)
    (tmp_path / "array.npy").replace(path)
    with pytest.raises(ValueError, match="is not an .npz file of arrays"):
        audit(tmp_path)


def test_names_that_cannot_be_encoded(tmp_path):
    image = drawn(0)
    write(tmp_path, {"anger/a.png": image, "fear/b.png": image})
    try:
        os.rename(tmp_path / "fear", os.fsencode(tmp_path) + b"/\xff\x1b")
    except OSError:
        pytest.skip("the file system has encoded names only")
    report = audit(tmp_path)
    (group,) = report["conflicts"]["listed"]
    assert [entry["label"] for entry in group["images"]] == ["anger", "\udcff\x1b"]
    text = table(report)
    assert r"\udcff\x1b/b.png" in text
    text.encode("ascii")
    assert json.loads(json.dumps(report)) == report


def test_what_cannot_be_audited(tmp_path):
    with pytest.raises(ValueError, match="has no images to audit"):
        audit(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        audit(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="no_such_dataset"):
        audit("no_such_dataset")
    with pytest.raises(FileNotFoundError, match="There is no folder or TFDS dataset"):
        audit(tmp_path / "missing")


def test_a_dataset_that_is_not_prepared(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    builder = tfds.testing.DummyMnist(data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="tfds build"):
        sources.Dataset(builder, "mnist")


def faces_dataset():
    """A class of a TFDS dataset whose split `subset` is a part of `test`."""
    import tensorflow_datasets as tfds

    class Faces(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(48, 48, 1)),
                "label": tfds.features.ClassLabel(names=["neutral", "happiness"]),
                "id": tfds.features.Text(),
                "subject": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, _):
            return {
                "train": self._generate_examples("train", range(9)),
                "subset": self._generate_examples("test", (8, 10)),
                # The first one leaks, with another label.
                "test": self._generate_examples("test", range(8, 13)),
            }

        def _generate_examples(self, name, seeds):
            for seed in seeds:
                id = f"{name}/{seed}.png"
                yield (
                    id,
                    {
                        "image": drawn(seed)[..., None],
                        "label": int(name == "test"),
                        "id": id,
                        "subject": f"s{seed // 2}" if seed < 10 else "",
                    },
                )

    return Faces


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_tfds_dataset(tmp_path, file_format):
    builder = faces_dataset()(data_dir=tmp_path, file_format=file_format)
    builder.download_and_prepare()
    report = audit(builder.data_dir)
    assert report["splits"] == {"train": 9, "test": 5, "subset": 2}
    assert report["images"] == 16
    assert report["overlapping"] == {"subset": 2}
    exact, conflicts = report["exact"], report["conflicts"]
    assert {(e["of"], e["in"], e["images"]) for e in exact["across"]} == {
        ("train", "test", 1),
        ("test", "train", 1),
    }
    (group,) = conflicts["listed"]
    assert {(p["name"], p["label"]) for p in group["images"]} == {
        ("train/8.png", "neutral"),
        ("test/8.png", "happiness"),
    }
    assert report["near"]["pairs"] == 0
    assert report["subjects"] == {
        "known": 5,
        "across": 1,
        "listed": [{"subject": "s4", "splits": {"train": 1, "test": 2}}],
    }


def test_a_tfds_dataset_with_damaged_records(tmp_path):
    builder = faces_dataset()(data_dir=tmp_path, file_format="tfrecord")
    builder.download_and_prepare()
    (path,) = builder.data_path.glob("*train.tfrecord*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(bytes(content))
    with pytest.raises(OSError, match="Build the dataset again"):
        audit(builder.data_dir)
