import csv
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from keras_fer import LABELS, analyze, faces, zoo
from keras_fer.cli.predict import sample_portrait
from keras_fer.faces.detect.base import percent


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


def test_tables_hold_what_the_json_lines_hold(run, portrait, tmp_path):
    blank = str(tmp_path / 'a "quoted", name.png')
    Image.new("RGB", (64, 64)).save(blank)
    arguments = ("predict", portrait, blank, "gone.jpg", "--model", "patt_lite.fer2013")
    records = [json.loads(line) for line in run(*arguments, "--json")[1].splitlines()]
    status, output, errors = run(*arguments, "--csv")
    rows = [*csv.DictReader(io.StringIO(output))]
    assert status == 1 and "There is no file 'gone.jpg'" in errors
    assert [row["path"] for row in rows] == [portrait, blank, "gone.jpg"]
    assert [row["face"] for row in rows] == ["0", "", ""]
    assert [row["error"] for row in rows] == ["", "", records[2]["error"]]
    (face,) = records[0]["faces"]
    assert [int(rows[0][side]) for side in ("x", "y", "width", "height")] == face["box"]
    for label, probability in face["probabilities"].items():
        assert float(rows[0][f"probability_{label}"]) == probability

    done = subprocess.run(
        [sys.executable, "-m", "keras_fer", *arguments, "--parquet"],
        capture_output=True,
    )
    table = pyarrow.parquet.read_table(io.BytesIO(done.stdout))
    assert done.returncode == 1 and table.column_names == [*rows[0]]
    first, *others = table.to_pylist()
    assert (first["label"], first["width"]) == (face["label"], face["box"][2])
    assert first["confidence"] == pytest.approx(face["confidence"])
    assert [row["path"] for row in others] == [blank, "gone.jpg"]
    assert [row["error"] for row in others] == [None, records[2]["error"]]


def test_the_header_needs_no_image(run, monkeypatch):
    monkeypatch.setattr(faces, "load_model", pytest.fail)
    status, output, _ = run("predict", "gone.jpg", "other.jpg", "--csv")
    header, *rows = csv.reader(io.StringIO(output))
    assert status == 1 and [row[0] for row in rows] == ["gone.jpg", "other.jpg"]
    labels = [name for name in header if name.startswith("probability_")]
    assert labels == [f"probability_{label}" for label in LABELS]


