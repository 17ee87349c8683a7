import hashlib
import json
import math
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest
from sklearn import metrics

import keras_fer
from keras_fer import models
from keras_fer.labels import from_dataset
from keras_fer.zoo.presets import PRESETS
from tfds_builders import corruptions
from zoo import data, environment, evaluate, results_schema, shelf, tables, target
from zoo.evaluation import balance
from zoo.shared_labels import match

LABELS = ("a", "b", "c", "d")
PRESET = "patt_lite.fer2013"


def drawn(n, sharpness=1.5, classes=4, seed=0):
    """Probabilities, and classes drawn from just these: calibrated."""
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.standard_normal((n, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chance = rng.random((n, 1))
    truth = (probabilities.cumsum(axis=1) < chance).sum(axis=1)
    return np.minimum(truth, classes - 1), probabilities


def plainly(truth, probabilities):
    """The metrics by loops, from their definitions."""
    n, size = probabilities.shape
    confusion = [[0] * size for _ in range(size)]
    nll = brier = 0.0
    bins = [[] for _ in range(15)]
    for true, row in zip(truth, probabilities.tolist(), strict=True):
        guess = row.index(max(row))
        confusion[true][guess] += 1
        nll -= math.log(row[true]) / n
        for place, value in enumerate(row):
            brier += (value - (place == true)) ** 2 / n
        bins[math.ceil(15 * max(row)) - 1].append((max(row), guess == true))
    ece = 0.0
    for members in filter(None, bins):
        confidence = sum(sure for sure, _ in members) / len(members)
        accuracy = sum(right for _, right in members) / len(members)
        ece += len(members) / n * abs(accuracy - confidence)
    accuracy = sum(confusion[i][i] for i in range(size)) / n
    recalls, f1s = [], []
    for i in range(size):
        true, guessed = sum(confusion[i]), sum(row[i] for row in confusion)
        recalls.append(confusion[i][i] / true)
        precision = confusion[i][i] / guessed
        f1s.append(2 * precision * recalls[i] / (precision + recalls[i]))
    macro_f1 = sum(f1s) / size
    return {
        "accuracy": 100 * accuracy,
        "macro_f1": 100 * macro_f1,
        "uar": 100 * sum(recalls) / size,
        "abaw": 100 * (0.67 * macro_f1 + 0.33 * accuracy),
        "nll": nll,
        "brier": brier,
        "ece": 100 * ece,
    }, confusion


def test_every_metric_is_that_of_plain_loops():
    truth, probabilities = drawn(200)
    values = evaluate.scores(truth, probabilities, LABELS)
    expected, confusion = plainly(truth, probabilities)
    for metric, value in expected.items():
        assert values[metric] == pytest.approx(value, abs=1e-9), metric
    assert values["confusion"] == confusion and values["n"] == 200
    for place, label in enumerate(LABELS):
        row, column = confusion[place], [line[place] for line in confusion]
        recall, precision = row[place] / sum(row), row[place] / sum(column)
        assert values["per_class"][label] == pytest.approx(
            {
                "precision": 100 * precision,
                "recall": 100 * recall,
                "f1": 200 * precision * recall / (precision + recall),
                "support": sum(row),
            }
        )


def test_calibrated_predictions_have_a_small_ece():
    truth, probabilities = drawn(50_000)
    error, bins = evaluate.reliability(truth, probabilities)
    assert error < 1.0
    assert sum(bins["count"]) == 50_000
    # Four classes: the likeliest has a quarter at least, so three bins are empty.
    assert bins["accuracy"][:3] == [None] * 3 == bins["confidence"][:3]


def test_overconfident_predictions_have_the_known_ece():
    # 90 % sure, right in 60 of 100.
    truth = np.zeros(100, int)
    probabilities = np.tile([0.9, 0.1], (100, 1))
    probabilities[60:] = [0.1, 0.9]
    error, bins = evaluate.reliability(truth, probabilities)
    assert error == pytest.approx(30)
    assert bins["count"][13] == 100 and bins["accuracy"][13] == pytest.approx(60)
    assert bins["confidence"][13] == pytest.approx(90)


@pytest.mark.parametrize(("sure", "place"), [(1.0, 14), (0.4, 5), (0.8, 11)])
def test_a_bin_holds_its_upper_edge(sure, place):
    rest = [(1 - sure) / 2] * 2
    error, bins = evaluate.reliability(np.array([0]), np.array([[sure, *rest]]))
    assert bins["count"][place] == sum(bins["count"]) == 1
    assert error == pytest.approx(100 * (1 - sure))


def test_bootstrap_covers_the_estimate_and_shrinks():
    widths = []
    for n in (200, 20_000):
        truth, probabilities = drawn(n)
        values = evaluate.scores(truth, probabilities, LABELS)
        ends = values["intervals"]
        for metric in ("accuracy", "macro_f1", "uar"):
            low, high = ends[metric]
            assert low < values[metric] < high
        widths.append(np.ptp(ends["accuracy"]))
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.15)


@pytest.mark.medium
def test_bootstrap_is_that_of_drawing_faces_again():
    truth, probabilities = drawn(150, seed=3)
    predicted = probabilities.argmax(axis=1)
    rng = np.random.default_rng(1)
    again = {"accuracy": [], "macro_f1": [], "uar": []}
    options = {"labels": range(4), "average": "macro", "zero_division": 0}
    for _ in range(400):
        rows = rng.integers(0, 150, 150)
        pair = truth[rows], predicted[rows]
        again["accuracy"].append(100 * metrics.accuracy_score(*pair))
        again["macro_f1"].append(100 * metrics.f1_score(*pair, **options))
        again["uar"].append(100 * metrics.recall_score(*pair, **options))
    ends = evaluate.bootstrap(metrics.confusion_matrix(truth, predicted))
    for metric, values in again.items():
        # The intervals are 14 points wide, their ends uncertain by about one.
        np.testing.assert_allclose(
            ends[metric], np.percentile(values, [2.5, 97.5]), atol=2.5
        )


def test_bootstrap_is_seeded():
    confusion = np.array([[40, 10], [5, 45]])
    assert evaluate.bootstrap(confusion) == evaluate.bootstrap(confusion)
    assert evaluate.bootstrap(confusion, seed=1) != evaluate.bootstrap(confusion)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature):
    truth, probabilities = drawn(30_000)
    # Sharpened or flattened: the temperature that undoes it is the known one.
    changed = probabilities**temperature
    changed /= changed.sum(axis=1, keepdims=True)
    found = evaluate.fit_temperature(truth, changed.astype("float32"))
    assert found == pytest.approx(temperature, rel=0.03)
    np.testing.assert_allclose(
        evaluate.soften(changed, temperature), probabilities, atol=1e-6
    )


