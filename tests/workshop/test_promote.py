import contextlib
import hashlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest

import keras_fer
from keras_fer import models
from keras_fer.hub.build import build
from keras_fer.labels import from_dataset
from keras_fer.zoo.presets import describe, read
from zoo import data, evaluate, promote
from zoo.shelf import CORRUPTIONS, Shelf

NAME = "patt_lite.fer2013"
RECIPE = {
    "name": "patt_lite_fer2013",
    "architecture": "PAttLite",
    "arguments": {"grayscale": True},
    "dataset": "fer2013",
    "duplicates": "exact",
    "start": "patt_lite.ferplus",
}

# Promotes RUN with the data of SOURCE to a shelf in a folder.
PROMOTE = f"""
import pathlib, sys
from zoo import promote
from zoo.shelf import Shelf

run, source, root = map(pathlib.Path, sys.argv[1:])
shelf = Shelf(*(root / name for name in ("presets", "weights", "results")))
promote.promote(run, {NAME!r}, source, shelf)
"""


@pytest.fixture(scope="module")
def model():
    """A trained network at a smaller size than it was trained for."""
    arguments = {"input_size": 48, "grayscale": True, "backbone_weights": None}
    model = models.PAttLite(labels=keras_fer.LABELS[:7], **arguments)
    model.set_weights(keras_fer.zoo.load(NAME).get_weights())
    return model


@pytest.fixture(scope="module")
def source(images, model, tmp_path_factory):
    """Train, on three in four of which the network is right, and a public test.

    The first ten images of the test occur in train.
    """
    folder = tmp_path_factory.mktemp("data")
    train = np.concatenate([images, 255 - images])[..., 0]
    guesses = model.predict(train[..., None], verbose=0).argmax(axis=1)
    guesses[::4] = (guesses[::4] + 1) % 7
    codes = {from_dataset("fer2013", code): code for code in range(7)}
    labels = np.uint8([codes[model.labels[guess]] for guess in guesses])
    test = np.concatenate([train[:10], images[:20, ::-1, :, 0]])
    for split, part, label in (
        ("train", train, labels),
        ("public_test", test, labels[:30]),
    ):
        votes = np.zeros((len(part), 10), int)
        np.savez(folder / split, images=part, label=label, ferplus=votes)
    return folder


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    """A folder as `zoo.train` writes it."""
    folder = tmp_path_factory.mktemp("run")
    model.save(folder / "model.keras")
    record = {"recipe": RECIPE, "trained_on": 73, "selected_on": 7, "history": {}}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def shelf_in(folder):
    return Shelf(*(folder / name for name in ("presets", "weights", "results")))


@pytest.fixture(scope="module")
def promoted(run, source, tmp_path_factory):
    """A shelf with the promoted preset, and its facts."""
    shelf = shelf_in(tmp_path_factory.mktemp("shelf"))
    return shelf, promote.promote(run, NAME, source, shelf)


@pytest.mark.medium
def test_a_run_becomes_a_preset(promoted, run, source):
    shelf, facts = promoted
    shelf.verify(NAME)
    assert shelf.read(NAME) == facts
    assert facts["arguments"] == {"grayscale": True, "input_size": 48}
    assert (facts["data"]["n"], facts["selection"]["n"]) == (73, 7)
    assert facts["data"]["start"] == "patt_lite.ferplus"
    assert facts["evaluation"]["n"] == 30
    assert shelf.run(NAME) == json.loads((run / "run.json").read_text())
    weights = shelf.weights / facts["weights"]["file"]
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in str(facts)
    info = describe(read(shelf.presets)[NAME])
    assert info.split == "FER2013 public test (n = 30)" and info.macs == facts["macs"]


@pytest.mark.medium
def test_the_scores_are_those_of_the_stored_weights(promoted, source):
    shelf, facts = promoted
    model = build(
        facts["architecture"],
        facts["arguments"],
        facts["labels"],
        shelf.weights / facts["weights"]["file"],
        facts["temperature"],
    )
    assert model.count_params() == facts["parameters"]
    faces = data.fer2013(source, "public_test")
    right = model.predict(faces.images, verbose=0).argmax(axis=1) == faces.classes
    accuracy = facts["evaluation"]["scores"]["accuracy"]["value"]
    assert accuracy == pytest.approx(100 * right.mean())
    for way in CORRUPTIONS:
        images, _ = evaluate.corrupt(faces, way)
        right = model.predict(images, verbose=0).argmax(axis=1) == faces.classes
        score = facts["evaluation"]["corruptions"][way]["accuracy"]["value"]
        assert score == pytest.approx(100 * right.mean())


