import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from keras import layers
from sklearn import metrics

from keras_fer import zoo
from keras_fer.files import locked
from keras_fer.training import checkpoint
from tests.workshop import train_worker
from tests.workshop.train_worker import RECIPES, draw
from zoo import data, evaluate, recipes, train, trainer
from zoo.recipe import Stage, constant

ROOT = pathlib.Path(__file__).parents[2]
TENSORFLOW = keras.backend.backend() == "tensorflow"


def start(recipe, folder, out, *options, preexec_fn=None, **variables):
    """A process that trains a recipe of the tests."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"CUDA_VISIBLE_DEVICES": "-1", **variables}
    command = [sys.executable, train_worker.__file__, recipe, *map(str, options)]
    return subprocess.Popen(
        [*command, "--data", str(folder), "--out", str(out)],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=preexec_fn,
    )


def end(process, code=0, timeout=400):
    """Its last line of errors, once it has ended with that code."""
    try:
        errors = process.communicate(timeout=timeout)[1]
    finally:
        process.kill()
    assert process.returncode == code, errors[-3000:]
    assert code == 0 or "Traceback" not in errors
    return errors.strip().rpartition("\n")[2]


def histories(out):
    """What every stage measured, without what no two runs share."""
    rows = [
        row for path in sorted(out.glob("*.csv")) for row in csv.DictReader(path.open())
    ]
    return [{name: row[name] for name in row if name != "seconds"} for row in rows]


def last(out):
    """Arrays of the last checkpoint of every stage."""
    arrays = {}
    for path in sorted(out.glob("last.*.npz")):
        with np.load(path) as file:
            found = {f"{path.name}/{name}": file[name] for name in file.files}
        arrays |= {name: each for name, each in found.items() if each.dtype.kind != "U"}
    assert arrays
    return arrays


def weights(out):
    model = keras.saving.load_model(out / "model.keras")
    return model.get_weights()


def assert_same_run(out, expected):
    """Weights, averages, optimizer and random states, to the bit."""
    assert histories(out) == histories(expected)
    received, expected_arrays = last(out), last(expected)
    assert list(received) == list(expected_arrays)
    for name, value in expected_arrays.items():
        assert received[name].tobytes() == value.tobytes(), name
    for one, other in zip(weights(out), weights(expected), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """Folders of a run without a break, and of one that was killed."""
    out = tmp_path_factory.mktemp("runs")
    patch = pytest.MonkeyPatch()
    patch.setattr(trainer, "ResumeState", train_worker.KeptState)
    # Three steps an epoch, three epochs.
    killed = start("frozen", folder, out / "killed", "--kill", 5)
    train.train(RECIPES["frozen"], folder, out / "whole")
    end(killed, -signal.SIGKILL)
    assert len(checkpoint.read_state(out / "killed/stage0.npz")["history"]) == 1
    train.train(RECIPES["frozen"], folder, out / "killed", resume=True)
    patch.undo()
    return out


@pytest.mark.medium
def test_a_killed_run_ends_where_one_without_a_break_does(runs):
    assert_same_run(runs / "killed", runs / "whole")


@pytest.mark.medium
def test_what_a_run_leaves(runs, folder):
    out = runs / "whole"
    names = {path.name for path in out.iterdir()} - {"tensorboard", "last.stage0.npz"}
    final = {"model.keras", "model.weights.h5", "run.json"}
    assert names == final | {"recipe.json", "stage0.csv", "stage0.weights.h5"}
    facts = json.loads((out / "run.json").read_text())
    faces, validation = data.hold_out(data.open_split("fer2013", folder, "train"))
    assert facts["trained_on"] == len(faces)
    assert facts["selected_on"] == len(validation)
    assert [row["epoch"] for row in facts["history"]["stage0"]] == ["0", "1", "2"]
    # The result is the average at the epoch that was best on the validation part.
    model = keras.saving.load_model(out / "model.keras")
    assert model.labels == faces.labels
    predicted = model.predict(validation.images, verbose=0)
    scores = [float(row["val_accuracy"]) for row in histories(out)]
    accuracy = np.mean(predicted.argmax(axis=1) == validation.classes)
    assert accuracy == pytest.approx(max(scores))
    best = histories(out)[scores.index(max(scores))]
    recall = metrics.recall_score(
        validation.classes,
        predicted.argmax(axis=1),
        labels=np.unique(validation.classes),
        average="macro",
        zero_division=0,
    )
    assert recall == pytest.approx(float(best["val_recall"]))
    loss = -np.mean(np.log((predicted * validation.targets).sum(axis=1)))
    assert loss == pytest.approx(float(best["val_loss"]), rel=1e-4)
    model.load_weights(out / "model.weights.h5")


# === Bad input, as the command line answers it ===


@pytest.fixture
def refused(monkeypatch, capsys):
    """The one line with which `python -m zoo.train` ends."""
    run = train.train

    def run_untrained(recipe, source, out, backbone_weights, *others):
        return run(recipe, source, out, None, *others)

    def line(recipe, *arguments, known=None):
        if known:
            monkeypatch.setattr(recipes, "load", known.__getitem__)
        monkeypatch.setattr(train, "train", run_untrained)
        monkeypatch.setattr(sys, "argv", ["zoo.train", recipe, *map(str, arguments)])
        assert train.main() == 1
        errors = capsys.readouterr().err
        assert errors.count("\n") == 1 and errors.endswith("\n"), errors
        return errors

    return line


def test_unknown_names_come_with_the_known_ones(refused, folder, tmp_path):
    place = ("--data", folder, "--out", tmp_path / "run")
    line = refused("pat_lite", *place)
    assert line.startswith("ValueError: recipe must be one of iram_fer2013, ")
    assert "patt_lite_fer2013, patt_lite_ferplus" in line
    assert line.endswith("got 'pat_lite'.\n")
    line = refused("patt_lite_fer2013", *place, "--strategy", "all")
    assert "strategy must be one of one, mirrored, multiworker, got 'all'." in line
    line = refused("patt_lite_fer2013", *place, "--epochs", 0)
    assert "--epochs must be 1 or more, got 0." in line


def test_folders_that_do_not_do_are_named(refused, folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        line = refused("patt_lite_fer2013", "--data", folder, "--out", out)
        assert "Cannot write to --out" in line and "may write to" in line
    assert (tmp_path / "file").read_text() == "in the way"
    line = refused("patt_lite_fer2013", "--data", folder, "--out", tmp_path)
    assert "is not empty. Pass --resume" in line
    out = tmp_path / "run"
    line = refused("patt_lite_fer2013", "--data", tmp_path / "none", "--out", out)
    assert "none' has no train.npz" in line


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX")
def test_a_folder_without_the_right_to_write_is_named(refused, folder, tmp_path):
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("root may write everywhere")
    line = refused("patt_lite_fer2013", "--data", folder, "--out", tmp_path / "run")
    assert "Cannot write to --out" in line


NOTHING = "no images for checkpoint selection"


@pytest.mark.parametrize(
    ("recipe", "change", "expected"),
    [
        ("fer2013", lambda a: {"images": a["images"][:, 8:40]}, "(60, 32, 48)"),
        ("fer2013", lambda a: {"label": a["label"][:50]}, "integers of shape (60,), "),
        ("fer2013", lambda a: {"label": a["label"] % 6}, "have none of neutral"),
        ("fer2013", lambda a: {name: a[name][:3] for name in a}, NOTHING),
        # Faces enough, but none on which the voters agree.
        ("ferplus", lambda a: {"ferplus": np.full((60, 10), 5)}, NOTHING),
        ("ferplus", lambda a: {"ferplus": None}, "images and ferplus cannot be read"),
    ],
)
def test_data_that_do_not_do_are_named(
    refused, folder, tmp_path, recipe, change, expected
):
    with np.load(folder / "train.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays |= change(arrays)
    arrays = {name: value for name, value in arrays.items() if value is not None}
    np.savez(tmp_path / "train.npz", **arrays)
    place = ("--data", tmp_path, "--out", tmp_path / "run")
    assert expected in refused(f"patt_lite_{recipe}", *place)


@pytest.mark.medium
def test_a_loss_that_is_not_finite_stops_the_run(refused, folder, tmp_path):
    options = ("explode", "--data", folder, "--out", tmp_path / "run")
    line = refused(*options, known=RECIPES)
    # The rate is enormous from the second epoch on: its first step is one too far.
    assert "FloatingPointError: The loss is nan from step 2 of epoch 2 on" in line
    assert "The checkpoint of epoch 1 and the best weights so far are kept" in line
    kept = tmp_path / "run" / "stage0.npz"
    state = checkpoint.read_state(kept)
    assert len(state["history"]) == 1 and np.isfinite(state["history"][0]["loss"])
    with np.load(kept) as arrays:
        values = [arrays[name] for name in arrays.files if name != "state"]
    assert all(np.isfinite(value).all() for value in values)
    model = trainer.build(RECIPES["explode"], data.LABELS[:7], 48)
    model.load_weights(tmp_path / "run" / "best.stage0.weights.h5")
    assert all(np.isfinite(value).all() for value in model.get_weights())


@pytest.mark.medium
def test_checkpoints_that_do_not_fit_are_refused(refused, runs, folder, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    kept = out / "stage0.npz"
    shutil.copy(runs / "whole" / "last.stage0.npz", kept)
    shutil.copy(runs / "whole" / "recipe.json", out)
    place = ("--data", folder, "--out", out, "--resume")
    line = refused("frozen", *place, "--seed", 5, known=RECIPES)
    assert "is of another recipe, which differs in seed." in line
    kept.write_bytes(kept.read_bytes()[:-3000])
    line = refused("frozen", *place, known=RECIPES)
    assert "stage0.npz' is damaged: " in line
    shutil.copy(folder / "train.npz", out / "stage0.weights.h5")
    line = refused("frozen", *place, known=RECIPES)
    assert "stage0.weights.h5' is damaged or of another model: " in line


def test_two_processes_do_not_train_in_one_folder(refused, folder, tmp_path):
    code = (
        "import sys; from keras_fer.files import locked\n"
        "with locked(sys.argv[1]): print('held', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"held\n"
        line = refused(
            "frozen", "--data", folder, "--out", tmp_path, "--resume", known=RECIPES
        )
        assert line.startswith("OSError: Another process is training in ")
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        process.wait()
    # The lock ends with its process.
    with locked(tmp_path):
        pass


# === The public test split ===


@pytest.fixture
def opened():
    """Names of the files that are opened while a test runs."""
    names, active = [], [True]

    def note(event, arguments):
        if active and event == "open":
            names.append(str(arguments[0]))

    sys.addaudithook(note)  # There is no way to remove it.
    yield names
    active.clear()


@pytest.mark.medium
@pytest.mark.parametrize(
    "public_test", [b"poison", pytest.param(None, marks=pytest.mark.slow)]
)
def test_training_and_selection_never_open_the_public_test_split(
    tmp_path, opened, public_test
):
    folder = draw(tmp_path, 200)
    for name in ("public_test.npz", "public_test_landmarks.npz"):
        if public_test:
            (folder / name).write_bytes(public_test)
    recipe = dataclasses.replace(
        RECIPES["pal"], stages=(Stage(1, 1e-3, 48, backbone="frozen"),)
    )
    out = tmp_path / "run"
    opened.clear()
    train.train(recipe, folder, out)
    by_training = opened.copy()
    opened.clear()
    # No temperature may fit a model that has hardly learned: to get so far is enough.
    with contextlib.suppress(ValueError):
        evaluate.store_temperature(out, folder)
    for names in (by_training, opened):
        assert str(folder / "train.npz") in names
        assert [name for name in names if "test.npz" in name] == []
        assert [name for name in names if "test_landmarks" in name] == []
    assert str(folder / "train_landmarks.npz") in by_training
    # The split is where it would have been found.
    with pytest.raises((ValueError, FileNotFoundError), match="public_test.npz"):
        evaluate.evaluate(out, "default", folder)


@pytest.mark.slow
def test_a_full_disk_ends_a_run_in_order(folder, tmp_path):
    room = 2 * 2**20

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    process = start("frozen", folder, tmp_path / "run", preexec_fn=limit)
    line = end(process, 1)
    assert line.startswith("OSError: Cannot write") and "Make room" in line
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names <= {"recipe.json", "tensorboard"}
    # With room again, the same command goes on.
    end(start("frozen", folder, tmp_path / "run", "--resume"))


# === Other ways to be killed ===


def killed_and_whole(recipe, folder, out, kills, **variables):
    """A run killed at several places and resumed, and one beside it without a break."""
    whole = start(recipe, folder, out / "whole", **variables)
    for number, kill in enumerate(kills):
        resume = ["--resume"] if number else []
        process = start(recipe, folder, out / "killed", *kill, *resume, **variables)
        end(process, -signal.SIGKILL)
    end(start(recipe, folder, out / "killed", "--resume", **variables))
    end(whole)
    assert_same_run(out / "killed", out / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "kills"),
    [
        ("pal", [["--kill", 5]]),
        ("mix", [["--kill", 5]]),
        ("teacher", [["--kill", 5]]),
        # In the first epoch, of which nothing is left; and in a checkpoint.
        ("plain", [["--kill", 2], ["--kill-writing", 2]]),
        # In the cached stage, between the stages, and in the second one.
        ("scan", [["--kill", 5], ["--kill", 4], ["--kill", 5]]),
    ],
)
def test_every_kind_of_run_survives_a_kill(folder, tmp_path, recipe, kills):
    killed_and_whole(recipe, folder, tmp_path, kills)


@pytest.mark.slow
def test_twenty_kills_at_random_moments(folder, tmp_path):
    rng = np.random.default_rng(0)
    began = time.monotonic()
    end(start("plain", folder, tmp_path / "whole"))
    seconds = time.monotonic() - began
    kills = number = 0
    while kills < 20:
        out = tmp_path / f"killed{number}"
        while True:
            resume = ["--resume"] if out.exists() and any(out.iterdir()) else []
            process = start("plain", folder, out, *resume)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, seconds))
            process.kill()
            errors = process.communicate()[1]
            if process.returncode != -signal.SIGKILL:
                assert process.returncode == 0, errors[-3000:]
                break
            kills += 1
        assert_same_run(out, tmp_path / "whole")
        number += 1
    print(f"{kills} kills in {number} runs, all as the one without a break")


@pytest.mark.slow
def test_a_run_on_jax_survives_a_kill(folder, tmp_path):
    pytest.importorskip("jax")
    kills = [["--kill", 5], ["--kill", 5]]
    killed_and_whole("plain", folder, tmp_path, kills, KERAS_BACKEND="jax")


@pytest.mark.medium
@pytest.mark.parametrize("selection", ["accuracy", "loss"])
def test_the_best_epoch_is_what_the_recipe_selects(folder, tmp_path, selection):
    # At this rate the epochs differ, and the last is not the best.
    stage = Stage(8, 0.01, 48, backbone="cached", schedule=constant)
    recipe = dataclasses.replace(
        RECIPES["frozen"], stages=(stage,), selection=selection, ema=None
    )
    train.train(recipe, folder, tmp_path / "run")
    measured = [float(row[f"val_{selection}"]) for row in histories(tmp_path / "run")]
    best = min(measured) if selection == "loss" else max(measured)
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    _, faces = data.hold_out(data.open_split(recipe.dataset, folder, "train", 48))
    faces = faces[faces.scored]
    found = model.predict(faces.images[:], verbose=0)
    if selection == "loss":
        received = -(faces.targets * np.log(found)).sum(axis=1).mean()
    else:
        received = (found.argmax(axis=1) == faces.targets.argmax(axis=1)).mean()
    assert received == pytest.approx(best, abs=1e-4)
    assert measured[-1] != best


@pytest.mark.medium
def test_patience_ends_a_stage(folder, tmp_path):
    # Nothing learns at a rate of 0, so no epoch is better than the first.
    stage = Stage(9, 0.0, 48, backbone="cached", schedule=constant, patience=2)
    recipe = dataclasses.replace(RECIPES["frozen"], stages=(stage,))
    train.train(recipe, folder, tmp_path / "run")
    assert len(histories(tmp_path / "run")) == 3


def _keras_cv(name):
    import keras_cv  # takes seconds

    return getattr(keras_cv.layers, name)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["network", "host"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: [layers.RandAugment(), layers.RandomErasing()],
        lambda: [_keras_cv("RandomCutout")(0.3, 0.3), _keras_cv("GridMask")()],
    ],
    ids=["keras", "keras_cv"],
)
def test_layers_that_hide_parts_of_a_face(folder, tmp_path, make, where):
    layers_at = {"augmentation" if where == "network" else "mixing": make}
    recipe = dataclasses.replace(
        RECIPES["frozen"], stages=(Stage(1, 1e-3, 48, **layers_at),)
    )
    train.train(recipe, folder, tmp_path / "run")
    assert np.isfinite(float(histories(tmp_path / "run")[0]["loss"]))


@pytest.mark.slow
def test_class_weights_without_averages(folder, tmp_path):
    end(start("weighted", folder, tmp_path / "run"))
    assert len(histories(tmp_path / "run")) == 1


# === Several devices ===


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """Most of a trained backbone; rounding grows in a random one."""
    network = keras.applications.MobileNet(
        input_shape=(48, 48, 3), include_top=False, weights=None
    )
    network = keras.Model(network.input, network.get_layer("conv_dw_13_relu").output)
    for layer in zoo.load("patt_lite.fer2013").get_layer("backbone").layers:
        if layer.weights:
            network.get_layer(layer.name).set_weights(layer.get_weights())
    path = tmp_path_factory.mktemp("backbone") / "mobilenet.weights.h5"
    network.save_weights(path)
    return "--backbone-weights", path


def start_workers(recipe, folder, out, *options):
    """Two processes that train together; `options` are lists, one for each."""
    with socket.socket() as a, socket.socket() as b:
        for each in (a, b):
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (a, b)]
    processes = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": addresses}, "task": task}
        processes.append(
            start(
                recipe,
                folder,
                out,
                *("--strategy", "multiworker", *options[index]),
                TF_CONFIG=json.dumps(config),
                KERAS_BACKEND="tensorflow",
            )
        )
    return processes


def assert_close_run(out, expected):
    """Every weight and every loss, to 1e-5; and something has been learnt."""
    first, *_, final = histories(expected)
    assert abs(float(first["loss"]) - float(final["loss"])) > 1e-3
    for row, other in zip(histories(out), histories(expected), strict=True):
        for name, value in other.items():
            assert float(row[name]) == pytest.approx(float(value), abs=1e-5), name
    received, arrays = last(out), last(expected)
    assert list(received) == list(arrays)
    for name, value in arrays.items():
        np.testing.assert_allclose(
            received[name], value, rtol=1e-5, atol=1e-5, err_msg=name
        )
    for one, other in zip(weights(out), weights(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["still", "still_pal"])
def test_two_devices_and_two_processes_end_where_one_does(
    folder, backbone, tmp_path, recipe
):
    variables = {"KERAS_BACKEND": "tensorflow"}
    two = ("--strategy", "mirrored", "--devices", 2, *backbone)
    for process in (
        start(recipe, folder, tmp_path / "one", *backbone, **variables),
        start(recipe, folder, tmp_path / "mirrored", *two, **variables),
    ):
        end(process)
    for process in start_workers(
        recipe, folder, tmp_path / "workers", backbone, backbone
    ):
        end(process)
    assert_close_run(tmp_path / "mirrored", tmp_path / "one")
    assert_close_run(tmp_path / "workers", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["still", "still_pal"])
def test_two_devices_on_jax_end_where_one_does(folder, backbone, tmp_path, recipe):
    pytest.importorskip("jax")
    variables = {"KERAS_BACKEND": "jax"}
    end(start(recipe, folder, tmp_path / "one", *backbone, **variables))
    variables["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    two = ("--strategy", "mirrored", *backbone)
    end(start(recipe, folder, tmp_path / "two", *two, **variables))
    assert_close_run(tmp_path / "two", tmp_path / "one")


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_worker_stops_the_other_and_both_resume(folder, tmp_path, killed):
    whole = start_workers("plain", folder, tmp_path / "whole", [], [])
    for process in whole:
        end(process)
    options = [[], []]
    options[killed] = ["--kill", 5]
    processes = start_workers("plain", folder, tmp_path / "killed", *options)
    end(processes[killed], -signal.SIGKILL)
    begin = time.monotonic()
    line = end(processes[1 - killed], 1)
    assert time.monotonic() - begin < 60
    assert line.startswith("ConnectionError: Another worker has stopped or cannot be")
    out = tmp_path / "killed"
    assert len(checkpoint.read_state(out / "stage0.npz")["history"]) == 1
    for process in start_workers("plain", folder, out, ["--resume"], ["--resume"]):
        end(process)
    assert_same_run(out, tmp_path / "whole")


# === TensorFlow and JAX ===


def loss_curves(recipe, folder, out):
    """Losses of every step: on TensorFlow, on it with other rounding, and on JAX.

    oneDNN's convolutions add in another order. How far that takes a run away from
    itself is the noise that the backends may differ by.
    """
    pytest.importorskip("jax")
    variables = {
        "tensorflow": {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "1"},
        "rounded": {"KERAS_BACKEND": "tensorflow", "TF_ENABLE_ONEDNN_OPTS": "0"},
        "jax": {"KERAS_BACKEND": "jax"},
    }
    paths = [out / f"{recipe}_{name}.npy" for name in variables]
    for path, each in zip(paths, variables.values(), strict=True):
        end(start(recipe, folder, path.with_suffix(""), "--losses", path, **each))
    return [np.load(path) for path in paths]


def apart(one, other):
    return np.sqrt(np.mean((one - other) ** 2))


@pytest.mark.slow
@pytest.mark.parametrize("real", [False, True])
def test_an_epoch_is_the_same_on_tensorflow_and_jax(request, tmp_path, real):
    if real:
        source = request.getfixturevalue("real_data") / "train.npz"
        with np.load(source) as file:
            arrays = {name: file[name][:2000] for name in ("images", "label")}
        np.savez(tmp_path / "train.npz", **arrays)
    else:
        draw(tmp_path, 560)
    tensorflow, rounded, jax = loss_curves("one_epoch", tmp_path, tmp_path)
    noise, difference = apart(tensorflow, rounded), apart(tensorflow, jax)
    print(
        f"{len(jax)} steps, losses {tensorflow[:3]} to {tensorflow[-3:]}; JAX differs "
        f"by {np.abs(jax - tensorflow)[:5].max():.1e} in the first five, by "
        f"{difference:.1e} in all (root mean square), TensorFlow rounded otherwise by "
        f"{noise:.1e}; means {tensorflow.mean():.4f} and {jax.mean():.4f}"
    )
    # The same images, weights and steps; but rounding grows from step to step.
    np.testing.assert_allclose(jax[:3], tensorflow[:3], atol=1e-4)
    assert difference < 4 * noise
    assert abs(jax.mean() - tensorflow.mean()) < 0.02


@pytest.mark.slow
def test_a_varied_epoch_is_alike_on_tensorflow_and_jax(real_data, tmp_path):
    with np.load(real_data / "train.npz") as file:
        arrays = {name: file[name][:2000] for name in ("images", "label")}
    np.savez(tmp_path / "train.npz", **arrays)
    tensorflow, _, jax = loss_curves("one_varied_epoch", tmp_path, tmp_path)
    # The same images, dropped out and augmented otherwise: alike on average.
    error = np.std(jax - tensorflow) / np.sqrt(len(jax))
    print(f"means {tensorflow.mean():.4f} and {jax.mean():.4f}, error {error:.4f}")
    assert abs(tensorflow.mean() - jax.mean()) < 4 * error < 0.4
