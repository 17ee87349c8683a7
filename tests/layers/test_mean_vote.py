import numpy as np
import pytest

from keras_fer.layers import MeanVote
from tests.contract import LayerContract


class TestContract(LayerContract):
    layer = MeanVote
    arguments = {"labels": ["a", "b", "c"], "temperature": 2.0}
    shapes = ((5, 3),)
    output = (3,)


def softmax(logits):
    powers = np.exp(logits)
    return powers / powers.sum(axis=-1, keepdims=True)


def test_votes_in_training_and_their_mean_otherwise():
    logits = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    layer = MeanVote(["a", "b", "c"], temperature=2.0)
    prediction, votes = layer(logits), layer(logits, training=True)
    np.testing.assert_allclose(prediction, softmax(logits.mean(1) / 2), atol=1e-6)
    np.testing.assert_allclose(votes, softmax(logits / 2), atol=1e-6)
    # The prediction is the normalized geometric mean of the votes.
    np.testing.assert_allclose(softmax(np.log(votes).mean(1)), prediction, atol=1e-6)


def test_plain_logits_are_refused():
    with pytest.raises(ValueError, match=r"logits must have shape .*got \(2, 3\)"):
        MeanVote(["a", "b", "c"])(np.zeros((2, 3)))
