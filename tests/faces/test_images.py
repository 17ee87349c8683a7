import concurrent.futures
import io
import os
import pathlib
import subprocess
import sys
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from keras_fer.faces import ImageError, find_images, read_image
from keras_fer.faces.images import (
    FORMATS,
    MAX_PIXELS,
    MAX_SCANS,
    SUFFIXES,
    as_image,
    count_scans,
)


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


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_bytes_are_read_like_their_file(tmp_path, portrait, kind):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(portrait).save(path)
    content = path.read_bytes()
    np.testing.assert_array_equal(read_image(content), read_image(path))
    with pytest.raises(ImageError, match="^The image is damaged: "):
        read_image(content[: len(content) // 2])


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_bytes_that_are_no_image(content):
    with pytest.raises(ImageError, match="^The image is not an image in a format"):
        read_image(content)


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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_in_bands(tmp_path, orientation):
    """As Pillow turns the whole image; 2,500 rows are more than a band."""
    pixels = np.random.default_rng(0).integers(0, 256, (2500, 2000, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.bmp.tif"
    Image.fromarray(pixels).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    result = read_image(path)
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, expected)


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


# Hostile files


def isolated(code, *arguments, **options):
    """Runs code in a process of its own; its output and what it printed as errors."""
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


READ = """
import sys
from keras_fer.faces import ImageError, read_image
try:
    print(read_image(sys.argv[1]).shape)
except ImageError as error:
    print(error)
"""


def test_an_eps_file_starts_no_process(tmp_path):
    """Whatever it is called; Pillow would start Ghostscript, `gs`, to draw it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "gs"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    script.chmod(0o755)
    path = tmp_path / "cat.jpg"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n"
        b"%%EndComments\nshowpage\n%%EOF\n"
    )
    audited = (
        "import sys\n"
        "events = {'subprocess.Popen', 'os.system', 'os.exec', 'os.fork',"
        " 'os.posix_spawn', 'os.startfile'}\n"
        "sys.addaudithook(lambda event, _: print(event) if event in events else None)\n"
    )
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    output, _ = isolated(audited + READ, path, env=environment)
    assert not (tmp_path / "started").exists()
    assert output.startswith(f"'{path}' is not an image in a format that is read")
    assert len(output.splitlines()) == 1


def test_only_the_listed_formats_are_opened(tmp_path, monkeypatch):
    """Every format that Pillow can write, under the name of a JPEG."""
    Image.init()
    # Saving as SPIDER would claim the suffix.
    monkeypatch.setattr(Image, "EXTENSION", dict(Image.EXTENSION))
    opened = set()
    for kind in Image.SAVE:
        path = tmp_path / "image.jpg"
        try:
            Image.new("L", (32, 32), 100).convert("RGB").save(path, kind)
        except (OSError, ValueError, KeyError, AttributeError):
            continue
        try:
            read_image(path)
        except ImageError:
            continue
        with Image.open(path) as image:
            opened.add(image.format)
    assert opened == set(FORMATS)


def test_every_suffix_has_a_format_that_is_opened():
    Image.init()
    kinds = {Image.EXTENSION[suffix] for suffix in SUFFIXES}
    assert kinds == set(FORMATS)


def many_scans(side, number):
    """A progressive JPEG whose last scan, which changes nothing, is repeated."""
    buffer = io.BytesIO()
    Image.new("L", (side, side), 128).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xc4")
    extra = number - data.count(b"\xff\xda")
    return data[:-2] + data[last:-2] * extra + data[-2:]


def test_scans_are_counted():
    for number in (6, 50, 300):
        assert count_scans(many_scans(64, number)) == number
    image = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    )
    thumbnail, baseline, progressive = (io.BytesIO() for _ in range(3))
    image.save(thumbnail, "JPEG", progressive=True)
    # A JPEG inside the metadata is none of its scans.
    exif = b"Exif\0\0" + thumbnail.getvalue()
    image.save(baseline, "JPEG", exif=exif)
    image.save(progressive, "JPEG", exif=exif, progressive=True, restart_marker_rows=1)
    assert count_scans(baseline.getvalue()) == 1
    assert count_scans(progressive.getvalue()) == 10
    for damaged in (b"", b"\xff\xd8", b"\xff\xd8\xff\xda", b"\xff" * 100):
        assert count_scans(damaged) == 1


def test_a_jpeg_of_many_scans_is_refused_at_once(tmp_path):
    """Libjpeg takes ten seconds and more for this file of a few kilobytes."""
    path = tmp_path / "scans.jpg"
    path.write_bytes(many_scans(4000, 300))
    start = time.monotonic()
    assert f"300 scans; at most {MAX_SCANS} are read" in refused(path)
    path.write_bytes(many_scans(4000, 60))
    assert "4000x4000 pixels; at most 13,333,333 are read" in refused(path)
    assert time.monotonic() - start < 1
    path.write_bytes(many_scans(64, 60))
    assert read_image(path).shape == (64, 64, 3)


@pytest.mark.parametrize("size", [(1, 100_001), (100_001, 1)])
def test_a_side_may_have_100_000_pixels(tmp_path, size):
    path = tmp_path / "strip.png"
    Image.new("L", size).save(path)
    assert f"{size[0]}x{size[1]} pixels; sides of at most 100,000" in refused(path)
    Image.new("L", (2, 100_000)).save(path)
    assert read_image(path).shape == (100_000, 2, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "suffix", "options"),
    [
        ("RGBA", "png", {"compress_level": 1}),
        ("RGBA", "tif", {}),
        ("RGB", "jpg", {}),
        ("I;16", "png", {"compress_level": 1}),
        ("1", "png", {"compress_level": 1}),
        ("1", "tif", {"compression": "group4"}),
    ],
)
def test_a_hundred_megapixels_take_less_than_a_gigabyte(
    tmp_path, mode, suffix, options
):
    path = tmp_path / f"large.{suffix}"
    Image.new(mode, (10_000, 10_000), 1).save(path, **options)
    # A process starts with the peak of the one that it is forked from.
    code = "from tests.memory import peak\npeak(reset=True)" + READ + "print(peak())"
    output, _ = isolated(code, path, cwd=pathlib.Path(__file__).parents[2])
    shape, most = output.splitlines()
    assert shape == "(10000, 10000, 3)"
    assert int(most) < 2**30


@pytest.mark.parametrize(("suffix", "side"), [("webp", 8000), ("jpg", 9500)])
def test_images_whose_decoder_takes_more_are_refused(tmp_path, suffix, side):
    path = tmp_path / f"large.{suffix}"
    options = {"progressive": True} if suffix == "jpg" else {"lossless": True}
    Image.new("L", (side, side)).save(path, method=0, **options)
    assert f"{side}x{side} pixels; at most" in refused(path)


def test_nothing_is_printed_about_damaged_files(tmp_path, portrait):
    """Neither by Python's warnings and logs nor by C libraries."""
    image = Image.fromarray(portrait)
    rng = np.random.default_rng(0)
    for kind, options in (
        ("jpg", {}),
        ("png", {}),
        ("webp", {}),
        ("avif", {}),
        ("gif", {}),
        ("bmp", {}),
        ("ppm", {}),
        ("lzw.tif", {"compression": "tiff_lzw"}),
        ("jpeg.tif", {"compression": "jpeg"}),
        ("deflate.tif", {"compression": "tiff_adobe_deflate"}),
    ):
        image.resize((64, 75)).save(tmp_path / f"whole.{kind}", **options)
        whole = (tmp_path / f"whole.{kind}").read_bytes()
        for number in range(40):
            content = bytearray(whole[: rng.integers(8, len(whole) + 1)])
            for at in rng.integers(0, len(content), number % 4):
                content[at] = rng.integers(256)
            (tmp_path / f"{number}.{kind}").write_bytes(content)
    code = """
import pathlib, sys
from keras_fer.faces import ImageError, read_image
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        read_image(path)
    except ImageError as error:
        assert "\\n" not in str(error)
"""
    output, errors = isolated(code, tmp_path)
    assert (output, errors) == ("", "")


# Arrays


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


def test_threads_leave_the_filters_of_warnings_as_they_were(tmp_path):
    """They are the process's: each thread would restore what another had set."""
    path = tmp_path / "image.png"
    Image.new("RGB", (200, 200)).save(path)
    filters = warnings.filters[:]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(read_image, [path] * 200))
    assert warnings.filters == filters
