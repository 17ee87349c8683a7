import numpy as np
import pytest

from keras_fer.layers import PatchTokenAttention
from tests.contract import LayerContract


class TestContract(LayerContract):
    layer = PatchTokenAttention
    arguments = {"residual": False}
    shapes = ((4, 8),)
    output = (4, 8)
    attention = (4, 4)
    parameters = (1, 0)


def reference(tokens, scale):
    """Slow and plain: one image and one token at a time."""
    outputs, maps = (
        np.zeros_like(tokens),
        np.zeros((*tokens.shape[:2], tokens.shape[1])),
    )
    for b, image in enumerate(tokens):
        for i, query in enumerate(image):
            scores = np.array([scale * sum(query * key) for key in image])
            weights = np.exp(scores - scores.max())
            maps[b, i] = weights / weights.sum()
            outputs[b, i] = sum(
                w * value for w, value in zip(maps[b, i], image, strict=True)
            )
    return outputs, maps


@pytest.mark.parametrize("shape", [(1, 2, 4), (3, 4, 16), (2, 9, 5)])
@pytest.mark.parametrize("residual", [True, False])
def test_equals_plain_loops(shape, residual):
    tokens = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = PatchTokenAttention(residual)
    outputs, attention = layer(tokens, return_attention=True)
    expected, maps = reference(tokens, shape[-1] ** -0.5)
    np.testing.assert_allclose(attention, maps, atol=1e-5)
    np.testing.assert_allclose(outputs, expected + residual * tokens, atol=1e-5)


def test_a_grid_is_a_sequence_of_its_cells():
    grid = np.random.default_rng(0).normal(size=(2, 3, 2, 8)).astype("float32")
    layer = PatchTokenAttention()
    flat = layer(grid.reshape(2, 6, 8))
    np.testing.assert_allclose(layer(grid), np.reshape(flat, grid.shape), atol=1e-6)


def test_the_published_shape_is_refused():
    with pytest.raises(ValueError, match=r"tokens must have shape .*got \(8, 32\)"):
        PatchTokenAttention()(np.zeros((8, 32)))