def test_parquet_is_not_for_a_terminal(run, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    status, output, errors = run("predict", "--parquet")
    assert (status, output) == (2, "") and "--out FILE.parquet" in errors


def test_a_small_annotated_image_is_enlarged(run, portrait, tmp_path):
    Image.open(portrait).resize((85, 100)).save(tmp_path / "small.png")
    arguments = ("--detector", "none", "--save", tmp_path / "out")
    assert run("predict", tmp_path / "small.png", *arguments)[0] == 0
    assert Image.open(tmp_path / "out" / "small_faces.png").size == (272, 320)


def test_balanced_is_that_of_analyze(run, portrait):
    status, output, _ = run("predict", portrait, "--json", "--balanced")
    (face,) = json.loads(output)["faces"]
    (expected,) = analyze(portrait, balanced=True)
    (plain,) = analyze(portrait)
    assert status == 0 and face["probabilities"] == expected.probabilities
    balance = zoo.info("patt_lite").balance
    odds = {
        label: plain.probabilities[label] / prior**balance.tau
        for label, prior in zip(LABELS, balance.prior, strict=True)
    }
    total = sum(odds.values())
    for label, value in odds.items():
        assert face["probabilities"][label] == pytest.approx(value / total, abs=1e-5)


def test_an_image_is_enough(run, portrait):
    expected = run("predict", portrait)
    assert run(portrait) == expected and expected[0] == 0
    assert run("gone.jpg")[0] == 1
    status, _, errors = run("pretict")
    assert status == 2 and "invalid choice: 'pretict'" in errors


def test_standard_input_as_a_process(portrait):
    done = subprocess.run(
        [sys.executable, "-m", "keras_fer", "-", "--json"],
        input=pathlib.Path(portrait).read_bytes(),
        capture_output=True,
        check=True,
    )
    record = json.loads(done.stdout)
    (expected,) = analyze(portrait)
    assert record == {"path": "-", "faces": [expected.to_dict()], "error": None}


def test_the_most_probable_labels(run, portrait):
    _, output, _ = run("predict", portrait, "--top-k", "3")
    (face,) = analyze(portrait)
    words = [f"{label} {value:.1%}" for label, value in face.top(3)]
    assert ", ".join(words) in output
    assert len(face.top(99)) == len(LABELS) and face.top(1)[0][0] == face.label
    status, _, errors = run("predict", portrait, "--top-k", "0")
    assert status == 2 and "--top-k" in errors


def test_nothing_is_certain():
    assert [percent(value, 1) for value in (1.0, 0.995, 0.99, 0.5)] == [
        ">99%",
        ">99%",
        "99.0%",
        "50.0%",
    ]


def test_limits_of_faces(run, portrait):
    for option, value in (("--min-size", 400), ("--min-confidence", 0.99999)):
        assert run("predict", portrait, option, value)[1].endswith("no face found\n")
    status, output, _ = run("predict", portrait, "--max-faces", 1)
    assert (status, output) == run("predict", portrait)[:2]


def test_a_wrong_path_is_told_before_anything_is_loaded(run, monkeypatch):
    monkeypatch.setattr(faces, "load_model", pytest.fail)
    monkeypatch.setattr(faces, "load_detector", pytest.fail)
    status, output, errors = run("predict", "gone.jpg")
    assert (status, output) == (1, "") and "There is no file 'gone.jpg'" in errors


def test_a_model_that_returns_nan_is_one_error_line(run, portrait, monkeypatch):
    model = zoo.load("patt_lite")
    logits = model.get_layer("logits")
    logits.set_weights([np.nan * weight for weight in logits.get_weights()])
    monkeypatch.setattr(faces, "load_model", lambda name, **_: model)
    status, output, errors = run("predict", portrait, "--json")
    record = json.loads(output, parse_constant=pytest.fail)
    assert (status, record["faces"]) == (1, [])
    assert f"The model '{model.name}' returned NaN" in record["error"]
    assert record["error"] in errors and errors.count("\n") == 1


@pytest.mark.parametrize("model", ["patt_lite.ferplus", "patt_lite.fer2013"])
def test_the_astronaut_smiles(run, shared, model):
    _, output, _ = run("predict", shared("astronaut"), "--json", "--model", model)
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


def test_save_writes_annotated_images_of_the_same_name(run, tmp_path, portrait):
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


def test_save_into_the_folder_of_the_images_loses_none(run, tmp_path, portrait):
    """A user's own `a_faces.png` is read, and is still there afterwards."""
    Image.open(portrait).save(tmp_path / "a.png")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "a_faces.png")
    mine = (tmp_path / "a_faces.png").read_bytes()
    arguments = ("predict", tmp_path, "--save", tmp_path, "--detector", "haar")
    status, output, errors = run(*arguments)
    assert (status, "keras-fer: " in errors) == (0, False)
    assert len(output.splitlines()) == 3
    assert (tmp_path / "a_faces.png").read_bytes() == mine
    saved = {"a_2_faces.png", "a_faces_faces.png"}
    assert {file.name for file in tmp_path.iterdir()} == {
        "a.png",
        "a_faces.png",
        *saved,
    }
    # What was written is not read by the next run, unless it is named.
    status, again, errors = run(*arguments[:2], "--detector", "haar")
    assert again == output
    assert "keras-fer: skipped images that --save wrote: 2." in errors
    named = tmp_path / "a_2_faces.png"
    status, again, _ = run("predict", named, "--detector", "haar")
    assert again.splitlines()[0] == f"{named}: 1 face"


def test_save_follows_no_link(run, tmp_path):
    Image.new("RGB", (64, 64), "white").save(tmp_path / "a.png")
    precious = tmp_path / "precious.txt"
    precious.write_text("keep")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a_faces.png").symlink_to(precious)
    (out / "a_2_faces.png").symlink_to(tmp_path / "new.png")
    run("predict", tmp_path / "a.png", "--save", out, "--detector", "haar")
    assert precious.read_text() == "keep" and not (tmp_path / "new.png").exists()
    assert (out / "a_3_faces.png").is_file()


