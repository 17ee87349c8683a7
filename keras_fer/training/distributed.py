"""Training on several machines: what Keras 3 lacks for `fit` to do it.

Keras 3 cannot `fit` or `evaluate` under `tf.distribute.MultiWorkerMirroredStrategy`
(https://github.com/keras-team/keras/issues/20585; keras 3.15), for two reasons:

1. Before the first step it builds the model from the mean of a batch over the workers,
   which is a value per worker where a tensor of known shape is needed.
2. It reduces the logs of a step over the workers along axis 0, but they are scalars.

`multi_worker` works around both on one model. `predict` has neither problem.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_fer._compat import build_from, has_several_workers, wrap_steps


def multi_worker(model: keras.Model) -> keras.Model:
    """Makes `fit` and `evaluate` of a model work on several workers.

    Call it on every worker, after the model is built and before `fit`. The model is
    left as it is where there is only one worker, and where Keras no longer needs the
    workaround, which is tested on a model with one weight. When a worker stops or
    cannot be reached, `fit`, `evaluate` and `predict` of the others raise a
    `ConnectionError`.

        strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before all else
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = keras_fer.models.PAttLite()
            model.compile(...)
        keras_fer.training.multi_worker(model).fit(x, y, batch_size=64)

    Every worker runs the same program with its own `TF_CONFIG`:

    - Batches are global: with `batch_size=64` and two workers, each takes 32. Give
      every worker all the data and the same seed; otherwise they shuffle differently.
      Arrays are split batch by batch; for a `tf.data.Dataset` of files, set
      `AutoShardPolicy.DATA`, or each worker reads different files. Make the batch size
      a multiple of the number of workers, and drop an incomplete last batch of the
      training data: the workers' means have equal weight, however many examples each
      of them has.
    - BatchNorm normalizes with the worker's own part of a batch. The result equals
      that of one process on the same batches only for models without randomness, such
      as dropout, and without BatchNorm or with all of it frozen
      (`keras_fer.models.backbones.freeze_batch_norm` freezes that of the backbone;
      the attention of SCAN has its own).
    - Reading a metric waits for all workers, and so does any other collective
      operation. In a callback that runs on the first worker alone, only write files.
    - `predict` returns all predictions, in order, on every worker.

    Args:
        model: A `keras.Model` built in the scope of a
            `tf.distribute.MultiWorkerMirroredStrategy`, such as any of
            `keras_fer.models`, or a `PrivilegedAttribution`.

    Returns:
        The same model.

    Raises:
        ValueError: The model, or a part of it, was built outside that scope. Its
            weights would be trained by each worker separately.
    """
    strategy = getattr(model, "distribute_strategy", None)
    _check_scope(model, strategy)
    if not has_several_workers(strategy):
        return model
    for name in ("fit", "evaluate", "predict"):
        setattr(model, name, _name_lost_workers(getattr(model, name)))
    if not keras_supports(strategy):
        build_from(model, functools.partial(_local_part, strategy))
        wrap_steps(model, _with_reducible_logs)
    return model


def _check_scope(model: keras.Model, strategy: Any) -> None:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and all(
            isinstance(variable.value, tf.distribute.DistributedValues)
            for variable in model.variables
        ):
            return
    raise ValueError(
        "model must be built, with all its parts, in the scope of a "
        f"tf.distribute.MultiWorkerMirroredStrategy; {model.name!r} was built under "
        f"{type(strategy).__name__} at least in part, on the "
        f"{keras.backend.backend()} backend. Build it in `with strategy.scope():`."
    )


@functools.cache
def keras_supports(strategy: Any) -> bool:
    """Whether Keras trains and evaluates a model with one weight under a strategy.

    All workers have to call it together.

    Args:
        strategy: A `tf.distribute.MultiWorkerMirroredStrategy`.
    """
    import tensorflow as tf

    # No random numbers are drawn, so the results of seeded programs do not change.
    with strategy.scope():
        network = keras.Sequential(
            [
                keras.Input((1,), name="multi_worker_input"),
                keras.layers.Dense(
                    1,
                    use_bias=False,
                    kernel_initializer="zeros",
                    name="multi_worker_weight",
                ),
            ],
            name="multi_worker_probe",
        )
        network.compile(keras.optimizers.SGD(name="multi_worker_sgd"), "mse")
    ones = tf.ones((strategy.num_replicas_in_sync, 1))
    arguments = {"batch_size": len(ones), "verbose": 0}
    try:
        network.fit(ones, ones, shuffle=False, **arguments)
        network.evaluate(ones, ones, **arguments)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError):
        return False
    return True


def _local_part(strategy: Any, batch: Any) -> Any:
    """The part of a batch that the first replica of this worker has."""
    return keras.tree.map_structure(
        lambda value: strategy.experimental_local_results(value)[0], batch
    )


def _with_reducible_logs(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A step whose logs have an axis 0 to reduce."""

    def reducible(data: Any) -> Any:
        return keras.tree.map_structure(lambda log: ops.expand_dims(log, 0), step(data))

    return reducible


def _name_lost_workers(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that raises a `ConnectionError` when another worker is lost."""
    import tensorflow as tf

    @functools.wraps(method)
    def named(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except (
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.DeadlineExceededError,
            tf.errors.UnavailableError,
        ) as error:
            # TensorFlow's own message follows the last blank line of Keras' report.
            message = str(error).strip().rpartition("\n\n")[2]
            raise ConnectionError(
                "Another worker has stopped or cannot be reached, so this one stops "
                "too. Look at the output of the others for the cause, then start all "
                f"workers again from the last checkpoint. TensorFlow: {message[:500]}"
            ) from error

    return named
