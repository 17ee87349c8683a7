import io
import os
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_fer.faces import ImageError, find_images, read_image
from keras_fer.faces.images import MAX_PIXELS, as_image


def refused(path):
    """The one line with which an image is refused."""
    with pytest.raises(ImageError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message and len(message.split(". ")) == 2
    return message


def png_of_size(width, height):
    """The head of a PNG that claims a size; there is nothing to decode in it."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def test_missing_file(tmp_path):
    assert "There is no file" in refused(tmp_path / "none.jpg")


def test_folder(tmp_path):
    assert "no images in the folder" in refused(tmp_path)
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    assert "a folder, not an image" in refused(tmp_path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.jpg"
    path.touch()
    assert "an empty or a special file" in refused(path)


def test_pipe_does_not_hang(tmp_path):
    path = tmp_path / "pipe.jpg"
    os.mkfifo(path)
    assert "special file" in refused(path)


def test_text_with_an_images_name(tmp_path):
    path = tmp_path / "text.jpg"
    path.write_text("hello")
    assert "is not an image" in refused(path)


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp", "tiff"])
def test_truncated(tmp_path, portrait, kind):
    path = tmp_path / f"cut.{kind}"
    Image.fromarray(portrait).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(path)


@pytest.mark.parametrize("side", [10_500, 13_000, 30_000])
def test_bomb_is_refused_before_decoding(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_size(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f"at most {MAX_PIXELS:,} are read" in refused(path)


def test_cmyk(tmp_path):
    path = tmp_path / "cmyk.jpg"
    Image.new("RGB", (16, 16), (200, 30, 60)).convert("CMYK").save(path, quality=98)
    np.testing.assert_allclose(read_image(path)[8, 8], (200, 30, 60), atol=4)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_gray_is_scaled(tmp_path, suffix):
    path = tmp_path / f"gray.{suffix}"
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(read_image(path)[0, :, 0], [0, 1, 128, 255])


def test_float_image_is_refused(tmp_path):
    path = tmp_path / "float.tif"
    Image.fromarray(np.zeros((4, 4), np.float32)).save(path)
    assert "floating-point" in refused(path)


def test_alpha_is_laid_on_white(tmp_path):
    path = tmp_path / "alpha.png"
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0]]], dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    expected = [[[255, 0, 0], [255, 255, 255]]]
    np.testing.assert_array_equal(read_image(path), expected)


def test_palette(tmp_path):
    path = tmp_path / "palette.png"
    Image.new("RGB", (4, 4), (10, 200, 30)).quantize(4).save(path)
    np.testing.assert_array_equal(read_image(path)[0, 0], (10, 200, 30))


def test_exif_orientation(tmp_path):
    path = tmp_path / "turned.png"
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # Shown after a quarter turn clockwise.
    Image.fromarray(pixels).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), np.rot90(pixels, -1))


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_first_frame_of_an_animation_and_said_so(tmp_path, suffix):
    path = tmp_path / f"moving.{suffix}"
    white, black = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (8, 8))
    white.save(path, save_all=True, append_images=[black])
    with pytest.warns(UserWarning, match="only the first one is read"):
        image = read_image(path)
    assert image.min() > 250


def test_one_pixel(tmp_path):
    path = tmp_path / "dot.png"
    Image.new("1", (1, 1), 1).save(path)
    np.testing.assert_array_equal(read_image(path), np.full((1, 1, 3), 255))


def test_arrays_that_are_images():
    gray = np.arange(6, dtype=np.uint8).reshape(2, 3)
    rgb = np.repeat(gray[..., None], 3, axis=-1)
    for image in (gray, gray[..., None], rgb, gray.astype(int), gray.astype(float)):
        result = as_image(image)
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, rgb)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 8, 8, 3)), "a batch"),
        (np.zeros((8, 8, 4)), r"\[\.\.\., :3\]"),
        (np.zeros((3, 8, 8)), "channels come last"),
        (np.zeros(8), "must have the shape"),
        (np.zeros((0, 8, 3)), "empty"),
        (np.zeros((8, 8), dtype=bool), "dtype bool"),
        (np.zeros((8, 8), dtype=complex), "dtype complex"),
        (np.full((8, 8), "a"), "dtype <U1"),
        (np.full((8, 8), None), "dtype object"),
        (np.full((8, 8), np.nan), "NaN"),
        (np.full((8, 8), np.inf), "infinity"),
        (np.full((8, 8), -1), "-1 to -1"),
        (np.full((8, 8), 256), "256"),
        (np.full((8, 8), 0.5), "Multiply them by 255"),
    ],
)
def test_arrays_that_are_not(array, words):
    with pytest.raises(ImageError, match=words):
        as_image(array)


def test_find_images(tmp_path):
    for name in ("b.JPG", "a.png", "note.txt", ".hidden.png", "sub/c.webp"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = [str(tmp_path / name) for name in ("a.png", "b.JPG", "sub/c.webp")]
    assert find_images(tmp_path) == found
    assert find_images(str(tmp_path / "**" / "*.*[gp]")) == [found[0], found[2]]
    odd = [str(tmp_path / "note.txt"), "missing.jpg"]
    assert find_images(odd) == odd


def test_file_whose_name_looks_like_a_pattern(tmp_path):
    path = tmp_path / "photo[1].png"
    Image.new("L", (2, 2)).save(path)
    assert find_images([path]) == [str(path)]


def test_nothing_found_is_reported_when_read(tmp_path):
    pattern = str(tmp_path / "*.jpg")
    assert find_images([tmp_path, pattern]) == [str(tmp_path), pattern]
    assert "No file matches" in refused(pattern)


def test_import_is_light():
    code = (
        "import sys, keras_fer.faces\n"
        "print(sorted({'tensorflow', 'keras', 'cv2', 'mtcnn'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]", result.stderr