def test_control_characters_are_escaped(run, tmp_path):
    name = "\x1b[31mred\n.png"
    Image.new("RGB", (64, 64), "white").save(tmp_path / name)
    (tmp_path / "z\x07.png").touch()
    status, output, errors = run("predict", tmp_path, "--detector", "haar")
    assert output == rf"{tmp_path}/\x1b[31mred\n.png: no face found" + "\n"
    assert status == 1 and r"z\x07.png" in errors
    assert not {"\x1b", "\x07"} & {*output, *errors.replace("\x1b[A", "")}


def command(*arguments, **options):
    """A process of `keras-fer predict` with the fast detector."""
    words = [sys.executable, "-m", "keras_fer.cli", "predict", "--detector", "haar"]
    return subprocess.Popen([*words, *map(os.fspath, arguments)], **options)


def test_names_that_cannot_be_encoded(tmp_path):
    """Neither in the file system's encoding nor in that of the terminal."""
    Image.new("RGB", (64, 64), "white").save(tmp_path / "é.png")
    try:
        os.rename(tmp_path / "é.png", os.fsencode(tmp_path) + b"/\xff.png")
    except OSError:
        pytest.skip("the file system has encoded names only")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "é.png")
    process = command(
        tmp_path,
        "--save",
        tmp_path / "out",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, b"")
    lines = [line.rpartition(b"/")[2] for line in output.splitlines()]
    assert sorted(lines) == [rb"\udcff.png: no face found", rb"\xe9.png: no face found"]
    saved = os.listdir(os.fsencode(tmp_path / "out"))
    assert sorted(saved) == [b"\xc3\xa9_faces.png", b"\xff_faces.png"]