def test_softening_keeps_the_prediction_and_bears_zeros():
    probabilities = np.float32([[1, 0, 0], [0.2, 0.3, 0.5]])
    softened = evaluate.soften(probabilities, 3.0)
    assert softened.argmax(axis=1).tolist() == [0, 2]
    np.testing.assert_allclose(softened.sum(axis=1), 1)
    assert np.isfinite(softened).all()


def test_temperature_stays_within_its_bounds_where_all_is_right():
    probabilities = np.tile([0.6, 0.4], (10, 1))
    found = evaluate.fit_temperature(np.zeros(10, int), probabilities)
    assert found == pytest.approx(evaluate.TEMPERATURES[0], rel=1e-3)


def test_tau_is_1_where_the_probabilities_are_exact():
    """Bayes' theorem: the best guess for equally frequent classes divides by the prior.

    Three classes on a line, Gaussian, of which the last is rare.
    """
    rng = np.random.default_rng(0)
    prior = np.array([0.7, 0.25, 0.05])
    truth = rng.choice(3, 100_000, p=prior)
    places = rng.normal(1.5 * truth)
    likelihood = np.exp(-((places[:, None] - 1.5 * np.arange(3)) ** 2) / 2)
    probabilities = balance.rebalance(likelihood * prior, np.ones(3), 0)
    assert balance.choose_tau(truth, probabilities, prior) == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(
        balance.rebalance(probabilities, prior, 1),
        likelihood / likelihood.sum(axis=1, keepdims=True),
        atol=1e-9,
    )
    assert balance.choose_tau(np.arange(3), np.eye(3), prior) == 0


def test_the_prior_is_the_share_of_the_targets():
    targets = [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]] * 4
    np.testing.assert_allclose(balance.class_prior(targets), [0.5, 1 / 6, 1 / 3])
    # A class that does not occur counts as one image.
    np.testing.assert_allclose(balance.class_prior([[1, 0]] * 3), [0.75, 0.25])


