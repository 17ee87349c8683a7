"""Private parts of Keras and TensorFlow, in one place.

Each function here stands for something that has no public equivalent, and says which
version it was tested with; `setup.py` bounds the versions, and `tests/test_compat.py`
fails where a new one differs. Importing this imports neither
Keras nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def is_functional(model: Any) -> bool:
    """Whether an object is a functional model whose `call` is Keras' own.

    Replaces `keras.Functional`, which does not exist: `keras.Model(inputs, outputs)`
    returns an instance of the private class `keras.src.models.functional.Functional`.
    Tested with Keras 3.15.
    """
    from keras.src.models.functional import Functional

    return isinstance(model, Functional) and type(model).call is Functional.call


def run_graph(model: keras.Model, inputs: Any, call: Callable[..., Any]) -> Any:
    """Runs the graph of a functional model, with `call` in place of each operation.

    Replaces `keras.models.clone_model(call_function=...)`, which also builds and
    compiles a model around the result and takes new `keras.Input`s only.
    Tested with Keras 3.15 (`Function._run_through_graph`).

    Args:
        model: A functional model.
        inputs: Tensors in place of its inputs, `keras.KerasTensor`s among them.
        call: Function `(operation, *args, **kwargs) -> outputs`, called in the order
            of the graph.

    Returns:
        The outputs.
    """
    return model._run_through_graph(inputs, call_fn=call)


def producer(tensor: keras.KerasTensor) -> keras.Operation:
    """Returns the operation that a symbolic tensor is an output of.

    Replaces a search through the nodes of all layers of a model.
    Tested with Keras 3.15 (`KerasTensor._keras_history`).
    """
    return tensor._keras_history.operation


def nested_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a layer and all layers inside it, each once.

    Replaces `Model.layers`, which does not list the layers inside layers.
    Tested with Keras 3.15 (`Layer._flatten_layers`).
    """
    return list(layer._flatten_layers())


def saved_shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of the arrays in a model's weights file.

    Replaces `Model.save_weights` to a file that is only listed and thrown away.
    Tested with Keras 3.15 (`saving_lib._save_state`, `saving_lib.H5IOStore`).

    Args:
        model: A built model.

    Returns:
        Name, such as `"layers/dense/vars/0"`, to shape.
    """
    from keras.src.saving import saving_lib

    shapes: dict[str, tuple[int, ...]] = {}

    class Shapes(saving_lib.H5IOStore):
        def __init__(self) -> None:
            self.path = ""

        def __bool__(self) -> bool:
            return True

        def make(self, path: str, metadata: Any = None) -> Shapes:
            self.path = f"{path}/vars" if path else "vars"
            return self

        def __setitem__(self, key: str, value: Any) -> None:
            shapes[f"{self.path}/{key}"] = tuple(value.shape)

    saving_lib._save_state(model, Shapes(), None, "", set())
    return shapes


def has_several_workers(strategy: Any) -> bool:
    """Whether Keras' trainer treats a `tf.distribute.Strategy` as multi-worker.

    Replaces counting the workers of a cluster resolver, which a strategy may lack.
    Tested with TensorFlow 2.21 (`StrategyExtended._in_multi_worker_mode`).
    """
    return bool(strategy.extended._in_multi_worker_mode())


def build_from(model: keras.Model, select: Callable[[Any], Any]) -> None:
    """Lets `fit` and `evaluate` build a model from a part of their first batch.

    Replaces `_maybe_symbolic_build`, on this model alone: it takes a mean over
    replicas, which multi-worker strategies give for scalars only.
    Tested with Keras 3.15 (`_maybe_symbolic_build`, `_symbolic_build`).

    Args:
        model: A model on the TensorFlow backend.
        select: Function from the batch of all replicas to the part to build from.
    """

    def build(iterator: Any = None, data_batch: Any = None) -> None:
        if iterator is not None:
            for _, _, batches in iterator:
                data_batch = select(next(batches))
                break
        with model.distribute_strategy.scope():
            model._symbolic_build(data_batch=data_batch)

    model._maybe_symbolic_build = build


def wrap_steps(model: keras.Model, wrap: Callable[[Any], Any]) -> None:
    """Wraps the steps that `fit` and `evaluate` compile, before logs are reduced.

    Replaces an override of `train_step` and `test_step`, which would need a subclass
    of the model's class. Functions that are compiled already are dropped.
    Tested with Keras 3.15 (`_make_function`).

    Args:
        model: A model on the TensorFlow backend.
        wrap: Function from a step, data to logs, to a step.
    """
    make_function = model._make_function
    model._make_function = lambda step: make_function(wrap(step))
    model.train_function = model.test_function = None


def is_validation_of_fit(options: dict[str, Any]) -> bool:
    """Whether `evaluate` was called by `fit`, to validate an epoch.

    Replaces a public sign of that; Keras passes a private keyword. Where it does not,
    arrays that `fit` has checked are only checked again after each epoch.
    Tested with Keras 3.15 (`_use_cached_eval_dataset`).

    Args:
        options: Keyword arguments of `evaluate`.
    """
    return bool(options.get("_use_cached_eval_dataset"))


def with_constants(function: Any) -> Any:
    """A concrete function of TensorFlow whose variables are constants of the graph.

    The calibrator of LiteRT cannot read variables.
    Tested with TensorFlow 2.21 (`convert_variables_to_constants_v2`).
    """
    from tensorflow.python.framework import convert_to_constants

    return convert_to_constants.convert_variables_to_constants_v2(function)


def litert_operators() -> list[str]:
    """Names of the operators of LiteRT.

    Tested with TensorFlow 2.21 (`schema_py_generated`).
    """
    from tensorflow.lite.python import schema_py_generated

    names = vars(schema_py_generated.BuiltinOperator)
    return [name for name, code in names.items() if isinstance(code, int)]