def test_closed_standard_error(tmp_path):
    """Errors go nowhere, least of all into a file that was opened since."""
    (tmp_path / "bad.png").touch()
    Image.new("RGB", (64, 64), "white").save(tmp_path / "good.png")
    script = 'exec "$@" 2>&-'
    words = [sys.executable, "-m", "keras_fer.cli", "predict", "--detector", "haar"]
    done = subprocess.run(
        ["sh", "-c", script, "sh", *words, tmp_path, "--save", tmp_path / "out"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == f"{tmp_path / 'good.png'}: no face found\n"
    Image.open(tmp_path / "out" / "good_faces.png").load()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is absent")
def test_a_full_disk_behind_standard_output(tmp_path):
    Image.new("RGB", (64, 64), "white").save(tmp_path / "a.png")
    with open("/dev/full", "w") as full:
        process = command(tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
        _, errors = process.communicate()
    (line,) = errors.splitlines()
    assert process.returncode == 1
    assert line.startswith("keras-fer: ") and line.endswith("'standard output'")


def test_ctrl_c_ends_with_one_line_and_whole_results(tmp_path, portrait):
    out = tmp_path / "out"
    process = command(
        *[portrait] * 500,
        "--json",
        "--save",
        out,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background ignores the signal, and so does
        # what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    lines += output.splitlines()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "keras-fer: interrupted"
    assert "Traceback" not in errors
    assert all(json.loads(line)["error"] is None for line in lines)
    saved = list(out.iterdir())
    assert len(lines) <= len(saved) <= len(lines) + 1 < 500
    for file in saved:
        Image.open(file).load()


@pytest.mark.slow
def test_twenty_kills_leave_whole_images_and_own_files(tmp_path, portrait):
    """The folder of the images is also that of the results."""
    own = {}
    with Image.open(portrait) as image:
        for index in range(200):
            path = tmp_path / (f"{index}.png" if index % 2 else f"{index}_faces.png")
            image.resize((128, 150 + index % 7)).save(path)
            own[path] = path.read_bytes()
    rng = np.random.default_rng(0)
    results = 0
    for _ in range(20):
        before = set(tmp_path.glob("*.png"))
        process = command(
            tmp_path,
            "--json",
            "--save",
            tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        process.stdout.readline()
        time.sleep(rng.uniform(0, 2))
        process.kill()
        output, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL
        new = set(tmp_path.glob("*.png")) - before
        # What was printed is saved, and the kill may have come in between.
        printed = 1 + output.count("\n")
        assert printed <= len(new) <= printed + 1
        for path in new:
            Image.open(path).load()
        results += len(new)
    assert all(path.read_bytes() == content for path, content in own.items())
    print(f"20 kills, {results} whole images, {len(own)} files as they were")


@pytest.mark.medium
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
    # The attention of the default model is nearly uniform.
    told = [line for line in errors.splitlines() if line.startswith("keras-fer: ")]
    assert status == 0 and len(told) == 2
    assert all("attention prefers no part of a face in" in line for line in told)
    names = ["faces", "hires_cam", "smooth_grad", "grad_cam", "grad_input"]
    assert {file.name for file in out.iterdir()} == {"plain_faces.png"} | {
        f"photo{number}_{name}.png" for number in ("", "_2") for name in names
    }
    x, y, width, height = face[0]["box"]
    images = {}
    for name in names:
        file = out / f"photo_{name}.png"
        assert file.read_bytes() == (out / f"photo_2_{name}.png").read_bytes()
        images[name] = np.asarray(Image.open(file))
    assert len({image.tobytes() for image in images.values()}) == len(names)
    for name in names[1:]:
        file = out / f"photo_{name}.png"
        rows, columns = np.nonzero(changed(out / "photo_faces.png", file))
        # Inside the square around the box, perhaps turned a little; boxes and
        # captions are on top, so they are the same.
        assert abs(columns - x - width / 2).max() < 0.6 * max(width, height)
        assert abs(rows - y - height / 2).max() < 0.6 * max(width, height)
        # The maps of the finer methods are sparse.
        least = 0.01 if name in ("hires_cam", "smooth_grad") else 0.1
        assert len(rows) > least * width * height
        box = images[name][y, x : x + width]
        np.testing.assert_array_equal(box, images["faces"][y, x : x + width])


@pytest.mark.medium
def test_explain_without_an_attention_layer(run, tmp_path, portrait, monkeypatch):
    from keras_fer.models import PAttLite

    plain = PAttLite(8, input_size=48, attention="none", backbone_weights=None)
    monkeypatch.setattr(zoo, "load", lambda name, **_: plain)
    for name in ("a", "b"):
        Image.open(portrait).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    arguments = ("predict", tmp_path, "--detector", "haar", "--explain", "--save", out)
    status, _, errors = run(*arguments)
    assert status == 0
    (line,) = (line for line in errors.splitlines() if line.startswith("keras-fer: "))
    assert "attention is skipped" in line and "Use another method" in line
    names = ("faces", "hires_cam", "smooth_grad", "grad_cam", "grad_input")
    assert {file.name for file in out.iterdir()} == {
        f"{stem}_{name}.png" for stem in "ab" for name in names
    }


def test_out_writes_a_file_and_says_what_is_in_it(run, tmp_path, portrait):
    (tmp_path / "text.jpg").write_text("not an image")
    out = tmp_path / "results.csv"
    arguments = ("predict", portrait, tmp_path, "--out", out)
    for _ in range(2):  # The second run finds everything finished.
        status, output, errors = run(*arguments)
        assert (status, output) == (1, f"{out}: 2 images, 1 face\n")
        assert errors == f"keras-fer: 1 of 2 images failed; see 'error' in {out}\n"
    header, first, second = out.read_text().splitlines()
    assert first.startswith(f"{portrait},0,") and "text.jpg" in second
    before = out.read_bytes()
    status, output, errors = run(*arguments, "--detector", "none")
    assert (status, output, errors.count("\n")) == (1, "", 1)
    assert "another detector: 'mtcnn', not 'none'" in errors
    assert out.read_bytes() == before


def test_crops_need_no_detector(run, tmp_path):
    Image.new("RGB", (48, 40), "gray").save(tmp_path / "a.png")
    status, output, _ = run("predict", tmp_path, "--detector", "none", "--json")
    (face,) = json.loads(output)["faces"]
    assert (status, face["box"]) == (0, [0, 0, 48, 40])


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
        (["info", "patt"], "name must be one of"),
        (["predict", "--nonsense"], "--nonsense"),
        (["predict", "--explain"], "needs --save DIR"),
        (["predict", "--out", "r.txt"], "--out must end in .parquet, .csv, .jsonl"),
        (["predict", "--out", "r.csv", "--json"], "not allowed with argument --out"),
        (["predict", "--csv", "--json"], "not allowed with argument --csv"),
        (["predict", "--out", "r.csv", "--save", "d"], "not the images of --save"),
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
