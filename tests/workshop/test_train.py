import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_fer.labels import LABELS
from zoo import train
from zoo.recipe import Stage
from zoo.recipes.patt_lite_ferplus import RECIPE, plain

SMALL = dataclasses.replace(
    RECIPE,
    dataset="fer2013",
    head_epochs=1,
    stages=(Stage(2, 1e-3, "frozen", input_size=48, augmentation=plain),),
    batch=16,
)


@pytest.fixture
def folder(tmp_path, pictures):
    images = np.concatenate([pictures, 255 - pictures])[..., 0]
    label = (np.arange(80) % 7).astype("uint8")
    np.savez(tmp_path / "train.npz", images=images, label=label)
    return tmp_path


def test_a_recipe_leaves_weights_a_log_and_its_values(folder):
    out = folder / "run"
    path = train.train(SMALL, folder, out)
    log = (out / "stage0.csv").read_text().splitlines()
    assert len(log) == 3 and "val_accuracy" in log[0]
    assert '"trained_on"' in (out / "run.json").read_text()
    train.build(SMALL, LABELS[:7], 48).load_weights(path)
    with pytest.raises(FileExistsError, match="Pass --resume"):
        train.train(SMALL, folder, out)
    # Nothing is left to do, and nothing is done again.
    assert train.train(SMALL, folder, out, resume=True) == path
    assert (out / "stage0.csv").read_text().splitlines() == log


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(folder):
    command = [sys.executable, "-m", "zoo.train", "patt_lite_fer2013", "--epochs", "3"]
    command += ["--data", str(folder), "--out", str(folder / "run")]
    process = subprocess.Popen(command, start_new_session=True)
    log = folder / "run" / "stage0.csv"
    while not (log.exists() and len(log.read_text().splitlines()) >= 2):
        assert process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "run" / "stage0.weights.h5").exists()
    subprocess.run([*command, "--resume"], check=True)
    epochs = [line.split(",")[0] for line in log.read_text().splitlines()[1:]]
    # The log is written last; an epoch may be logged twice, but none is missing.
    assert set(epochs) == {"0", "1", "2"} and len(epochs) <= 4
    assert (folder / "run" / "stage0.weights.h5").exists()
