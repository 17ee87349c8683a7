import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_fer.faces import ImageError
from keras_fer.labels import LABELS


def test_importing_registers_the_builders():
    code = (
        "import keras_fer.datasets, tensorflow_datasets as tfds;"
        "print(tfds.builder_cls('fer2013').__module__)"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert output.startswith("tfds_builders.fer2013")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Hugging Face's package, which caches in a folder of its own."""
    package = pytest.importorskip("datasets")
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setattr(package.config, "HF_DATASETS_CACHE", cache)
        yield package


@pytest.fixture
def functions(package):
    from keras_fer import datasets

    return datasets


def image(value):
    return Image.new("RGB", (30, 20), (value, 0, 0))


@pytest.fixture
def folder(tmp_path):
    """Of each split and class two images, whose red is their number."""
    number = 0
    for split, names in (("train", ("happy", "Angry", "fear")), ("test", ("fear",))):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            for _ in range(2):
                number += 1
                image(number).save(tmp_path / split / name / f"{number}.png")
    return tmp_path


@pytest.fixture
def repo(package, tmp_path):
    """Function that writes a dataset as the Hub has it, a Parquet file per split."""

    def write(columns, **features):
        number = len(next(iter(columns.values())))
        columns = {"face": [image(index) for index in range(number)], **columns}
        types = {"face": package.Image(), **features}
        data = package.Dataset.from_dict(columns)
        for name, feature in types.items():
            data = data.cast_column(name, feature)
        data.to_parquet(tmp_path / "train.parquet")
        return str(tmp_path)

    return write


def test_a_folder_is_mapped_by_name(folder, functions):
    splits = functions.imagefolder(folder)
    assert set(splits) == {"train", "test"}
    assert splits["train"].features["label"].names == list(LABELS)
    for data in splits.values():
        for row in data:
            number = np.asarray(row["image"])[0, 0, 0]
            (path,) = folder.glob(f"*/*/{number}.png")
            assert row["original_label"] == path.parent.name
            expected = {"happy": "happiness", "Angry": "anger", "fear": "fear"}
            assert LABELS[row["label"]] == expected[path.parent.name]
    assert splits["train"]["id"][:2] == ["train/0", "train/1"]


def test_arrays_are_what_the_images_are(folder, functions):
    data = functions.imagefolder(folder, split="train", classes=7)
    images, labels = functions.to_arrays(data, 24)
    assert (images.shape, images.dtype) == ((6, 24, 24, 3), np.uint8)
    red = [np.asarray(each)[0, 0, 0] for each in data["image"]]
    np.testing.assert_array_equal(images[:, 5, 5], [[each, 0, 0] for each in red])
    np.testing.assert_array_equal(labels, data["label"])


def test_a_damaged_image_is_named(folder, functions):
    (folder / "test" / "fear" / "7.png").write_bytes(b"no image")
    data = functions.imagefolder(folder, split="test")
    with pytest.raises(ImageError, match="Example 'test/0': .*7.png"):
        functions.to_arrays(data)


def test_named_classes_in_an_order_of_their_own(package, repo, functions):
    names = ["Surprised", "other", "contempt", "sad"]
    codes = [0, 1, 2, 3, 0, -1]
    path = repo(
        {"emotion": codes, "subject": list("aabbcc")},
        emotion=package.ClassLabel(names=names),
    )
    with pytest.raises(ValueError, match="is not known: 'other'. Pass labels="):
        functions.from_hub(path)
    with pytest.warns(UserWarning, match="Of 6 .*'train', 2 are skipped: ") as caught:
        data = functions.from_hub(path, split="train", labels={"other": None})
    assert "1 labeled 'other', 1 without a label" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert [LABELS[each] for each in data["label"]] == [
        *("surprise", "contempt", "sadness", "surprise")
    ]
    assert data["original_label"][:] == ["Surprised", "contempt", "sad", "Surprised"]
    assert data["subject"][:] == ["a", "b", "b", "c"]
    assert [np.asarray(each)[0, 0, 0] for each in data["image"]] == [0, 2, 3, 4]
    assert data["id"][:] == ["train/0", "train/2", "train/3", "train/4"]
    with pytest.warns(UserWarning, match="1 labeled 'contempt'"):
        data = functions.from_hub(
            path, split="train", labels={"other": None}, classes=7
        )
    assert data.features["label"].names == list(LABELS[:7])


def test_numbers_need_a_meaning(repo, functions):
    path = repo({"label": [1, 7, 4, 2], "id": ["w", "x", "y", "z"]})
    with pytest.raises(ValueError, match="is not known: 1, 7, 4, 2"):
        functions.from_hub(path)
    raf_db = functions.from_hub(path, split="train", labels="raf_db")
    names = [LABELS[each] for each in raf_db["label"]]
    assert names == ["surprise", "neutral", "happiness", "fear"]
    assert raf_db["original_label"][:] == [1, 7, 4, 2]
    assert raf_db["id"][:] == ["w", "x", "y", "z"]
    with pytest.raises(ValueError, match="is not known: 7, 4"):
        functions.from_hub(path, labels=["anger", "fear", "sadness"])


def test_the_name_of_a_class_counts_and_not_its_position(package, repo, functions):
    """As RAF-DB's folders 1 to 7, which are classes 0 to 6."""
    names = ["1", "2", "4", "fear"]
    path = repo({"label": [0, 1, 2, 3]}, label=package.ClassLabel(names=names))
    data = functions.from_hub(path, split="train", labels="raf_db")
    found = [LABELS[each] for each in data["label"]]
    assert found == ["surprise", "fear", "happiness", "fear"]


def test_text_is_mapped_by_name(repo, functions):
    path = repo({"mood": ["Joy", "angry", None], "note": ["x", "y", "z"]})
    with pytest.raises(ValueError, match="0 columns that may be the label.*'mood'"):
        functions.from_hub(path)
    with pytest.raises(ValueError, match="no column 'moods'. Pass label= one of"):
        functions.from_hub(path, label="moods")
    with pytest.warns(UserWarning, match="1 without a label"):
        data = functions.from_hub(path, split="train", label="mood")
    assert [LABELS[each] for each in data["label"]] == ["happiness", "anger"]


def test_bad_arguments(tmp_path, functions, folder):
    with pytest.raises(FileNotFoundError, match="path must be a folder with images"):
        functions.imagefolder(tmp_path / "gone")
    with pytest.raises(ValueError, match="classes must be 7 or 8, got 9"):
        functions.imagefolder(folder, classes=9)
    with pytest.raises(ValueError, match="labels must be a mapping, a sequence or"):
        functions.imagefolder(folder, labels="rafdb")


def test_without_the_package(folder, monkeypatch):
    from keras_fer import datasets

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install \"keras-fer\[huggingface\]\""):
        datasets.imagefolder(folder)
