import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_fer import LABELS, zoo
from keras_fer.cli.predict import sample_portrait

ASTRONAUT = pathlib.Path(__file__).parents[3] / "shared/photos/astronaut.png"


def changed(before, after):
    """Where two images differ."""
    before, after = (
        np.asarray(Image.open(file).convert("RGB")) for file in (before, after)
    )
    return (before != after).any(axis=-1)


@pytest.fixture
def portrait():
    return sample_portrait()


def test_without_a_path_it_reads_the_sample_portrait(run):
    status, output, _ = run("predict")
    first, second = output.splitlines()
    assert status == 0
    assert first.endswith("grace_hopper.jpg: 1 face")
    assert second.split()[0] in LABELS


def test_json_follows_the_schema(run, portrait):
    status, output, errors = run("predict", portrait, "--json")
    record = json.loads(output)
    assert (status, errors) == (0, "")
    assert set(record) == {"path", "faces", "error"}
    assert (record["path"], record["error"]) == (portrait, None)
    (face,) = record["faces"]
    assert set(face) == {"box", "label", "confidence", "probabilities"}
    assert tuple(face["probabilities"]) == LABELS
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert face["confidence"] == max(face["probabilities"].values())
    assert face["probabilities"][face["label"]] == face["confidence"]
    x, y, width, height = face["box"]
    assert 0 <= x < x + width <= 512 and 0 <= y < y + height <= 600


@pytest.mark.skipif(not ASTRONAUT.is_file(), reason="the photo is absent")
@pytest.mark.parametrize("model", ["patt_lite.ferplus", "patt_lite.fer2013"])
def test_the_astronaut_smiles(run, model):
    _, output, _ = run("predict", ASTRONAUT, "--json", "--model", model)
    (face,) = json.loads(output)["faces"]
    x, y, width, height = face["box"]
    assert face["label"] == "happiness"
    # Her nose is near (220, 120).
    assert x < 220 < x + width and y < 120 < y + height
    assert 80 < max(width, height) < 180


def test_one_bad_image_does_not_end_the_job(run, tmp_path, portrait):
    (tmp_path / "empty.jpg").touch()
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    (tmp_path / "text.jpg").write_text("not an image")
    status, output, errors = run(
        "predict",
        tmp_path,
        "gone.jpg",
        portrait,
        "--json",
        "--detector",
        "haar",
    )
    records = [json.loads(line) for line in output.splitlines()]
    names = [pathlib.Path(record["path"]).name for record in records]
    assert names == ["empty.jpg", "one.png", "text.jpg", "gone.jpg", "grace_hopper.jpg"]
    failed = [record["error"] is not None for record in records]
    assert failed == [True, False, True, True, False]
    assert [len(record["faces"]) for record in records] == [0, 0, 0, 0, 1]
    assert status == 1
    lines = [line for line in errors.splitlines() if line.startswith("keras-fer: ")]
    assert len(lines) == 4 and lines[-1] == "keras-fer: 3 of 5 images failed"


def test_save_writes_annotated_images_and_never_overwrites(run, tmp_path, portrait):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.open(portrait).save(tmp_path / folder / "photo.png")
    status, _, _ = run(
        "predict", tmp_path, "--save", tmp_path / "out", "--detector", "haar"
    )
    assert status == 0
    saved = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in saved] == ["photo_2_faces.png", "photo_faces.png"]
    assert 0 < changed(tmp_path / "a" / "photo.png", saved[0]).mean() < 0.2


def test_explain_writes_one_saliency_map_per_method(run, tmp_path, portrait):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.open(portrait).save(tmp_path / folder / "photo.png")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "b" / "plain.png")
    out = tmp_path / "out"
    status, output, errors = run(
        "predict", tmp_path, "--explain", "--save", out, "--json"
    )
    *_, face = (json.loads(line)["faces"] for line in output.splitlines()[:2])
    assert (status, "keras-fer: " in errors) == (0, False)
    names = ["faces", "grad_input", "grad_cam", "attention"]
    assert {file.name for file in out.iterdir()} == {"plain_faces.png"} | {
        f"photo{number}_{name}.png" for number in ("", "_2") for name in names
    }
    x, y, width, height = face[0]["box"]
    images = {}
    for name in names:
        file = out / f"photo_{name}.png"
        assert file.read_bytes() == (out / f"photo_2_{name}.png").read_bytes()
        images[name] = np.asarray(Image.open(file))
    assert len({image.tobytes() for image in images.values()}) == 4
    for name in names[1:]:
        file = out / f"photo_{name}.png"
        rows, columns = np.nonzero(changed(out / "photo_faces.png", file))
        # Inside the square around the box, perhaps turned a little; boxes and
        # captions are on top, so they are the same.
        assert abs(columns - x - width / 2).max() < 0.6 * max(width, height)
        assert abs(rows - y - height / 2).max() < 0.6 * max(width, height)
        assert len(rows) > 0.1 * width * height
        box = images[name][y, x : x + width]
        np.testing.assert_array_equal(box, images["faces"][y, x : x + width])


def test_explain_without_an_attention_layer(run, tmp_path, portrait, monkeypatch):
    from keras_fer.models import PAttLite

    plain = PAttLite(8, input_size=48, attention="none", backbone_weights=None)
    monkeypatch.setattr(zoo, "load", lambda name: plain)
    for name in ("a", "b"):
        Image.open(portrait).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    arguments = ("predict", tmp_path, "--detector", "haar", "--explain", "--save", out)
    status, _, errors = run(*arguments)
    assert status == 0
    (line,) = (line for line in errors.splitlines() if line.startswith("keras-fer: "))
    assert "attention is skipped" in line and "Use grad_input or grad_cam" in line
    names = ("faces", "grad_input", "grad_cam")
    assert {file.name for file in out.iterdir()} == {
        f"{stem}_{name}.png" for stem in "ab" for name in names
    }


def test_no_face_is_said(run, tmp_path):
    Image.new("RGB", (200, 200), "white").save(tmp_path / "blank.png")
    status, output, _ = run("predict", tmp_path / "blank.png")
    assert (status, output) == (0, f"{tmp_path / 'blank.png'}: no face found\n")


def test_the_first_frame_of_an_animation_is_said(run, tmp_path):
    frames = [Image.new("L", (64, 64), shade) for shade in (0, 255)]
    file = tmp_path / "moving.gif"
    frames[0].save(file, save_all=True, append_images=frames[1:])
    status, _, errors = run("predict", file, "--detector", "haar")
    assert status == 0
    assert "keras-fer: " in errors and "only the first one is read" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["predict", "--model", "pattlite"], "Did you mean patt_lite"),
        (["predict", "--detector", "magic"], "detector must be one of"),
        (["info", "patt"], "Unknown model"),
        (["predict", "--nonsense"], "--nonsense"),
        (["predict", "--explain"], "needs --save DIR"),
    ],
)
def test_wrong_usage(run, arguments, message):
    status, output, errors = run(*arguments)
    assert (status, output) == (2, "")
    assert message in errors


def test_it_is_quiet_as_a_process(portrait):
    """No chatter of TensorFlow on either stream."""
    done = subprocess.run(
        [sys.executable, "-m", "keras_fer.cli", "predict", portrait],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2
