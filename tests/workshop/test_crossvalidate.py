import dataclasses
import json
import statistics

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn import metrics

from keras_fer.labels import DATASET_CODES
from tests.tfds_builders.drawn_faces import draw
from tests.workshop import train_worker
from tfds_builders.folds import subject_folds
from tfds_builders.jaffe import jaffe_dataset_builder as jaffe
from zoo import crossvalidate, evaluate, recipes, results_schema, train
from zoo.recipe import Stage

RECIPE = dataclasses.replace(
    train_worker.PLAIN,
    dataset="jaffe",
    train="folds",
    stages=(Stage(1, 1e-3, 48, backbone="frozen"),),
    name="patt_lite_paper_ck_plus",
)
SUBJECTS = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")


def prepare(folder):
    """JAFFE's layout, every expression of every subject, as TFDS keeps it."""
    for number, subject in enumerate(SUBJECTS):
        for code in DATASET_CODES["jaffe"]:
            name = f"{subject}.{code}1.{number}.tiff"
            draw(folder / "manual" / "jaffe" / name, (256, 256), "L")
    jaffe.Builder(data_dir=folder, file_format="array_record").download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=folder / "manual")
    )
    return f"tfds:{folder}"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("jaffe"))


@pytest.fixture
def run(monkeypatch, capsys):
    """Function of the command line: its status, output and errors."""
    monkeypatch.setattr(recipes, "load", lambda name: RECIPE)

    def call(*arguments):
        words = [RECIPE.name, "--backbone-weights", "none", *map(str, arguments)]
        status = crossvalidate.main(words)
        return status, *capsys.readouterr()

    return call


def expected_scores(folder, source):
    """Accuracy of every fold, and all classes and predictions, from the models."""
    accuracies, truth, guesses = [], [], []
    for number, subject in enumerate(SUBJECTS):
        model = keras.saving.load_model(folder / f"fold_{number}" / "model.keras")
        builder = tfds.builder("jaffe", data_dir=source.removeprefix("tfds:"))
        faces = list(builder.as_data_source(f"fold_{number}"))
        assert {face["subject"].decode() for face in faces} == {subject}
        images = np.stack([face["image"] for face in faces])
        predicted = model.predict(images, verbose=0).argmax(axis=1)
        classes = [face["label"] for face in faces]
        accuracies.append(100 * np.mean(predicted == classes))
        truth += classes
        guesses += predicted.tolist()
    return accuracies, truth, guesses


def assert_summary(result, accuracies, truth, guesses):
    results_schema.validate(result, "crossvalidation")
    found = [fold["accuracy"] for fold in result["folds"]]
    assert found == pytest.approx(accuracies)
    pooled, over = result["pooled"], result["over_folds"]["accuracy"]
    assert (pooled["n"], result["subjects"]) == (70, 10)
    assert pooled["accuracy"] == pytest.approx(np.mean(accuracies))
    assert pooled["macro_f1"] == pytest.approx(
        100 * metrics.f1_score(truth, guesses, average="macro", zero_division=0)
    )
    assert over["mean"] == pytest.approx(statistics.mean(accuracies))
    assert over["std"] == pytest.approx(statistics.stdev(accuracies))
    assert (over["min"], over["max"]) == (min(accuracies), max(accuracies))


@pytest.mark.slow
def test_ten_folds_in_any_order_and_after_a_break(run, source, tmp_path):
    place = ("--data", source, "--out", tmp_path)
    assert run(*place, "--fold", 7, "--fold", 2)[0] == 0
    # What another machine trained, and a fold that was killed before its test.
    first = (tmp_path / "fold_7" / "model.keras").stat().st_mtime_ns
    for name in ("run.json", "predictions.npz", "model.keras"):
        (tmp_path / "fold_2" / name).unlink()
    stage = (tmp_path / "fold_2" / "stage0.weights.h5").read_bytes()
    status, _, errors = run(*place)
    assert status == 0, errors
    assert (tmp_path / "fold_7" / "model.keras").stat().st_mtime_ns == first
    assert (tmp_path / "fold_2" / "stage0.weights.h5").read_bytes() == stage
    result = json.loads((tmp_path / "crossvalidation.json").read_text())
    assert_summary(result, *expected_scores(tmp_path, source))


