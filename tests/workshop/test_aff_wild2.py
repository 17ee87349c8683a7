import json

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

import keras_fer
from tests.tfds_builders.drawn_faces import NAMES, draw
from zoo import aff_wild2

MODEL = "patt_lite.ferplus"
CLASSES = NAMES.lower().split(",")
EIGHT = f"{NAMES},Other"


def slowly(probabilities, known, window):
    """The same as `smooth`, frame by frame."""
    frames = len(known)
    means = {}
    for frame in range(frames):
        rows = [
            other
            for other in range(frame - window // 2, frame + window // 2 + 1)
            if 0 <= other < frames and known[other]
        ]
        if rows:
            means[frame] = probabilities[rows].mean(axis=0)
    return np.stack(
        [means[min(means, key=lambda f: (abs(f - i), f))] for i in range(frames)]
    )


@pytest.mark.parametrize("window", [1, 3, 9, 101])
@pytest.mark.parametrize("seed", range(6))
def test_smoothing_and_filling_are_those_of_plain_loops(window, seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(7), 40)
    known = rng.random(40) < [0.03, 0.3, 0.9][seed % 3]
    known[rng.integers(40)] = True
    found = aff_wild2.smooth(probabilities, known, window)
    np.testing.assert_allclose(found, slowly(probabilities, known, window), atol=1e-12)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Crops with gaps, and annotations of both kinds: five frames, and thirty."""
    root = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for name, frames, missing in (("1-30-1280x720", 5, {1, 4}), ("b_left", 30, {7, 8})):
        for frame in set(range(1, frames + 1)) - missing:
            draw(root / "crops" / name / f"{frame:05d}.jpg", (112, 112))
        for codes, header in ((7, NAMES), (8, EIGHT)):
            lines = map(str, rng.integers(-1, codes, frames))
            path = root / str(codes) / f"{name}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join([header, *lines]) + "\n")
    # Damaged crops are frames without one.
    (root / "crops" / "b_left" / "00030.jpg").write_bytes(b"\xff\xd8 no image")
    return root


def run(capsys, *words):
    status = aff_wild2.main([str(word) for word in words])
    return status, *capsys.readouterr()


def expected_codes(root, name, frames, window):
    """Predictions from the model alone, one image at a time."""
    model = keras_fer.zoo.load(MODEL)
    places = [model.labels.index(label) for label in CLASSES]
    rows, known = np.zeros((frames, 7)), np.zeros(frames, bool)
    for path in sorted((root / "crops" / name).iterdir()):
        try:
            image = np.asarray(Image.open(path))
        except OSError:
            continue
        given = model.predict(image[None], verbose=0)[0][places]
        rows[int(path.stem) - 1] = given / given.sum()
        known[int(path.stem) - 1] = True
    return slowly(rows, known, window).argmax(axis=1)


@pytest.mark.medium
def test_a_video_set_from_frames_to_a_score(videos, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["predict", MODEL, "--crops", videos / "crops", "--videos", videos / "8"]
    words += ["--out", out, "--abaw", 3, "--smooth", 3]
    status, _, errors = run(capsys, *words)
    assert status == 0, errors
    assert "contempt: no class of the challenge, left out" in errors
    assert "other: unknown to the model, never predicted" in errors
    assert "b_left: 30 frames, 3 of them without a crop" in errors
    truth, guesses, lines = [], [], []
    for name, frames in (("1-30-1280x720", 5), ("b_left", 30)):
        header, *codes = (out / f"{name}.txt").read_text().split()
        codes = [int(code) for code in codes]
        assert header == EIGHT
        assert codes == expected_codes(videos, name, frames, 3).tolist()
        lines += [f"{name}/{i:05d}.jpg,{code}" for i, code in enumerate(codes, 1)]
        guesses += codes
        truth += (videos / "8" / f"{name}.txt").read_text().split()[1:]
    header, *found = (out / "predictions.txt").read_text().splitlines()
    assert header == f"image_location,{EIGHT}" and found == lines

    file = tmp_path / "score.json"
    place = ("--annotations", videos / "8", "--abaw", 3, "--json", file)
    status, printed, errors = run(capsys, "score", out, *place)
    assert status == 0, errors
    pairs = [(int(t), g) for t, g in zip(truth, guesses, strict=True) if int(t) >= 0]
    f1 = metrics.f1_score(
        *zip(*pairs, strict=True), labels=range(8), average="macro", zero_division=0
    )
    result = json.loads(file.read_text())
    assert result["score"] == pytest.approx(100 * f1)
    assert (result["n"], result["left_out"]) == (len(pairs), 35 - len(pairs))
    assert f"score {100 * f1:.2f} % (macro-F1)" in printed

    # Only what is missing is predicted again, from any list of the frames.
    kept = (out / "b_left.txt").stat().st_mtime_ns
    (out / "1-30-1280x720.txt").unlink()
    listed = tmp_path / "images.txt"
    listed.write_text("\n".join([header, *(line.partition(",")[0] for line in lines)]))
    words[words.index(videos / "8")] = listed
    assert run(capsys, *words)[0] == 0
    assert (out / "b_left.txt").stat().st_mtime_ns == kept
    assert (out / "predictions.txt").read_text().splitlines()[1:] == lines
    words[-1] = 5
    status, _, errors = run(capsys, *words)
    assert status == 1 and "another model or with other options" in errors


@pytest.mark.medium
def test_videos_that_cannot_be_predicted_are_counted(videos, tmp_path, capsys):
    listed = tmp_path / "videos.txt"
    listed.write_text("gone 12\n1-30-1280x720 5\nb_left 20\n")
    out = tmp_path / "out"
    place = ("--crops", videos / "crops", "--videos", listed, "--out", out, "--abaw", 1)
    status, _, errors = run(capsys, "predict", MODEL, *place)
    assert status == 1
    assert "gone has no readable crop in " in errors
    assert "b_left has 20 frames, but a crop of frame 30" in errors
    assert "2 of 3 videos could not be predicted" in errors
    header, *codes = (out / "1-30-1280x720.txt").read_text().split()
    assert header == NAMES
    expected = expected_codes(videos, "1-30-1280x720", 5, 1)
    assert list(map(int, codes)) == expected.tolist()
    # Frames 1 and 4 have no crop: the nearest one, and the earlier of two.
    assert (codes[0], codes[3]) == (codes[1], codes[2])
    assert not (out / "predictions.txt").exists()


def write(folder, header, *codes, name="v"):
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.txt"
    path.write_text("\n".join([header, *map(str, codes)]) + "\n")
    return folder


def test_the_scores_of_the_competitions(tmp_path):
    truth = write(tmp_path / "truth", NAMES, 0, 0, 1, 1, -1, 2)
    guess = write(tmp_path / "guess", NAMES, 0, 0, 0, 1, 5, 3)
    # F1 of neutral 4/5, of anger 2/3, of the other five 0; three of five are right.
    f1 = (4 / 5 + 2 / 3) / 7
    for number in (1, 2):
        result = aff_wild2.score(guess, truth, number)
        assert (result["n"], result["left_out"]) == (5, 1)
        assert result["macro_f1"] == pytest.approx(100 * f1)
        assert result["score"] == pytest.approx(100 * (0.67 * f1 + 0.33 * 3 / 5))
    write(truth, EIGHT, 0, 0, 1, 1, -1, 7)
    write(guess, EIGHT, 0, 0, 0, 1, 5, 3)
    for number in (3, 5, 6, 8):
        result = aff_wild2.score(guess, truth, number)
        assert result["score"] == pytest.approx(100 * (4 / 5 + 2 / 3) / 8)
    assert "other F1   0.00 %" in aff_wild2.table(result)


@pytest.mark.parametrize(
    ("guess", "message"),
    [
        ((NAMES, 0, 1), "v has 2 predictions, but 3 annotated frames. Every frame"),
        ((NAMES, 0, -1, 1), "v has 2 predictions, but 3 annotated frames"),
        ((NAMES, 0, 1, 7), "Line 4 of .* must be a code from -1 to 6, got '7'"),
        ((NAMES, 0, "", 1), "Line 3 of .* must be a code .* got ''"),
        ((EIGHT, 0, 1, 2), "must begin with Neutral,Anger,.*Surprise, got .*Other'"),
        (("Happiness,Neutral", 0, 1, 2), "Check the year"),
    ],
)
def test_bad_predictions_are_one_line(tmp_path, capsys, guess, message):
    truth = write(tmp_path / "truth", NAMES, 0, 1, 2)
    out = write(tmp_path / "guess", *guess)
    place = ("score", out, "--annotations", truth, "--abaw", 1)
    status, _, errors = run(capsys, *place)
    assert status == 1 and errors.count("\n") == 1
    with pytest.raises(ValueError, match=message):
        aff_wild2.score(out, truth, 1)
    (out / "v.txt").unlink()
    status, _, errors = run(capsys, *place)
    assert status == 1 and "v has no predictions: " in errors


def test_usage(tmp_path, capsys):
    place = ["--crops", tmp_path, "--videos", tmp_path, "--out", tmp_path / "out"]
    for model, more, message in (
        (MODEL, ["--abaw", 4], "invalid choice: 4"),
        (MODEL, ["--abaw", 3, "--smooth", 4], "must be an odd number of frames, got 4"),
        ("patt_lit", ["--abaw", 3], "Did you mean patt_lite"),
    ):
        words = ["predict", model, *place, *more]
        videos = write(tmp_path, EIGHT, 0)
        with pytest.raises(SystemExit, match="2"):
            run(capsys, *words)
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (videos / "v.txt").write_text("v twelve\n")
    place[3] = videos / "v.txt"
    status, _, errors = run(capsys, "predict", MODEL, *place, "--abaw", 3)
    assert status == 1 and "Line 1 of " in errors and "VIDEO FRAMES" in errors
