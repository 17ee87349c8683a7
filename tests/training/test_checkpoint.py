import contextlib
import json
import resource
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_fer.training import checkpoint


def network(units=4, optimizer="adam"):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(units)]
    )
    model.compile(optimizer, "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def values(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [np.array(variable) for variable in variables]


def trained():
    model = network()
    model.fit(np.ones((4, 3)), np.zeros((4, 4)), epochs=2, verbose=0)
    return model


def assert_restored(path, expected):
    other = network()
    checkpoint.restore(path, other)
    for one, another in zip(values(other), expected, strict=True):
        assert one.tobytes() == another.tobytes()


@contextlib.contextmanager
def small_disk(folder):
    """A folder in which there is room for a megabyte."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = not subprocess.run(command, capture_output=True).returncode
    except FileNotFoundError:
        mounted = False
    if mounted:
        try:
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_everything_comes_back(tmp_path):
    path = tmp_path / "it.npz"
    model = trained()
    assert checkpoint.read_state(path) is None
    checkpoint.save(path, model, {"history": [{"loss": 0.1}]})
    assert checkpoint.read_state(path) == {"history": [{"loss": 0.1}]}
    assert_restored(path, values(model))
    # What it does next is the same, dropout too.
    other = network()
    checkpoint.restore(path, other)
    for each in (model, other):
        each.fit(np.ones((4, 3)), np.zeros((4, 4)), verbose=0)
    for one, another in zip(values(model), values(other), strict=True):
        assert one.tobytes() == another.tobytes()


@pytest.mark.parametrize(
    "other", [{"units": 5}, {"optimizer": "sgd"}], ids=["shapes", "optimizer"]
)
def test_that_of_another_network_is_refused(tmp_path, other):
    path = tmp_path / "it.npz"
    checkpoint.save(path, trained(), {})
    received = network(**other)
    before = values(received)
    with pytest.raises(ValueError, match="is of another network: it differs in"):
        checkpoint.restore(path, received)
    for one, another in zip(values(received), before, strict=True):
        np.testing.assert_array_equal(one, another)


def test_damaged_ones_are_never_taken(tmp_path):
    path = tmp_path / "it.npz"
    model = trained()
    checkpoint.save(path, model, {"history": []})
    whole, expected = path.read_bytes(), values(model)
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(300):
        damaged = bytearray(whole)
        if number % 2:
            damaged = damaged[: rng.integers(len(whole))]
        else:
            damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        other = network() if number < 3 else model
        try:
            assert checkpoint.read_state(path) == {"history": []}
            checkpoint.restore(path, other)
        except ValueError as error:
            assert "is damaged" in str(error)
            assert "another output" in str(error)
            refused += 1
        else:  # A byte that says nothing, such as of a date.
            for one, another in zip(values(other), expected, strict=True):
                assert one.tobytes() == another.tobytes()
    assert refused > 200


def test_an_entry_that_looks_encrypted_is_damage(tmp_path):
    path = tmp_path / "it.npz"
    checkpoint.save(path, trained(), {"history": []})
    content = bytearray(path.read_bytes())
    # The flags of an entry stand 6 bytes into its header, 8 into that of the directory.
    at = content.index(b"network/1.npy")
    content[at - 30 + 6] |= 1
    content[content.index(b"network/1.npy", at + 1) - 46 + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged: .*encrypted.* Delete it"):
        checkpoint.restore(path, network())


def test_a_lost_variable_is_damage(tmp_path):
    path = tmp_path / "it.npz"
    model = trained()
    checkpoint.save(path, model, {"history": []})
    with np.load(path) as file:
        arrays = dict(file)
    number = len(arrays) - 1
    last = arrays.pop(list(arrays)[-1])
    np.savez(path, **arrays)
    message = f"is damaged: 1 of {number} variables are lost"
    with pytest.raises(ValueError, match=message):
        checkpoint.restore(path, network())
    # One from before the number was kept is taken as it is.
    arrays |= {"state": json.dumps({"history": []}), f"optimizer/{number - 4}": last}
    np.savez(path, **arrays)
    assert_restored(path, values(model))


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_leaves_the_one_before(tmp_path):
    model = trained()
    large = network(units=200_000)
    with small_disk(tmp_path):
        path, weights = tmp_path / "it.npz", tmp_path / "it.weights.h5"
        checkpoint.save(path, model, {"epoch": 1})
        checkpoint.save_weights(weights, model)
        with pytest.raises(OSError, match="that name is untouched. Make room"):
            checkpoint.save(path, large, {"epoch": 2})
        with pytest.raises(OSError, match="that name is untouched. Make room"):
            checkpoint.save_weights(weights, large)
        with pytest.raises(OSError, match="Cannot write"):
            checkpoint.save(tmp_path / "new.npz", large, {})
        assert sorted(each.name for each in tmp_path.iterdir()) == [
            "it.npz",
            "it.weights.h5",
        ]
        assert checkpoint.read_state(path) == {"epoch": 1}
        assert_restored(path, values(model))
        network().load_weights(weights)


def test_weights_are_as_keras_writes_them(tmp_path):
    names = ["ours.weights.h5", "theirs.weights.h5"]
    model = trained()
    checkpoint.save_weights(tmp_path / names[0], model)
    model.save_weights(tmp_path / names[1])
    sizes = {(tmp_path / name).stat().st_size for name in names}
    assert len(sizes) == 1 and len(list(tmp_path.iterdir())) == 2
    other = network()
    other.load_weights(tmp_path / names[0])
    for one, another in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, another)


DYING = """
import os, pathlib, signal, sys
from keras_fer.files import replacing
with replacing(pathlib.Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_while_writing_leaves_the_one_before(tmp_path):
    path = tmp_path / "it.npz"
    model = trained()
    checkpoint.save(path, model, {"epoch": 1})
    process = subprocess.run([sys.executable, "-c", DYING, str(path)])
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "writing.it.npz").read_bytes() == b"half"
    assert_restored(path, values(model))
    # What it left behind is in nobody's way.
    checkpoint.save(path, model, {"epoch": 2})
    assert [each.name for each in tmp_path.iterdir()] == ["it.npz"]
    assert checkpoint.read_state(path) == {"epoch": 2}


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match="Cannot write .* Make room, or"):
        checkpoint.save(tmp_path / "none" / "it.npz", trained(), {})
