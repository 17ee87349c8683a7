import math
import sys
import weakref

import numpy as np
import pytest
from PIL import Image

from keras_fer.faces import Face, ImageError, detect, read_image
from keras_fer.faces.detect import haar, load_detector, mtcnn

# By eye: from the brim of the cap to the chin, from ear to ear.
PORTRAIT_BOX = (165, 112, 200, 215)


def overlap(a, b):
    """Intersection over union of two boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def test_finds_the_portrait(portrait, detector, capfd):
    (face,) = detect(portrait, detector)
    assert overlap(face.box, PORTRAIT_BOX) > 0.6
    assert all(isinstance(value, int) for value in face.box)
    assert face.label is None and face.confidence is None
    if detector == "haar":
        assert face.score is None and face.landmarks is None
    else:
        assert 0.7 <= face.score <= 1
    assert capfd.readouterr().out == ""


def test_landmark_order(portrait, landmark_detector):
    (face,) = detect(portrait, landmark_detector)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_detectors_agree(portrait):
    (one,), (other,) = detect(portrait, "mtcnn"), detect(portrait, "haar")
    assert overlap(one.box, other.box) > 0.6


def test_crowd(crowd, detector):
    faces = detect(crowd, detector)
    assert len(faces) == 40
    cells = {(face.box[0] // 120, face.box[1] // 120) for face in faces}
    assert len(cells) == 40
    areas = [face.box[2] * face.box[3] for face in faces]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (19, 19), (300, 300)])
def test_no_face(detector, shape):
    assert detect(np.full((*shape, 3), 200, np.uint8), detector) == []


def test_noise_has_no_face(detector):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    assert detect(noise, detector) == []


def test_large_photo_has_the_same_face_scaled(portrait, detector):
    large = np.array(Image.fromarray(portrait).resize((2560, 3000)))
    (small_face,), (face,) = detect(portrait, detector), detect(large, detector)
    assert overlap(np.array(face.box) / 5, small_face.box) > 0.8
    if face.landmarks:
        np.testing.assert_allclose(
            np.array(face.landmarks) / 5, small_face.landmarks, atol=12
        )


def test_boxes_are_inside_the_image(portrait, detector):
    height, width = 225, 190
    part = portrait[130 : 130 + height, 155 : 155 + width]  # Tight around the face.
    for face in detect(
        part, detector, min_confidence=0.5 if detector != "haar" else None
    ):
        x, y, w, h = face.box
        assert 0 <= x < x + w <= width and 0 <= y < y + h <= height


def test_min_size(portrait, detector):
    assert len(detect(portrait, detector, min_size=150)) == 1
    assert detect(portrait, detector, min_size=300) == []


def test_min_confidence(portrait, landmark_detector):
    assert detect(portrait, landmark_detector, min_confidence=1.0) == []


def test_gray_image(portrait):
    gray = np.asarray(Image.fromarray(portrait).convert("L"))
    assert len(detect(gray, "haar")) == 1


def test_exif_turned_photo_has_the_same_face(tmp_path, portrait, detector):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(np.rot90(portrait)).save(path, exif=exif)
    assert detect(read_image(path), detector) == detect(portrait, detector)


def test_a_loaded_detector_is_taken(portrait, detector):
    loaded = load_detector(detector)
    assert load_detector(detector) is load_detector(loaded) is loaded
    assert detect(portrait, loaded) == detect(portrait, detector)


def test_bad_arguments(portrait):
    with pytest.raises(ValueError, match="one of mtcnn, haar, yunet.*got 'retina'"):
        detect(portrait, "retina")
    with pytest.raises(ValueError, match="min_size"):
        detect(portrait, "haar", min_size=0)
    with pytest.raises(ValueError, match="min_confidence"):
        detect(portrait, "haar", min_confidence=0.5)
    with pytest.raises(ImageError):
        detect(portrait[None], "haar")


def test_yunet_without_its_file(portrait, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_FER_YUNET", str(tmp_path / "gone.onnx"))
    with pytest.raises(ValueError, match="There is no YuNet file"):
        detect(portrait, "yunet")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(ValueError, match="OpenCV cannot read"):
        detect(portrait, broken)


@pytest.mark.parametrize("package", ["mtcnn", "cv2"])
def test_missing_package(portrait, monkeypatch, package):
    mtcnn.load.cache_clear()
    haar.load.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)  # Makes the import fail.
    with pytest.raises(ImportError, match=r'pip install "keras-fer\[faces\]"'):
        detect(portrait, "mtcnn" if package == "mtcnn" else "haar")


def test_faces_lean_as_the_image_does(portrait):
    """Guards the sign that alignment relies on."""
    leaning = np.array(Image.fromarray(portrait).rotate(-20))  # Clockwise.
    (face,) = detect(leaning, "mtcnn")
    (left_x, left_y), (right_x, right_y) = face.landmarks[:2]
    angle = math.degrees(math.atan2(right_y - left_y, right_x - left_x))
    assert 10 < angle < 30


def test_several_images_give_what_one_by_one_gives(portrait, crowd, detector):
    images = [portrait, np.zeros((9, 9)), crowd, portrait[:, ::-1], portrait[::2, ::2]]
    one_by_one = [detect(image, detector) for image in images]
    for several in (images, tuple(images), iter(images)):
        together = detect(several, detector)
        boxes = [[face.box for face in found] for found in together]
        assert boxes == [[face.box for face in found] for found in one_by_one]
        for faces, expected in zip(together, one_by_one, strict=True):
            for face, other in zip(faces, expected, strict=True):
                assert face.score == pytest.approx(other.score, abs=1e-4)
    assert detect([], detector) == []


def test_many_images_of_an_iterator_are_not_all_in_memory():
    alive = []

    def images():
        for _ in range(200):
            assert sum(each() is not None for each in alive) <= 64 + 1
            image = np.zeros((20, 20, 3), np.uint8)
            alive.append(weakref.ref(image))
            yield image

    assert detect(images(), None) == [detect(np.zeros((20, 20)), None)] * 200


def test_a_bad_image_of_a_list_is_numbered(portrait):
    with pytest.raises(ImageError, match="Image 1 of the list: image must have"):
        detect([portrait, portrait[..., 0, 0]], "haar")


def test_none_takes_the_whole_image():
    (face,) = detect(np.zeros((30, 2000, 3)), None)
    assert face == Face((0, 0, 2000, 30), "none")


def test_a_function_is_a_detector(portrait):
    def mine(image):
        assert image.dtype == np.uint8 and image.shape == (600, 512, 3)
        return [
            (10.4, 20, 30, 40),
            Face((-50, 100, 150, 700), "x", 0.5),
            (600, 0, 9, 9),
        ]

    large, small = detect(portrait, mine)
    assert large == Face((0, 100, 100, 500), "mine", 0.5)
    assert small == Face((10, 20, 30, 40), "mine")
    assert detect([portrait] * 2, mine, min_size=50) == [[large], [large]]
    with pytest.raises(ValueError, match="min_confidence.*'mine'"):
        detect(portrait, mine, min_confidence=0.5)
    with pytest.raises(ValueError, match="Box 0 of the detector 'mine' must be four"):

        def mine(image):
            return [(1, 2, 3)]

        detect(portrait, mine)
