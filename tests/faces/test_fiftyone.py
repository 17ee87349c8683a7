import sys

import pytest

from keras_fer.faces import Face, to_fiftyone

FACES = [
    Face((10, 20, 50, 40), "mtcnn", 0.9, None, {"neutral": 0.25, "anger": 0.75}),
    Face((0, 0, 100, 200), "haar"),
]


def test_boxes_are_fractions_and_labels_the_expressions():
    fiftyone = pytest.importorskip("fiftyone")
    labels = to_fiftyone(FACES, (100, 200))
    assert isinstance(labels, fiftyone.Detections)
    first, second = labels.detections
    assert first.bounding_box == [0.1, 0.1, 0.5, 0.2]
    assert (first.label, first.confidence, first.score) == ("anger", 0.75, 0.9)
    assert first.probabilities == FACES[0].probabilities
    assert (second.label, second.confidence) == ("face", None)
    assert second.bounding_box == [0, 0, 1, 1]
    assert to_fiftyone([], (100, 200)).detections == []
    with pytest.raises(ValueError, match="size must be that of the faces' image"):
        to_fiftyone(FACES, (200, 100))
    with pytest.raises(ValueError, match="size must be the image's width and height"):
        to_fiftyone([], (0, 100))


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(ImportError, match=r"pip install \"keras-fer\[fiftyone\]\""):
        to_fiftyone(FACES, (100, 200))
