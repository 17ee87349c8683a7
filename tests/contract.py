"""What every layer and model of the package is held to."""

import inspect

import numpy as np


def assert_batch_independent(model, inputs):
    """A prediction is the same whatever stands beside it, in any order."""
    reference = model.predict(inputs, batch_size=len(inputs), verbose=0)
    order = np.random.default_rng(1).permutation(len(inputs))
    for size in (1, 7, 32):
        plain = model.predict(inputs, batch_size=size, verbose=0)
        np.testing.assert_allclose(plain, reference, atol=1e-5)
        shuffled = model.predict(inputs[order], batch_size=size, verbose=0)
        np.testing.assert_allclose(shuffled, reference[order], atol=1e-5)


def assert_config_is_complete(layer):
    """Every constructor argument is in the config, and comes back with its value."""
    names = set(inspect.signature(type(layer).__init__).parameters)
    names -= {"self", "args", "kwargs"}
    config = layer.get_config()
    assert names <= set(config)
    assert type(layer).from_config(config).get_config() == config
