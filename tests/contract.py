"""Contracts of all layers and models: tests inherit them and set the attributes."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_fer._compat import nested_layers

POLICIES = ("mixed_bfloat16", "mixed_float16")


def assert_batch_independent(model, inputs, sizes=(1, 7, 32)):
    """A prediction does not depend on the other samples of the batch or their order."""
    arrays = inputs if isinstance(inputs, list) else [inputs]
    plainly = np.arange(len(arrays[0]))
    order = np.random.default_rng(1).permutation(plainly)

    def predict(size, order):
        ordered = [array[order] for array in arrays]
        batch = ordered if len(ordered) > 1 else ordered[0]
        return model.predict(batch, batch_size=size, verbose=0)

    reference = predict(len(plainly), plainly)
    for size in sizes:
        plain, shuffled = predict(size, plainly), predict(size, order)
        np.testing.assert_allclose(plain, reference, atol=1e-5)
        np.testing.assert_allclose(shuffled, reference[order], atol=1e-5)


def assert_config_is_complete(layer):
    """Every constructor argument is in the config and survives a round trip."""
    names = set(inspect.signature(type(layer).__init__).parameters)
    names -= {"self", "args", "kwargs"}
    config = layer.get_config()
    assert names <= set(config)
    assert type(layer).from_config(config).get_config() == config


def disturb(layer, seed=0):
    """Adds noise to every weight, so that none keeps its initial value."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        value = ops.convert_to_numpy(weight)
        value = value + 0.1 * rng.normal(size=value.shape)
        if weight.path.endswith("variance"):
            value = np.abs(value)
        weight.assign(value.astype("float32"))


def settle(model, images):
    """Fits the statistics of BatchNorm to images, as random networks need it."""
    for momentum in (0.0, 0.99):
        for layer in nested_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = momentum
        if not momentum:
            model(images, training=True)


def count(weights):
    """Number of values in a list of weights."""
    return sum(int(np.prod(weight.shape)) for weight in weights)


