import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_fer import _compat

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's"
)


def chain():
    x = keras.Input((3,), name="x")
    return keras.Model(x, layers.Dense(2, name="b")(layers.Dense(4, name="a")(x)))


def test_importing_is_light():
    code = (
        "import sys, keras_fer._compat; print({'keras', 'tensorflow'} & {*sys.modules})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"


def test_functional_models_with_the_call_of_keras_are_functional():
    class OwnCall(type(chain())):
        def call(self, inputs):
            return super().call(inputs) + 1

    class SameCall(type(chain())):
        pass

    x = keras.Input((3,))
    assert _compat.is_functional(chain())
    assert _compat.is_functional(SameCall(x, x + 1))
    assert not _compat.is_functional(OwnCall(x, x + 1))
    assert not _compat.is_functional(keras.Sequential([x, layers.Dense(1)]))
    assert not _compat.is_functional(keras.Model())
    assert not _compat.is_functional(layers.Dense(1))
    assert not _compat.is_functional(None)


def test_a_graph_runs_with_another_call_of_each_layer():
    model = chain()
    images = np.random.default_rng(0).random((5, 3)).astype("float32")
    names = []

    def doubled(layer, *args, **kwargs):
        names.append(layer.name)
        return 2 * layer(*args, **kwargs)

    outputs = _compat.run_graph(model, ops.convert_to_tensor(images), doubled)
    first, second = model.get_layer("a"), model.get_layer("b")
    expected = 2 * second(2 * first(images))
    assert names == ["a", "b"]
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    symbolic = keras.KerasTensor((None, 3))
    assert _compat.run_graph(model, symbolic, doubled).shape == (None, 2)


def test_the_producer_of_a_tensor_is_the_layer_that_was_called():
    inner = keras.Model((x := keras.Input((3,))), [x + 1, x + 2])
    layer = layers.Dense(2)
    outputs = inner(keras.Input((3,)))
    assert [_compat.producer(each) for each in outputs] == [inner, inner]
    assert _compat.producer(layer(outputs[0])) is layer


def test_the_arrays_of_a_weights_file_are_known_before_it_is_written(tmp_path):
    inner = keras.Model((y := keras.Input((8, 8, 2))), layers.Conv2D(3, 3)(y))
    shared = layers.Dense(3)
    x = keras.Input((8, 8, 2))
    y = layers.BatchNormalization()(inner(layers.Dropout(0.5)(x)))
    model = keras.Model(x, shared(shared(layers.GlobalAveragePooling2D()(y))))
    model.save_weights(tmp_path / "model.weights.h5")
    found = {}
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: found.update(
                {name: item.shape} if isinstance(item, h5py.Dataset) else {}
            )
        )
    assert _compat.saved_shapes(model) == found
    assert len(found) == 8


def test_nested_layers_are_found_once():
    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.Dense(1, name="inner")
            self.same = self.inner
            self.listed = [layers.Dropout(0.1, name="listed")]

    outer = Outer()
    x = keras.Input((3,))
    model = keras.Model(x, keras.Sequential([layers.Dense(3, name="deep")])(x))
    names = [layer.name for layer in _compat.nested_layers(outer)]
    assert names[0] == outer.name and sorted(names[1:]) == ["inner", "listed"]
    assert "deep" in [layer.name for layer in _compat.nested_layers(model)]


@on_tensorflow
def test_one_worker_is_not_several():
    """Two are, in tests/training/test_distributed.py: they need two processes."""
    import tensorflow as tf

    for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy()):
        assert _compat.has_several_workers(strategy) is False


@on_tensorflow
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_model_is_built_from_the_selected_part_of_a_batch(method):
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    seen, shapes = [], []

    class Model(keras.Model):
        def build(self, shape):
            shapes.append(shape)
            self.dense = layers.Dense(1)
            self.dense.build(shape)

        def call(self, inputs):
            return self.dense(inputs)

    def select(batch):
        seen.append(batch)
        return keras.tree.map_structure(lambda value: value[:1], batch)

    with strategy.scope():
        model = Model()
        model.compile("sgd", "mse")
    _compat.build_from(model, select)
    getattr(model, method)(np.ones((8, 3)), np.ones((8, 1)), batch_size=4, verbose=0)
    assert len(seen) == 1 and shapes == [(1, 3)]


@on_tensorflow
def test_steps_are_wrapped_before_their_logs_are_used():
    x, y = np.ones((8, 3)), np.ones((8, 2))
    losses = []

    class Record(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs):
            losses.append(float(logs["loss"]))

        on_train_batch_end = on_test_batch_end

    def wrap(step):
        def tripled(data):
            return {name: 3 * log for name, log in step(data).items()}

        return tripled

    model = chain()
    model.compile("sgd", "mse")
    options = {"batch_size": 8, "verbose": 0, "callbacks": [Record()]}
    model.evaluate(x, y, **options)
    _compat.wrap_steps(model, wrap)
    model.evaluate(x, y, **options)
    model.fit(x, y, **options)
    assert losses == pytest.approx([losses[0], 3 * losses[0], 3 * losses[0]])
    assert losses[0] > 0


def test_fit_says_that_it_validates():
    seen = []

    class Watched(keras.Model):
        def call(self, x):
            return x

        def evaluate(self, *args, **options):
            seen.append(_compat.is_validation_of_fit(options))
            return super().evaluate(*args, **options)

    x = np.zeros((4, 1), "float32")
    model = Watched()
    model.compile(loss="mse")
    model.fit(x, x, validation_data=(x, x), epochs=2, verbose=0)
    model.evaluate(x, x, verbose=0)
    assert seen == [True, True, False]


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="exports go through TensorFlow"
)
def test_variables_become_constants():
    import tensorflow as tf

    three = tf.Variable(3.0)
    function = tf.function(lambda x: x * three)
    graph = function.get_concrete_function(tf.TensorSpec((), "float32"))
    frozen = _compat.with_constants(graph)
    three.assign(4.0)
    assert float(frozen(tf.constant(2.0))[0]) == 6


def test_operators_of_litert():
    pytest.importorskip("tensorflow")
    expected = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "DIV"}
    assert expected < {*_compat.litert_operators()}
