from keras_fer.layers import InformationReuseAttention
from tests.contract import LayerContract

# Its numbers are compared with plain loops in test_lossless_attention.py.


class TestContract(LayerContract):
    layer = InformationReuseAttention
    arguments = {"residual": True}
    shapes = ((6, 6, 16), (6, 6, 16))
    output = (6, 6, 16)
    attention = (6, 6, 16)
    parameters = (3 * 4 + 7 * 7 * 4, 0)


class TestWithALargerPreviousMap(TestContract):
    arguments = {"use_max": False}
    shapes = ((6, 6, 16), (12, 12, 16))
    parameters = (3 * 2 + 7 * 7 * 4, 0)