def assert_one_step_trains_everything(model, inputs, targets, loss):
    """A compiled step changes every trainable weight to a finite value."""
    before = {w.path: w.numpy().copy() for w in model.trainable_weights}
    assert before
    model.compile(keras.optimizers.SGD(0.1), loss)
    history = model.fit(inputs, targets, batch_size=len(targets), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for weight in model.trainable_weights:
        after = weight.numpy()
        assert np.isfinite(after).all(), weight.path
        assert not np.array_equal(before[weight.path], after), weight.path


def assert_same_elsewhere(model, inputs, other_backend):
    """Saving, loading in a new process and the other backend change nothing."""
    expected = model.predict(inputs, batch_size=64, verbose=0)
    arrays = inputs if isinstance(inputs, list) else [inputs]
    np.testing.assert_allclose(other_backend(model, arrays), expected, atol=1e-4)


class LayerContract:
    """Tests that every layer passes.

    Attributes:
        layer: The class.
        arguments: Constructor arguments, different from the defaults where possible.
        shapes: Shapes of its inputs, without batch.
        output: Shape of its output, without batch.
        attention: Shape of its attention map, without batch, or `None`.
        parameters: Numbers of trainable and of other weights.
        float32_output: Whether the output is float32 under every dtype policy.
        number: Size of the batch.
    """

    layer: type
    arguments: dict = {}
    shapes: tuple
    output: tuple
    attention: tuple | None = None
    parameters: tuple = (0, 0)
    float32_output = False
    number = 21

    def inputs(self):
        """Random numbers, as many as there are inputs."""
        rng = np.random.default_rng(0)
        shapes = [(self.number, *shape) for shape in self.shapes]
        return [rng.normal(size=shape).astype("float32") for shape in shapes]

    def build(self, **options):
        """The layer with disturbed weights, and a functional model of it alone."""
        layer = self.layer(**self.arguments, **options)
        symbols = [keras.Input(shape) for shape in self.shapes]
        model = keras.Model(symbols, layer(*symbols))
        disturb(model)
        return layer, model

    def test_config(self):
        layer = self.layer(**self.arguments)
        assert_config_is_complete(layer)
        config = layer.get_config()
        assert all(config[name] == value for name, value in self.arguments.items())

    def test_shapes(self):
        layer, model = self.build()
        assert model.output.shape == (None, *self.output)
        assert layer(*self.inputs()).shape == (self.number, *self.output)
        if "compute_output_shape" in vars(self.layer):
            shapes = [(5, *shape) for shape in self.shapes]
            assert tuple(layer.compute_output_shape(*shapes)) == (5, *self.output)

    def test_attention_map(self):
        arguments = inspect.signature(self.layer.call).parameters
        assert ("return_attention" in arguments) == (self.attention is not None)
        if self.attention is None:
            return
        layer, model = self.build()
        inputs = self.inputs()
        outputs, attention = layer(*inputs, return_attention=True)
        assert attention.shape == (self.number, *self.attention)
        values = ops.convert_to_numpy(attention)
        assert values.min() >= 0 and values.max() <= 1 and values.std() > 0
        np.testing.assert_allclose(outputs, layer(*inputs), atol=1e-6)
        symbols = layer(*model.inputs, return_attention=True)
        assert symbols[1].shape == (None, *self.attention)

    def test_weights(self):
        _, model = self.build()
        assert count(model.trainable_weights) == self.parameters[0]
        assert count(model.non_trainable_weights) == self.parameters[1]

    @pytest.mark.parametrize("policy", POLICIES)
    def test_dtype_policies(self, policy):
        _, model = self.build()
        layer, mixed = self.build(dtype=policy)
        mixed.set_weights(model.get_weights())
        assert all(weight.dtype == "float32" for weight in layer.weights)
        outputs = layer(*self.inputs())
        wanted = "float32" if self.float32_output else layer.compute_dtype
        assert keras.backend.standardize_dtype(outputs.dtype) == wanted
        expected = model.predict(self.inputs(), verbose=0)
        received = ops.convert_to_numpy(ops.cast(outputs, "float32"))
        assert np.abs(received - expected).max() < 0.05 * (1 + np.abs(expected).max())

    def test_one_step_trains_everything(self):
        _, model = self.build()
        inputs = self.inputs()
        if count(model.trainable_weights):
            targets = np.random.default_rng(1).normal(size=(self.number, *self.output))
            assert_one_step_trains_everything(model, inputs, targets, "mse")

    def test_batch_independence(self):
        _, model = self.build()
        assert_batch_independent(model, self.inputs(), sizes=(1, 7))

    def test_the_same_in_another_process(self, other_backend):
        _, model = self.build()
        assert_same_elsewhere(model, self.inputs(), other_backend)


class ModelContract:
    """Tests that every model passes, on images of 48 pixels.

    Attributes:
        model: The function that builds it.
        arguments: Its arguments, besides labels.
        parameters: Numbers of trainable and of other weights, with three classes.
    """

    labels = ("calm", "tense", "other")
    arguments: dict = {}
    parameters: tuple

    @classmethod
    def build(cls):
        """The model."""
        return cls.model(labels=cls.labels, **cls.arguments)

    def test_labels_and_weights(self, built):
        assert built.labels == self.labels
        assert built.output.shape == (None, 3)
        assert count(built.trainable_weights) == self.parameters[0]
        assert count(built.non_trainable_weights) == self.parameters[1]

    @pytest.mark.medium
    def test_a_clone_is_the_same(self, built, images):
        clone = keras.models.clone_model(built)
        clone.set_weights(built.get_weights())
        assert type(clone) is type(built)
        assert (clone.labels, clone.input_size) == (built.labels, built.input_size)
        expected = built.predict(images[:7], verbose=0)
        np.testing.assert_allclose(clone.predict(images[:7], verbose=0), expected)

    @pytest.mark.medium
    def test_mixed_precision_keeps_float32_probabilities(self, images):
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = self.build()
        finally:
            keras.config.set_dtype_policy("float32")
        assert model.get_layer("backbone").layers[-1].compute_dtype == "bfloat16"
        probabilities = model.predict(images[:3], verbose=0)
        assert probabilities.dtype == "float32"
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)

    @pytest.mark.medium
    def test_one_step_trains_everything(self, built, images):
        weights = [weight.copy() for weight in built.get_weights()]
        loss = "sparse_categorical_crossentropy"
        targets = np.arange(21) % 3
        assert_one_step_trains_everything(built, images[:21], targets, loss)
        built.set_weights(weights)

    def test_batch_independence(self, built, images):
        assert built.predict(images[:21], verbose=0).std(axis=0).max() > 0.01
        assert_batch_independent(built, images[:21], sizes=(1, 7))

    @pytest.mark.medium
    def test_a_new_head_keeps_the_rest(self, built, images):
        fresh = built.replace_head(["a", "b", "c", "d"])
        assert type(fresh) is type(built)
        assert fresh.labels == ("a", "b", "c", "d")
        assert fresh.predict(images[:2], verbose=0).shape == (2, 4)
        old, new = (
            keras.Model(net.input, net.get_layer("logits").input)
            for net in (built, fresh)
        )
        np.testing.assert_array_equal(
            old.predict(images[:7], verbose=0), new.predict(images[:7], verbose=0)
        )

    @pytest.mark.medium
    def test_the_same_in_another_process(self, built, images, other_backend):
        assert_same_elsewhere(built, images[:21], other_backend)
