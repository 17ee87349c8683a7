import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_fer.cli.output import OutputFolder, is_output

IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
OTHER = 255 - IMAGE


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_every_kind(tmp_path):
    OutputFolder(tmp_path / "new" / "folder").write("a", {"x": IMAGE, "y": OTHER})
    folder = tmp_path / "new" / "folder"
    assert names(folder) == ["a_x.png", "a_y.png"]
    np.testing.assert_array_equal(Image.open(folder / "a_x.png"), IMAGE)
    np.testing.assert_array_equal(Image.open(folder / "a_y.png"), OTHER)


def test_a_taken_name_gets_a_number_for_all_kinds(tmp_path):
    (tmp_path / "a_y.png").write_text("mine")
    (tmp_path / "a_2_x.png").symlink_to(tmp_path / "elsewhere.png")
    output = OutputFolder(tmp_path)
    for _ in range(2):
        output.write("a", {"x": IMAGE, "y": IMAGE})
    assert (tmp_path / "a_y.png").read_text() == "mine"
    assert not (tmp_path / "elsewhere.png").exists()
    assert names(tmp_path) == sorted(
        ["a_y.png", "a_2_x.png", "a_3_x.png", "a_3_y.png", "a_4_x.png", "a_4_y.png"]
    )


def test_an_output_is_recognized(tmp_path):
    OutputFolder(tmp_path).write("a", {"x": IMAGE})
    Image.fromarray(IMAGE).save(tmp_path / "b.png")
    assert is_output(tmp_path / "a_x.png")
    assert not is_output(tmp_path / "b.png")
    assert not is_output(tmp_path / "none.png")


def test_files_have_the_usual_permissions(tmp_path):
    OutputFolder(tmp_path).write("a", {"x": IMAGE})
    (tmp_path / "plain").touch()
    assert (tmp_path / "a_x.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path):
    """A limit on the size of files stands in for the disk."""
    pytest.importorskip("resource")
    code = """
import pathlib, resource, sys
import numpy as np
from PIL import Image, PngImagePlugin
from keras_fer.cli.output import OutputFolder
noise = np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
try:
    OutputFolder(pathlib.Path(sys.argv[1])).write("a", {"s": noise[:4, :4], "x": noise})
except OSError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert f"File too large: '{tmp_path / 'a_x.png'}'" in done.stdout
    assert names(tmp_path) == []
