import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import analyze, record
from keras_fer.faces import Face, ImageError, read_image


def test_photos_are_of_mixed_kinds_and_a_tenth_is_broken(tmp_path):
    paths = analyze.write_photos(tmp_path, 20)
    broken = []
    for index, path in enumerate(paths):
        try:
            read_image(path)
        except ImageError:
            broken.append(index)
    assert broken == [5, 15]
    with Image.open(paths[0]) as first, Image.open(paths[1]) as second:
        assert (first.format, first.mode) == ("JPEG", "L")
        assert (second.format, second.mode) == ("PNG", "RGB")
        assert first.size != second.size


def test_other_results_are_noticed():
    def face(box=(0, 0, 9, 9), probability=0.5):
        return Face(box, "haar", probabilities={"neutral": probability})

    analyze.check([[face()], ImageError("a")], [[face()], ImageError("a")])
    for other in ([face((0, 0, 9, 8))], [face(probability=0.6)], [], ImageError("a")):
        with pytest.raises((AssertionError, ValueError)):
            analyze.check([[face()]], [other])


@pytest.mark.medium
def test_the_result_follows_the_schema(tmp_path):
    path = tmp_path / "analyze.json"
    words = ["--detectors", "haar", "--images", "10", "--rounds", "3"]
    analyze.main([*words, "--out", str(path)])
    result = json.loads(path.read_text())
    record.check(result)
    haar = result["detectors"]["haar"]
    assert (haar["errors"], result["images"]) == (1, 10)
    assert np.isfinite(haar["ratio"]["median"])
