import json

import numpy as np
import pytest

from benchmarks import detection, record


def test_overlap_by_hand():
    assert detection.overlap((0, 0, 2, 2), (1, 0, 2, 2)) == pytest.approx(1 / 3)
    assert detection.overlap((0, 0, 2, 2), (2, 0, 2, 2)) == 0


def test_synthetic_photos_hold_their_faces_where_they_say():
    photos = detection.synthetic_photos()
    assert photos[0][1] is None and len(photos) == 9
    for image, box in photos:
        assert image.shape == (512, 512, 3) and image.dtype == np.uint8
        if box is not None:
            assert abs(box[1] + box[3] / 2 - 256) < 1


@pytest.mark.medium
def test_the_result_follows_the_schema(tmp_path):
    path = tmp_path / "detection.json"
    detection.main(["--detectors", "haar", "--rounds", "3", "--out", str(path)])
    result = json.loads(path.read_text())
    record.check(result)
    haar = result["detectors"]["haar"]
    assert haar["expected"] == 8 and haar["ratio_to_first"]["median"] == 1
