import numpy as np
import pytest
from PIL import Image

from keras_fer.faces import load_detector
from keras_fer.labeled import (
    LabeledImage,
    in_order,
    known_names,
    read_crops,
    read_source,
    select_split,
)


def write(path, size=(20, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 10, 10)).save(path)
    return str(path)


def test_subfolders_are_classes(tmp_path):
    paths = [write(tmp_path / name) for name in ("a/1.png", "a/x/2.png", "b/1.jpg")]
    write(tmp_path / "3.png")  # In no class.
    (tmp_path / "a" / "notes.txt").write_text("no image")
    expected = [
        LabeledImage(path, label) for path, label in zip(paths, "aab", strict=True)
    ]
    assert read_source(tmp_path) == expected


def test_subfolders_may_be_splits(tmp_path):
    paths = [write(tmp_path / name) for name in ("test/a/1.png", "train/b/1.png")]
    test, train = read_source(tmp_path)
    assert test == LabeledImage(paths[0], "a", None, "test")
    assert train == LabeledImage(paths[1], "b", None, "train")
    assert select_split([test, train], "train", tmp_path) == [train]
    with pytest.raises(ValueError, match="must be one of test, train; got 'val'"):
        select_split([test, train], "val", tmp_path)
    with pytest.raises(ValueError, match="must be one of test, train; none was named"):
        select_split([test, train], None, tmp_path)
    assert select_split([train], None, tmp_path) == [train]


def test_tables(tmp_path):
    table = tmp_path / "all.csv"
    table.write_text("\ufefflabel,path,subject\nsad, one.png ,s1\nmad,/x/two.png,\n")
    assert read_source(table) == [
        LabeledImage(str(tmp_path / "one.png"), "sad", "s1"),
        LabeledImage("/x/two.png", "mad"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file,label\n", "path is missing from file, label"),
        (b"", "path and label is missing from an empty file"),
        (b"path,label\na.png,\n", "Line 2 .* must have a path and a label"),
        (b"path,label\n", "has no labeled images"),
        (b"\x89PNG\xff\n", "not a CSV file in UTF-8"),
        (b'path,label\n"a.png,x\n', "not a CSV file in UTF-8"),
    ],
)
def test_other_tables_are_refused(tmp_path, content, message):
    (tmp_path / "all.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_source(tmp_path / "all.csv")


def test_sources_without_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="has no labeled images"):
        read_source(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder or file"):
        read_source(tmp_path / "gone")


def test_names_of_expressions():
    known = ("neutral", "happiness", "anger")
    given = ["Happy", "angry", "anger", "sad", "calm"]
    assert known_names(given, known) == {"Happy": "happiness", "angry": "anger"}
    assert in_order(["zeal", "anger", "neutral", "calm", "anger"]) == (
        "neutral",
        "anger",
        "calm",
        "zeal",
    )


def test_crops_are_the_largest_faces_or_say_why_there_is_none(tmp_path):
    paths = [write(tmp_path / f"a/{name}.png", (40, 30)) for name in "12345"]
    (tmp_path / "a" / "2.png").write_bytes(b"damaged")

    def detector(image):
        boxes = {3: [], 4: [(0, 0, 5, 5), (10, 10, 20, 20)]}
        return boxes.get(next(number), [(0, 0, 10, 10)])

    number = iter((1, 3, 4, 5))
    items = read_source(tmp_path)
    crops = list(read_crops(items, load_detector(detector)))
    assert [crop.item.path for crop in crops] == paths
    assert [crop.faces for crop in crops] == [1, 0, 0, 2, 1]
    assert "is not an image" in crops[1].problem
    assert crops[2].problem == "no face was found" and crops[2].error is None
    assert crops[3].problem is None and crops[3].pixels.shape == (20, 20, 3)
    np.testing.assert_array_equal(crops[0].pixels[5, 5], (200, 10, 10))
