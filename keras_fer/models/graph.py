"""The layers of a model and of the models nested in it, in the order of its graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_fer._compat import is_functional, run_graph

Visit = Callable[[Any, list[Any], Callable[..., Any]], Any]


def unfold(model: keras.Model, inputs: Any, visit: Visit) -> Any:
    """Applies a model's layers, and those of models nested in it, to new inputs.

    Weights are shared. The new graph is flat: the layers of nested models are its own.

    Args:
        model: A functional or sequential model.
        inputs: `keras.KerasTensor`s of the shapes of its inputs.
        visit: Function `(operation, inputs, call) -> outputs`, called for every layer
            and nested model in the order of the graph. `inputs` is the list of its
            input tensors; `call(**options)` computes its outputs.

    Returns:
        The outputs.
    """

    def step(operation: Any, *args: Any, **kwargs: Any) -> Any:
        def call(**options: Any) -> Any:
            if is_graph(operation):
                return unfold(operation, args[0], visit)
            return operation(*args, **kwargs, **options)

        inputs = [
            tensor
            for tensor in keras.tree.flatten((args, kwargs))
            if keras.utils.is_keras_tensor(tensor)
        ]
        return visit(operation, inputs, call)

    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            inputs = step(layer, inputs)
        return inputs
    return run_graph(model, inputs, step)


def is_graph(operation: Any) -> bool:
    """Whether a layer is a functional or sequential model with Keras' own `call`."""
    return is_functional(operation) or (
        isinstance(operation, keras.Sequential)
        and type(operation).call is keras.Sequential.call
    )