def test_a_class_without_faces_counts_as_zero():
    truth = np.array([0, 0, 1, 1])
    probabilities = np.eye(3)[truth]
    values = evaluate.scores(truth, probabilities, "abc")
    assert values["accuracy"] == 100
    assert values["uar"] == pytest.approx(200 / 3)
    assert values["macro_f1"] == pytest.approx(200 / 3)
    zeros = {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert values["per_class"]["c"] == zeros
    result = shelf.Shelf().evaluations(PRESET)[None]
    result |= {"labels": ["a", "b", "c"], "all": values, "without_duplicates": None}
    text = evaluate.table(result)
    assert "no faces, counted as 0 in the averages: c" in text
    assert "without duplicates: every image occurs in train" in text


@pytest.mark.parametrize(
    ("truth", "probabilities", "message"),
    [
        ([], np.zeros((0, 2)), "There are no faces"),
        (
            [0, 1],
            [[0.5, 0.5], [np.nan, np.nan]],
            r"\[nan, nan\] in row 1, and 1 such",
        ),
        ([0], [[0.5, 0.6]], "sum to 1"),
        ([0], [[1.5, -0.5]], "0 or more"),
        ([0], [[1.0]], r"per label, \(1, 2\), got \(1, 1\)"),
        ([2], [[0.5, 0.5]], "0 to 1, got 2 to 2"),
    ],
)
def test_bad_predictions_are_named(truth, probabilities, message):
    with pytest.raises(ValueError, match=message):
        evaluate.scores(np.array(truth, int), np.array(probabilities), "ab")


@pytest.fixture
def folder(tmp_path, images):
    """Train, and a public test of which the first ten images occur in train."""
    train = np.concatenate([images, 255 - images])[..., 0]
    test = np.concatenate([train[:10], images[:20, ::-1, :, 0]])
    for split, part in (("train", train), ("public_test", test)):
        label = (np.arange(len(part)) % 7).astype("uint8")
        votes = np.zeros((len(part), 10), int)
        votes[:, 9] = 10  # Not a face.
        np.savez(tmp_path / split, images=part, label=label, ferplus=votes)
    return tmp_path


@pytest.mark.parametrize("family", evaluate.FAMILIES)
def test_corrupted_images_depend_on_their_row_alone(folder, family):
    faces = data.fer2013(folder, "public_test")
    images, kinds = evaluate.corrupt(faces, family)
    assert images.shape == faces.images.shape and images.dtype == np.uint8
    assert (images != faces.images).any(axis=(1, 2, 3)).sum() > 25
    some = np.array([17, 3, 29])
    again, kinds_again = evaluate.corrupt(faces[some], family)
    np.testing.assert_array_equal(again, images[some])
    assert kinds_again == [kinds[row] for row in some]
    known = {"masked": {None}, "occluded": set(corruptions.OCCLUSIONS)}
    assert set(kinds) <= known.get(family, set(corruptions.CORRUPTIONS))


@pytest.mark.medium
def test_a_command_measures_prints_draws_and_writes(folder, capsys):
    command = f"{PRESET} --data {folder} --corruption corrupted --temperature"
    command += f" --plots {folder / 'plots'} --out {folder / 'result.json'}"
    assert evaluate.main(command.split()) == 0
    result = json.loads((folder / "result.json").read_text())
    results_schema.check(result)
    assert result["corruption"] == "corrupted"
    # Its duplicates are those of the images before they were corrupted.
    assert result["all"]["n"] == 30 and result["without_duplicates"]["n"] == 20
    assert sum(row["n"] for row in result["by_kind"].values()) == 30
    fitted = result["temperature"]
    _, held = data.hold_out(data.fer2013(folder, "train"), duplicates="exact")
    assert fitted["validation"]["n"] == len(held)
    validation = fitted["validation"]
    assert validation["fitted"]["nll"] <= validation["stored"]["nll"]
    assert validation["fitted"]["nll"] <= validation["uncalibrated"]["nll"]
    for metric in ("nll", "ece"):
        expected = pytest.approx(result["all"][metric], abs=1e-5)
        assert fitted["all"]["stored"][metric] == expected
    assert fitted["stored"] == keras_fer.zoo.info(PRESET).temperature
    # Their labels are arbitrary, so nothing is worth being sure of.
    printed = capsys.readouterr().out
    assert f"temperature {fitted['fitted']:.4f} fits the validation part" in printed
    for kind in ("confusion", "reliability"):
        path = folder / "plots" / f"{PRESET}.public_test.corrupted.{kind}.png"
        assert path.read_bytes().startswith(b"\x89PNG") and str(path) in printed


def test_labels_are_matched_by_name_in_any_order_and_spelling():
    shared = match(("Sad", "happy", "tense"), ("happiness", "fear", "sadness"))
    assert shared.labels == ("Sad", "happy")
    assert shared.index.tolist() == [1, -1, 0]
    assert (shared.model_only, shared.dataset_only) == (("tense",), ("fear",))
    probabilities = np.float32([[0.2, 0.2, 0.6], [0, 0, 1]])
    restricted = shared.restrict(probabilities)
    np.testing.assert_allclose(restricted, [[0.5, 0.5], [0.5, 0.5]])
    facts = shared.facts(np.array([0, 1]), probabilities, 3)
    assert facts["excluded"] == 3 and facts["accuracy_of_all_labels"] == 0
    assert facts["removed_probability"] == pytest.approx(80)
    same = match(("sadness", "fear"), ("fear", "sadness"))
    assert same.same and same.index.tolist() == [1, 0]
    with pytest.raises(ValueError, match="no label in common: .'calm',. and .'fear',."):
        match(("calm",), ("fear",))


def voted(folder):
    """The public test with votes, contempt among them; classes in FER+'s order."""
    classes = np.arange(30) % 8
    votes = 10 * np.eye(10, dtype=int)[classes]
    arrays = dict(np.load(folder / "public_test.npz"))
    np.savez(folder / "public_test", **{**arrays, "ferplus": votes})
    return classes


@pytest.mark.medium
def test_a_model_of_seven_labels_on_a_dataset_of_eight(folder):
    classes = voted(folder)
    result = evaluate.evaluate(PRESET, "default", folder, None, "ferplus")
    results_schema.check(result)
    shared = result["shared"]
    assert (shared["model_only"], shared["dataset_only"]) == ([], ["contempt"])
    assert shared["excluded"] == (classes == 7).sum() == 3
    assert shared["removed_probability"] == 0
    model = keras_fer.zoo.load(PRESET)
    images = np.load(folder / "public_test.npz")["images"][classes < 7]
    predicted = model.predict(images[..., None], verbose=0).argmax(axis=1)
    # The first seven labels are in the same order.
    expected = 100 * np.mean(predicted == classes[classes < 7])
    assert result["all"]["accuracy"] == pytest.approx(expected)
    assert result["all"]["n"] == 27 and result["without_duplicates"]["n"] < 27
    text = evaluate.table(result)
    assert "labels of the dataset alone: contempt; 3 images were left out" in text


@pytest.mark.medium
def test_a_model_of_eight_labels_on_a_dataset_of_seven_without_train(folder):
    (folder / "train.npz").unlink()
    result = evaluate.evaluate("patt_lite.ferplus", "default", folder, None, "fer2013")
    results_schema.check(result)
    assert result["without_duplicates"] is None and result["without_train"]
    assert result["labels"] == list(data.LABELS[:7])
    faces = data.fer2013(folder, "public_test")
    model = keras_fer.zoo.load("patt_lite.ferplus")
    every = model.predict(faces.images, verbose=0)
    kept = every[:, :7] / every[:, :7].sum(axis=1, keepdims=True)
    nll = -np.log(kept[np.arange(30), faces.classes]).mean()
    assert result["all"]["nll"] == pytest.approx(nll, rel=1e-4)
    shared = result["shared"]
    assert shared["model_only"] == ["contempt"] and shared["excluded"] == 0
    assert shared["removed_probability"] == pytest.approx(100 * every[:, 7].mean())
    assert shared["accuracy_of_all_labels"] == pytest.approx(
        100 * np.mean(every.argmax(axis=1) == faces.classes)
    )
    # Adjusted with the prior of all eight labels, before one is left out.
    balance = result["balanced"]
    prior = np.array(balance["prior"]) ** -balance["tau"]
    adjusted = (every * prior)[:, :7].argmax(axis=1)
    expected = 100 * np.mean(adjusted == faces.classes)
    assert balance["all"]["accuracy"] == pytest.approx(expected)
    text = evaluate.table(result)
    assert "scored on the 7 shared labels" in text and "train is not there" in text


def test_labels_without_overlap_are_named(folder, capsys):
    model = models.PAttLite(
        labels=("calm", "tense"), input_size=64, backbone_weights=None
    )
    model.save(folder / "own.keras")
    command = f"{folder / 'own.keras'} --data {folder} --dataset fer2013"
    assert evaluate.main(command.split()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no label in common: ('calm', 'tense') and ('neutral'" in line


def test_an_empty_split_is_named(folder):
    with pytest.raises(ValueError, match="public_test of ferplus .* has no faces"):
        evaluate.evaluate(
            "patt_lite.ferplus", "default", folder, "public_test", "ferplus"
        )


@pytest.mark.medium
def test_an_empty_validation_part_is_named(folder):
    arrays = np.load(folder / "train.npz")
    kept, _ = data.hold_out(data.fer2013(folder, "train"), duplicates="exact")
    arrays = {name: arrays[name][kept.rows] for name in arrays}
    np.savez(folder / "train", **arrays)
    with pytest.raises(ValueError, match="the validation part of train of fer2013"):
        evaluate.evaluate(
            PRESET,
            "default",
            folder,
            "public_test",
            "fer2013",
            with_temperature=True,
        )


@pytest.fixture
def run(folder):
    """A folder as of `zoo.train`, with a model that is right on three in four."""
    preset = keras_fer.zoo.info(PRESET)
    model = models.PAttLite(
        labels=preset.labels, backbone_weights=None, **preset.arguments
    )
    model.set_weights(keras_fer.zoo.load(PRESET).get_weights())
    (folder / "run").mkdir()
    model.save(folder / "run" / "model.keras")
    recipe = {"name": "patt_lite_fer2013", "dataset": "fer2013", "validation": None}
    (folder / "run" / "run.json").write_text(json.dumps({"recipe": recipe}))
    arrays = dict(np.load(folder / "train.npz"))
    guesses = model.predict(arrays["images"][..., None], verbose=0).argmax(axis=1)
    codes = {from_dataset("fer2013", code): code for code in range(7)}
    for split in ("all_right", "train"):
        labels = [codes[model.labels[guess]] for guess in guesses]
        np.savez(folder / split, **{**arrays, "label": np.uint8(labels)})
        guesses[::4] = (guesses[::4] + 1) % 7
    return folder / "run"


@pytest.mark.medium
def test_a_run_is_calibrated_stored_and_measured(run, folder, capsys):
    file, out = run / "model.keras", folder / "result.json"
    before = keras.saving.load_model(file)
    command = f"{run} --data {folder} --store --out {out}"
    assert evaluate.main(command.split()) == 0
    result = json.loads(out.read_text())
    results_schema.check(result)
    assert result["model"] == result["recipe"] == "patt_lite_fer2013"
    assert result["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    # Fitted again on what is now stored: the same one comes out, not 1.
    fitted = result["temperature"]
    assert abs(fitted["fitted"] - fitted["stored"]) < 1e-3 < abs(fitted["stored"] - 1)
    assert "is stored, and fits the validation part" in capsys.readouterr().out
    values = fitted["validation"]
    assert values["stored"]["nll"] < values["uncalibrated"]["nll"]
    after = keras.saving.load_model(file)
    assert after.get_layer("probabilities").temperature == fitted["stored"]
    assert after.labels == before.labels
    for old, new in zip(before.get_weights(), after.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert sorted(path.name for path in run.iterdir()) == ["model.keras", "run.json"]
    # The file by itself is the same model, whose recipe nobody knows.
    (run / "run.json").unlink()
    alone = target.find(file, dataset="fer2013")
    assert (alone.name, alone.recipe) == ("model", None)
    assert alone.sha256 == result["sha256"]


@pytest.mark.medium
def test_no_temperature_is_stored_where_none_fits(run, folder, capsys):
    (folder / "all_right.npz").replace(folder / "train.npz")
    before = (run / "model.keras").read_bytes()
    assert evaluate.main(f"{run} --data {folder} --store".split()) == 1
    assert "No temperature fits" in capsys.readouterr().err
    assert (run / "model.keras").read_bytes() == before


def test_a_recipe_says_its_splits(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.keras").touch()
    splits = {"train": "a+b", "validation": "c", "test": "d"}
    recipe = {"dataset": "ck_plus", **splits}
    (run / "run.json").write_text(json.dumps({"recipe": recipe}))
    found = target.find(run)
    assert (found.name, found.recipe, found.dataset) == ("run", None, "ck_plus")
    assert {part: getattr(found, part) for part in splits} == splits
    assert target.find(run, dataset="jaffe").dataset == "jaffe"


def test_a_preset_says_its_recipe_and_data():
    found = target.find("patt_lite")
    assert found.name == "patt_lite.ferplus" and found.dataset == "ferplus"
    assert found.recipe == "patt_lite_ferplus"
    assert found.sha256 == keras_fer.zoo.info("patt_lite").sha256
    # Other weights of that name may come from anywhere.
    other = target.find("patt_lite", __file__)
    assert other.recipe is None
    with open(__file__, "rb") as file:
        assert other.sha256 == hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("patt_lit", "Did you mean patt_lite.* Or pass a .keras file"),
        ("some.weights.h5", "Weights alone are no model"),
        ("{folder}/own.keras --weights x", "which has weights of its own"),
        ("{folder}/own.keras", "is not known: .*no run.json beside it. Pass --dataset"),
        ("{folder}/damaged/model.keras", "Not a run of `zoo.train`"),
        ("patt_lite --store", "pass one as MODEL"),
        ("patt_lite --corruption blurred", "invalid choice: 'blurred'"),
    ],
)
def test_wrong_usage_exits_with_2(tmp_path, capsys, arguments, message):
    (tmp_path / "damaged").mkdir()
    for name in ("own.keras", "damaged/model.keras", "damaged/run.json"):
        (tmp_path / name).write_text("{}")
    command = f"{arguments.format(folder=tmp_path)} --data {tmp_path}"
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(command.split())
    error = capsys.readouterr().err
    assert error.startswith("usage: python -m zoo.evaluate")
    (line,) = [line for line in error.splitlines() if "error:" in line]
    assert re.search(message, line)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{folder}/none.keras", "No model there: .*none.keras"),
        ("{folder}", "No model there: .*model.keras"),
        ("patt_lite --out {folder}/none/x.json", "Cannot write to .*No such file"),
        ("patt_lite --out {folder}", "--out must be a file, got the folder"),
        ("patt_lite --plots {folder}/own.keras", "File exists"),
        ("{folder}/own.keras --dataset fer2013", "No model can be read"),
        ("{folder}/other.keras --dataset fer2013", "holds another kind of model"),
        (f"{PRESET}", "has no public_test.npz"),
        (f"{PRESET} --split damaged", "damaged"),
        (f"{PRESET} --dataset nothing", "dataset must be one of .* got 'nothing'"),
    ],
)
def test_errors_are_one_line_and_exit_with_1(tmp_path, capsys, arguments, message):
    (tmp_path / "own.keras").write_text("no archive")
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 no archive")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(
        tmp_path / "other.keras"
    )
    command = f"{arguments.format(folder=tmp_path)} --data {tmp_path}"
    before = sorted(tmp_path.iterdir())
    assert evaluate.main(command.split()) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("zoo.evaluate: ") and re.search(message, line)
    assert sorted(tmp_path.iterdir()) == before


def test_the_commit_is_that_of_a_working_copy_or_none(tmp_path, monkeypatch):
    assert environment.commit(tmp_path) is None
    # Neither that of a folder above, nor of a repository without a commit.
    assert environment.commit(environment.ROOT / "zoo") is None
    (tmp_path / ".git").mkdir()
    assert environment.commit(tmp_path) is None
    if (environment.ROOT / ".git").exists() and shutil.which("git"):
        head = subprocess.check_output(
            ["git", "rev-parse", "HEAD"], cwd=environment.ROOT, text=True
        ).strip()
        assert environment.commit(environment.ROOT) in (head, f"{head}-dirty")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.commit(environment.ROOT) is None  # There is no git.


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_published_numbers_come_out_again(real_data, name):
    published = shelf.Shelf().evaluations(name)[None]
    result = evaluate.evaluate(name, "default", real_data)
    assert result["data_sha256"] == published["data_sha256"]
    for part in ("all", "without_duplicates"):
        assert result[part]["confusion"] == published[part]["confusion"]
        for metric in ("accuracy", "macro_f1", "uar", "nll", "brier", "ece"):
            expected = pytest.approx(published[part][metric], abs=1e-5)
            assert result[part][metric] == expected, (part, metric)
    # README's row, to the last printed digit.
    cells = [
        f"{result['all'][metric]:.1f} ({result['without_duplicates'][metric]:.1f})"
        for metric in ("accuracy", "macro_f1", "uar", "ece")
    ]
    balanced = result["balanced"]["all"]
    assert balanced["confusion"] == published["balanced"]["all"]["confusion"]
    cells += [f"{balanced[metric]:.1f}" for metric in ("accuracy", "uar")]
    readme = (tables.ROOT / "README.md").read_text()
    (scores,) = re.findall("<!-- scores -->\n(.*?)<!-- /scores -->", readme, re.DOTALL)
    (row,) = [line for line in scores.splitlines() if f"`{name}`" in line]
    assert row.split(" | ")[1:-1] == cells
