import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_fer.training.distributed import multi_worker

WORKER = pathlib.Path(__file__).with_name("distributed_worker.py")
ROOT = pathlib.Path(__file__).parents[2]

pytestmark = [
    pytest.mark.medium,  # three processes that train; CI runs this file on its own
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's"
    ),
]


def start(task, out="", tf_config=None):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    # One CPU device each, also where there are GPUs.
    environment |= {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    environment.pop("TF_CONFIG", None)
    if tf_config:
        environment["TF_CONFIG"] = json.dumps(tf_config)
    return subprocess.Popen(
        [sys.executable, str(WORKER), task, str(out)],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_workers(task, outs=("", "")):
    with socket.socket() as a, socket.socket() as b:
        for each in (a, b):
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (a, b)]
    return [
        start(
            task,
            out,
            {
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": index},
            },
        )
        for index, out in enumerate(outs)
    ]


def run(task, folder):
    """Arrays that two workers and a process alone wrote; all run at the same time."""
    outs = [folder / f"{name}.npz" for name in ("worker_0", "worker_1", "alone")]
    processes = [*start_workers(task, outs[:2]), start(task, outs[2])]
    try:
        for process in processes:
            errors = process.communicate(timeout=240)[1]
            assert process.returncode == 0, errors[-3000:]
    finally:
        for process in processes:
            process.kill()
    results = {}
    for out in outs:
        with np.load(out) as file:
            for key, value in file.items():
                results[key.replace("worker/", f"{out.stem}/")] = value
    return results


def part(results, process, model, prefix):
    """Arrays of one process on one model, by name."""
    start = f"{process}/{model}/"
    found = {
        key.removeprefix(start): value
        for key, value in results.items()
        if key.startswith(start + prefix)
    }
    assert found
    return found


def assert_same(results, process, model):
    """Four steps of SGD end where one process does, and so does all that follows."""
    moved = zip(
        part(results, "one", model, "start_").values(),
        part(results, "one", model, "weight_").values(),
        strict=True,
    )
    assert max(np.abs(a - b).max() for a, b in moved) > 1e-3
    for prefix in ("start_", "weight_", "history_", "score_", "predictions"):
        expected = part(results, "one", model, prefix)
        received = part(results, process, model, prefix)
        assert set(received) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(
                received[name], value, rtol=1e-5, atol=1e-5, err_msg=name
            )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    return run("compare", folder)


@pytest.mark.parametrize(
    ("process", "model"),
    [
        *itertools.product(("worker_0", "worker_1"), ("zoo", "pal")),
        ("mirrored", "zoo"),
    ],
)
def test_two_replicas_do_what_one_process_does(results, process, model):
    assert_same(results, process, model)


@pytest.mark.parametrize("process", ["worker_0", "worker_1"])
def test_logs_of_a_batch_are_scalars(results, process):
    losses = results[f"{process}/zoo/batch_losses"]
    assert losses.shape == (4,) and np.isfinite(losses).all()


@pytest.mark.parametrize("model", ["zoo", "pal"])
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_plain_keras_fails(results, method, model):
    """If this no longer fails, Keras works: drop keras_fer/training/distributed."""
    message = str(results[f"worker_0/{model}/plain_{method}"])
    assert "PerReplica" in message or "reduction dimension 0" in message, message
    assert not results[f"worker_0/{model}/keras_supports"]


def test_models_built_outside_the_scope_are_refused(results):
    assert "_DefaultDistributionStrategy" in str(results["outside"])
    for name in ("outside", "partly"):
        assert "in the scope of a tf.distribute" in str(results[name])
    with pytest.raises(ValueError, match="Build it in `with strategy.scope"):
        multi_worker(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_worker_stops_the_other_one(killed):
    processes = start_workers(f"die:{killed}:SIGKILL")
    try:
        processes[killed].communicate(timeout=120)
        assert processes[killed].returncode == -signal.SIGKILL
        begin = time.monotonic()
        errors = processes[1 - killed].communicate(timeout=60)[1]
        assert time.monotonic() - begin < 60
        assert processes[1 - killed].returncode == 1, errors[-3000:]
        assert "ConnectionError: Another worker has stopped" in errors
    finally:
        for process in processes:
            process.kill()