@pytest.mark.medium
def test_kernels_are_half_precision_and_the_rest_is_as_trained(promoted, run):
    shelf, facts = promoted
    stored = build(
        facts["architecture"],
        facts["arguments"],
        facts["labels"],
        shelf.weights / facts["weights"]["file"],
    )
    trained = promote.EvaluationTarget("x", "y", file=run / "model.keras").load()
    for new, old in zip(stored.weights, trained.weights, strict=True):
        expected = np.asarray(old)
        if expected.ndim > 1:
            expected = expected.astype("float16").astype("float32")
        np.testing.assert_array_equal(np.asarray(new), expected)


@pytest.mark.medium
def test_the_temperature_fits_the_held_out_part(promoted, source):
    """Slightly more or less of it makes the likelihood worse."""
    shelf, facts = promoted
    _, held = data.hold_out(data.fer2013(source, "train"), duplicates="exact")

    def nll(temperature):
        model = build(
            facts["architecture"],
            facts["arguments"],
            facts["labels"],
            shelf.weights / facts["weights"]["file"],
            temperature,
        )
        found = model.predict(held.images, verbose=0)
        return -np.log(found[np.arange(len(held)), held.classes]).mean()

    best = facts["temperature"]
    assert nll(best) < min(nll(best * 1.05), nll(best / 1.05), nll(1.0)) + 1e-6


def assert_same(facts, others):
    """But for where they are, times, and the nodes that tf2onnx numbers."""
    changing = dict.fromkeys(("repo", "revision", "results", "onnx"))
    assert {**facts, **changing} == {**others, **changing}


@pytest.mark.slow
def test_promoted_again_it_is_the_same_and_stays_pinned(promoted, run, source):
    shelf, facts = promoted
    shelf.pin(NAME, "me/some-repo", "a" * 40)
    again = promote.promote(run, NAME, source, shelf)
    assert (again["repo"], again["revision"]) == ("me/some-repo", "a" * 40)
    assert_same(again, facts)
    shelf.verify(NAME)
    shelf.pin(NAME, "me/some-repo", "b" * 40)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(promoted, run, source, tmp_path):
    """There is no preset or a whole one, and the same command makes it."""
    command = [sys.executable, "-c", PROMOTE, *map(str, (run, source, tmp_path))]
    _, expected = promoted
    rng = np.random.default_rng(0)
    kills = seconds = 0
    while kills < 20:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=pathlib.Path(__file__).parents[2])
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, seconds) if seconds else None)
        process.kill()
        if process.wait() == 0:
            seconds = seconds or time.monotonic() - began
            assert_same(shelf_in(tmp_path).read(NAME), expected)
            shelf_in(tmp_path).verify(NAME)
            for folder in ("presets", "weights", "results"):
                shutil.rmtree(tmp_path / folder)
            continue
        assert process.returncode == -signal.SIGKILL
        kills += 1
        shelf = shelf_in(tmp_path)
        for name in shelf.names():
            shelf.verify(name)
    print(f"{kills} kills")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "Nothing"}, r"no \[papers.Nothing\]"),
        ({"dataset": "faces"}, r"no \[datasets.faces\]"),
        ({"name": None}, "lacks recipe.name"),
        ({"arguments": {"attention": "none"}}, "is not a PAttLite with the arguments"),
    ],
)
def test_a_run_of_something_else_is_refused(run, source, tmp_path, change, message):
    other = tmp_path / "run"
    other.mkdir()
    (other / "model.keras").write_bytes((run / "model.keras").read_bytes())
    record = json.loads((run / "run.json").read_text())
    record["recipe"] |= change
    (other / "run.json").write_text(json.dumps(record))
    shelf = shelf_in(tmp_path)
    with pytest.raises(ValueError, match=message):
        promote.promote(other, NAME, source, shelf)
    assert not shelf.presets.exists()


@pytest.mark.medium
def test_what_is_missing_is_named_on_one_line(run, source, tmp_path, capsys):
    assert promote.main([str(tmp_path), NAME, "--data", str(source)]) == 1
    assert "holds no run.json" in capsys.readouterr().err
    assert promote.main([str(run), "patt_lite.none", "--data", str(source)]) == 1
    error = capsys.readouterr().err
    assert "has no [presets.patt_lite.none]" in error and error.count("\n") == 1


def test_every_paper_has_a_citation():
    facts = tomllib.loads(promote.FACTS.read_text())
    assert set(facts["papers"]) == set(facts["differences"])
    for paper in facts["papers"].values():
        text = promote.bibtex(paper)
        assert text.startswith("@") and text.count("{") == text.count("}")
        for value in (paper["title"], str(paper["year"]), paper["arxiv"], paper["doi"]):
            assert value in text
    text = promote.bibtex(facts["papers"]["PAttLite"])
    assert text.startswith("@article{ngwe2023pattlite,")
    assert "author = {Ngwe, Jia Le and Lim, Kian Ming and " in text
