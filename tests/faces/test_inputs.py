"""Every form of an image, alone and many at once."""

import io
import pathlib
import threading
import warnings
import weakref

import keras
import numpy as np
import pytest
from PIL import Image

from keras_fer.faces import ImageError, analyze, read_image
from keras_fer.faces.inputs import open_image, several

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(PIXELS).save(path)
    return path


@pytest.mark.parametrize(
    "form",
    [
        str,
        pathlib.Path,
        lambda path: path.read_bytes(),
        lambda path: bytearray(path.read_bytes()),
        lambda path: memoryview(path.read_bytes()),
        lambda path: open(path, "rb"),
        lambda path: io.BytesIO(path.read_bytes()),
        Image.open,
        lambda path: PIXELS,
        lambda path: PIXELS.astype("float32"),
        lambda path: keras.ops.convert_to_tensor(PIXELS),
        lambda path: np.dstack([PIXELS, np.full((20, 30), 255, np.uint8)]),
    ],
)
def test_every_form_is_the_same_image(path, form):
    image = form(path)
    assert several(image) is None
    np.testing.assert_array_equal(open_image(image), PIXELS)


def test_opencv_arrays():
    np.testing.assert_array_equal(open_image(PIXELS[..., ::-1], "bgr"), PIXELS)
    alpha = np.full((20, 30), 255, np.uint8)
    bgra = np.dstack([PIXELS[..., ::-1], alpha])
    np.testing.assert_array_equal(open_image(bgra, "bgr"), PIXELS)
    gray = PIXELS[..., 0]
    np.testing.assert_array_equal(open_image(gray, "bgr"), gray[..., None].repeat(3, 2))


def test_transparent_pixels_are_white():
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0, 3] = 255
    expected = np.full((2, 2, 3), 255)
    expected[0, 0] = 0
    np.testing.assert_array_equal(open_image(rgba), expected)


def test_pil_images_are_turned_upright(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS).save(path, exif=exif)
    with Image.open(path) as image:
        np.testing.assert_array_equal(open_image(image), read_image(path))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "must be a path, a URL, bytes, a file object, a PIL image or an array"),
        (io.StringIO("text"), "must return bytes"),
        (b"text", "The image is not an image in a format"),
        (io.BytesIO(b"text"), "The image is not an image in a format"),
        (Image.new("F", (2, 2)), "The image is a floating-point image"),
        (np.zeros((2, 2, 4), "float32"), "Drop the alpha channel"),
    ],
)
def test_other_things_are_refused(image, message):
    with pytest.raises(ImageError, match=message):
        open_image(image)


@pytest.mark.parametrize("detector", ["mtcnn", "haar"])
def test_a_hundred_images_ten_of_them_broken(portrait_path, portrait, detector):
    """Results in order, each as from a call of its own."""
    content = pathlib.Path(portrait_path).read_bytes()
    small = np.asarray(Image.fromarray(portrait).resize((128, 150)))
    forms = [portrait_path, content, portrait, small, small[::-1, ::-1]]
    images = [forms[index % 5] for index in range(100)]
    broken = range(3, 100, 10)
    for index in broken:
        images[index] = [b"broken", "gone.jpg"][index % 20 == 3]
    results = analyze(iter(images), detector=detector, errors="return")
    assert len(results) == 100
    expected = [analyze(form, detector=detector) for form in forms]
    for index, result in enumerate(results):
        if index in broken:
            assert isinstance(result, ImageError)
            continue
        alone = expected[index % 5]
        assert [face.box for face in result] == [face.box for face in alone]
        for one, another in zip(result, alone, strict=True):
            assert one.probabilities == pytest.approx(another.probabilities, abs=1e-5)
    with pytest.raises(ImageError, match="Image 3 of the list: "):
        analyze(images, detector=detector)


def test_an_iterator_is_read_a_few_images_ahead(monkeypatch):
    """So memory does not grow with their number, and a bad one ends it early."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    given, held, most = 0, set(), 0

    class Counted(np.ndarray):
        """An image that is known while it is in memory."""

    def images():
        nonlocal given, most
        for _ in range(40):
            given += 1
            image = np.zeros((32, 32, 3), np.uint8).view(Counted)
            held.add(given)
            weakref.finalize(image, held.discard, given)
            most = max(most, len(held))
            yield image
            del image
        yield b"broken"
        for _ in range(100):
            given += 1
            yield PIXELS

    with pytest.raises(ImageError, match="Image 40 of the list: "):
        analyze(images(), detector=None)
    assert most <= 5 and given <= 44


def test_a_function_detects_in_order_in_the_thread_of_its_caller(portrait):
    """It may count, or talk to what knows one thread only."""
    calls = []

    def detector(image):
        calls.append((threading.get_ident(), int(image[0, 0, 0])))
        return []

    images = [np.full((20, 20, 3), value, np.uint8) for value in range(30)]
    assert analyze(images, detector=detector) == [[]] * 30
    assert calls == [(threading.get_ident(), value) for value in range(30)]


def test_animations_are_warned_of_once_each(tmp_path):
    frames = [Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])]
    for name in ("a.gif", "b.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    paths = [tmp_path / name for name in ("a.gif", "b.gif", "a.gif")]
    filters = warnings.filters[:]
    with pytest.warns(UserWarning, match="has several frames") as caught:
        analyze(paths, detector=None)
    told = [str(each.message).split(" has ")[0] for each in caught]
    assert told == [repr(str(path)) for path in paths[:2]]
    assert {each.filename for each in caught} == {__file__}
    assert warnings.filters == filters


def test_boxes_for_each_of_several_images(portrait):
    boxes = [[(150, 60, 100, 120), (0, 0, 50, 50)], [], [(160, 50, 120, 120)]]
    results = analyze([portrait] * 3, boxes=boxes)
    assert [[face.box for face in faces] for faces in results] == boxes
    with pytest.raises(ValueError, match="for each image, got 2 lists and more images"):
        analyze([portrait] * 3, boxes=boxes[:2])


def test_the_largest_faces(crowd):
    every = analyze(crowd, detector="haar")
    assert len(every) > 3
    assert analyze(crowd, detector="haar", max_faces=3) == every[:3]
    with pytest.raises(ValueError, match="max_faces must be 1 or more, or None, got 0"):
        analyze(crowd, max_faces=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"errors": "ignore"}, "errors must be 'raise' or 'return', got 'ignore'"),
        ({"channel_order": "gbr"}, "channel_order must be 'rgb' or 'bgr', got 'gbr'"),
    ],
)
def test_unknown_choices(portrait, options, message):
    with pytest.raises(ValueError, match=message):
        analyze(portrait, **options)


def test_a_wrong_path_is_told_before_the_model_is_loaded():
    with pytest.raises(ImageError, match="There is no file 'gone.jpg'"):
        analyze("gone.jpg", model="no such model")