@pytest.mark.medium
def test_a_fold_of_this_machine_and_nine_of_others(run, source, tmp_path):
    place = ("--data", source, "--out", tmp_path)
    status, out, errors = run(*place, "--fold", 7)
    assert status == 0, errors
    assert "1 of 10 folds are done" in out and "missing: 0, 1, 2, 3, 4, 5, 6, 8" in out
    assert not (tmp_path / "crossvalidation.json").exists()
    mine = tmp_path / "fold_7"
    facts = json.loads((mine / "run.json").read_text())
    assert (facts["recipe"]["test"], facts["recipe"]["validation"]) == (
        "fold_7",
        "fold_8",
    )
    with np.load(mine / "predictions.npz") as file:
        arrays = dict(file)
    assert set(arrays["subjects"].tolist()) == {b"TM"}
    rng = np.random.default_rng(0)
    accuracies, truth, guesses = [], [], []
    for number, subject in enumerate(SUBJECTS):
        if number != 7:
            folder = tmp_path / f"fold_{number}"
            folder.mkdir()
            facts["recipe"] = RECIPE.fold(number).facts()
            (folder / "run.json").write_text(json.dumps(facts))
            arrays["probabilities"] = rng.dirichlet(np.ones(7), 7)
            arrays["classes"] = np.arange(7)
            arrays["subjects"] = np.full(7, subject.encode())
            np.savez(folder / "predictions.npz", **arrays)
        with np.load(tmp_path / f"fold_{number}" / "predictions.npz") as file:
            guess = file["probabilities"].argmax(axis=1)
            accuracies.append(100 * np.mean(guess == file["classes"]))
            truth += file["classes"].tolist()
            guesses += guess.tolist()
    status, out, errors = run(*place)
    assert status == 0, errors
    result = json.loads((tmp_path / "crossvalidation.json").read_text())
    assert_summary(result, accuracies, truth, guesses)
    assert f"pooled{'':>18}{result['pooled']['accuracy']:>12.2f}" in out

    status, _, errors = run(*place, "--seed", 5)
    assert status == 1 and errors.count("differs in seed") == 11
    arrays["subjects"] = np.full(7, b"KA")  # Another division into folds.
    np.savez(tmp_path / "fold_9" / "predictions.npz", **arrays)
    status, _, errors = run(*place)
    assert status == 1 and "fold_9 in " in errors and "other subjects" in errors
    damaged = tmp_path / "fold_4" / "predictions.npz"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    status, _, errors = run(*place)
    assert status == 1 and "--fold 4 again" in errors and errors.count("\n") == 1


def test_a_fold_that_shares_subjects_is_refused(run, tmp_path, monkeypatch, capsys):
    def overlapping(subjects):
        folds = subject_folds(subjects)
        return {**folds, "fold_3": [*folds["fold_3"], *folds["fold_8"]]}

    monkeypatch.setattr(jaffe, "subject_folds", overlapping)
    source = prepare(tmp_path)
    out = tmp_path / "out"
    capsys.readouterr()
    status, _, errors = run("--data", source, "--out", out)
    assert status == 1 and errors.count("\n") == 1 and not out.exists()
    assert "fold_3 and fold_8 of jaffe share the subjects UY. Prepare" in errors
    # `zoo.train` alone sees it where training and selection are concerned.
    with pytest.raises(ValueError, match="share the subjects UY"):
        train.train(RECIPE.fold(7), source, out)


def test_usage(run, source, tmp_path, capsys, monkeypatch):
    place = ("--data", source, "--out", tmp_path)
    for words, message in (
        (("--fold", 10), "fold must be from 0 to 9, got 10"),
        (("--strategy", "multiworker"), "give each machine its own with --fold"),
    ):
        with pytest.raises(SystemExit, match="2"):
            run(*place, *words)
        assert message in capsys.readouterr().err
    status, _, errors = run("--data", tmp_path, "--out", tmp_path / "out")
    assert status == 1 and "Read a dataset with folds with --data tfds" in errors
    status, _, errors = run("--data", f"tfds:{tmp_path}", "--out", tmp_path / "out")
    assert status == 1 and "jaffe is not prepared" in errors
    monkeypatch.setattr(
        recipes, "load", lambda name: dataclasses.replace(RECIPE, train="train")
    )
    with pytest.raises(SystemExit, match="2"):
        run(*place)
    assert "has no folds: it trains on 'train'" in capsys.readouterr().err


def test_intervals_of_subjects_know_that_their_images_are_alike():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 400)
    predicted = np.where(rng.random(400) < 0.7, classes, (classes + 1) % 3)
    alone = crossvalidate.bootstrap_subjects(classes, predicted, np.arange(400), 3)
    expected = evaluate.bootstrap(metrics.confusion_matrix(classes, predicted))
    for metric in crossvalidate.METRICS:
        np.testing.assert_allclose(alone[metric], expected[metric], atol=0.8)
    # Sixteen copies of every image are sixteen times as many, but no more is known.
    copies = [np.repeat(each, 16) for each in (classes, predicted, np.arange(400))]
    assert crossvalidate.bootstrap_subjects(*copies, 3) == alone
