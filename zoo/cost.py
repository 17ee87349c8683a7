"""Multiply-accumulate operations of a model, for the presets and the tables."""

import math

import numpy as np
from keras import layers

from keras_fer._compat import nested_layers


def count_macs(model):
    """Multiply-accumulates of the convolutions and dense layers, for one image.

    That is how papers count; normalization, activations and the products inside
    attention are left out.
    """
    total = 0

    def counting(layer, call):
        def counted(inputs, *args, **kwargs):
            nonlocal total
            outputs = call(inputs, *args, **kwargs)
            total += _macs(layer, outputs.shape)
            return outputs

        return counted

    # Layers inside layers do not know their sizes; they show them when they run.
    leaves = [layer for layer in nested_layers(model) if _macs(layer, (1,) * 4)]
    for layer in leaves:
        layer.call = counting(layer, layer.call)
    try:
        model(np.zeros((1, 48, 48, 3), "float32"))
    finally:
        for layer in leaves:
            del layer.call
    return total


def _macs(layer, shape):
    positions = math.prod(shape[1:-1])
    if isinstance(layer, layers.SeparableConv2D):
        kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
        return positions * sum(math.prod(kernel.shape) for kernel in kernels)
    kinds = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.DepthwiseConv2D)
    if isinstance(layer, kinds):
        return positions * math.prod(layer.kernel.shape)
    return 0
