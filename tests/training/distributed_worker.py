"""One process of test_distributed.py: `distributed_worker.py TASK OUT`.

With `TF_CONFIG` it is one of several workers; without, it does alone what they do: on
one device, and the zoo model on two logical ones as well.
TASK "compare" trains, evaluates and predicts, and writes what came out to OUT, an npz
file; "die:I:SIGNAL" trains until worker I sends itself the signal.
"""

import json
import os
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_fer.models import AttentionNetwork
from keras_fer.models.backbones import freeze_batch_norm
from keras_fer.training import PrivilegedAttribution
from keras_fer.training.distributed import keras_supports, multi_worker
from tests.training.test_attribution import faces, smooth

# Two epochs of two global batches; the evaluated ones end with an incomplete batch.
TRAINED, EVALUATED, BATCH = 16, 13, 8


def zoo():
    model = AttentionNetwork(3, input_size=48, backbone="mobilenet_v1")
    freeze_batch_norm(model.get_layer("backbone"))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (TRAINED, 6, 6, 1)).repeat(8, 1).repeat(8, 2)
    return model, images.astype("uint8"), np.arange(TRAINED) % 3


def pal():
    inputs, classes = faces(TRAINED)
    inputs = {name: value.astype("float32") for name, value in inputs.items()}
    return PrivilegedAttribution(smooth(), layer="guided"), inputs, classes


class BatchLogs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs):
        self.losses.append(np.asarray(logs["loss"]))


class Die(keras.callbacks.Callback):
    def __init__(self, name):
        super().__init__()
        self.signal = signal.Signals[name]

    def on_train_batch_end(self, batch, logs):
        if batch == 1:
            os.kill(os.getpid(), self.signal)


def build(make, strategy):
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model, x, y = make()
        model.compile(
            keras.optimizers.SGD(0.05),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
    return model, x, y


def first(x):
    return keras.tree.map_structure(lambda value: value[:EVALUATED], x)


def compare(make, strategy):
    model, x, y = build(make, strategy)
    results = {f"start_{i}": w for i, w in enumerate(model.get_weights())}
    options = {"batch_size": BATCH, "verbose": 0}
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        # Fails before the first step, so nothing is learnt yet.
        for method in ("fit", "evaluate"):
            try:
                getattr(model, method)(x, y, **options)
                results[f"plain_{method}"] = "works"
            except Exception as error:
                results[f"plain_{method}"] = f"{type(error).__name__}: {error}"
        results["keras_supports"] = keras_supports(strategy)
        assert multi_worker(model) is model
    logs = BatchLogs()
    history = model.fit(
        x,
        y,
        epochs=2,
        shuffle=False,
        callbacks=[logs],
        **options,
    ).history
    scores = model.evaluate(first(x), y[:EVALUATED], return_dict=True, **options)
    images = x["image"] if isinstance(x, dict) else x
    return {
        **results,
        **{f"weight_{i}": w for i, w in enumerate(model.get_weights())},
        **{f"history_{name}": values for name, values in history.items()},
        **{f"score_{name}": value for name, value in scores.items()},
        "batch_losses": np.stack(logs.losses),
        "predictions": model.predict(images[:EVALUATED], **options),
    }


def main(task, out):
    alone = "TF_CONFIG" not in os.environ
    if alone:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * 2,
        )
        strategies = {
            "one": tf.distribute.get_strategy(),
            "mirrored": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
        }
    else:
        strategies = {"worker": tf.distribute.MultiWorkerMirroredStrategy()}
    for name, strategy in strategies.items():
        assert strategy.num_replicas_in_sync == (1 if name == "one" else 2)
    if task.startswith("die"):
        die(strategies["worker"], *task.split(":")[1:])
        return
    results = {}
    for name, strategy in strategies.items():
        # That two devices train PAL alike is in test_attribution.py.
        for make in (zoo,) if name == "mirrored" else (zoo, pal):
            found = compare(make, strategy)
            results |= {f"{name}/{make.__name__}/{k}": v for k, v in found.items()}
    if not alone:
        results |= refusals(strategy)
    np.savez(out, **results)


def die(strategy, index, name):
    model, x, y = build(pal, strategy)
    mine = json.loads(os.environ["TF_CONFIG"])["task"]["index"] == int(index)
    multi_worker(model).fit(
        x, y, batch_size=2, epochs=1000, callbacks=[Die(name)] if mine else []
    )


def refusals(strategy):
    """What is said of models that are not, or only in part, of the strategy."""
    outside = smooth()
    with strategy.scope():
        partly = PrivilegedAttribution(outside, layer="guided")
    messages = {}
    for name, model in (("outside", outside), ("partly", partly)):
        try:
            multi_worker(model)
            messages[name] = "taken"
        except ValueError as error:
            messages[name] = str(error)
    return messages


if __name__ == "__main__":
    main(*sys.argv[1:])
