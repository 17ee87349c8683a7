import numpy as np
import pytest

from keras_fer.layers import ClassProbabilities
from tests.contract import LayerContract


class TestContract(LayerContract):
    layer = ClassProbabilities
    arguments = {"labels": ["a", "b", "c"], "temperature": 2.0}
    shapes = ((3,),)
    output = (3,)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_softmax_of_divided_logits(temperature):
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    powers = np.exp(logits / temperature)
    np.testing.assert_allclose(
        ClassProbabilities(list("abc"), temperature)(logits),
        powers / powers.sum(axis=1, keepdims=True),
        atol=1e-6,
    )


@pytest.mark.parametrize("labels", [["a"], ["a", "a"], "ab", []])
def test_labels_are_distinct_names(labels):
    with pytest.raises(
        ValueError, match="labels must be at least two distinct names, got"
    ):
        ClassProbabilities(labels)


def test_other_values_are_refused():
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        ClassProbabilities(["a", "b"], temperature=0)
    with pytest.raises(ValueError, match=r"each of the 2 labels.*got shape \(4, 3\)"):
        ClassProbabilities(["a", "b"])(np.zeros((4, 3)))
