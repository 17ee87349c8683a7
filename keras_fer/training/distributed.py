"""Training on several machines: what Keras 3 lacks for `fit` to do it.

Keras 3 cannot `fit` or `evaluate` under `tf.distribute.MultiWorkerMirroredStrategy`
(https://github.com/keras-team/keras/issues/20585; keras 3.15), for two reasons:

1. Before the first step it builds the model from a batch, of which it takes the mean
   over workers, and gets per-worker values where it needs shapes.
2. It reduces a step's logs over workers with `axis=0`, but they are scalars.

`multi_worker` mends both on one model. `predict` has neither problem.
"""

import functools

import keras
from keras import ops


def multi_worker(model):
    """Makes `fit` and `evaluate` of a model work on several workers.

    Call it on every worker, after the model is built and before `fit`. Where Keras can
    do it by itself, which is tried on a model with one weight, and where there is only
    one worker, the model is left as it is. A worker that stops or cannot be reached
    ends `fit`, `evaluate` and `predict` of the others with a `ConnectionError`.

        strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before all else
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = keras_fer.models.PAttLite()
            model.compile(...)
        keras_fer.training.multi_worker(model).fit(x, y, batch_size=64)

    Every worker runs the same program and differs in `TF_CONFIG` alone:

    - Batches are global: of `batch_size=64`, each of two workers takes 32. Give every
      worker all the data, and the same seed, or they shuffle differently. Arrays are
      shared out batch by batch; for a `tf.data.Dataset` of files, set
      `AutoShardPolicy.DATA`, or each worker reads files of its own. Make the batch
      size a multiple of the number of workers, and drop an incomplete last batch of
      the training data: each worker's mean counts the same, however few its examples.
    - BatchNorm normalizes with the worker's own part of a batch. Only models without
      it, or with it frozen (`keras_fer.models.backbones.freeze_batch_norm` does so in
      the backbone; SCAN's attention has its own), and without dropout or other chance,
      end with the weights of one process on the same batches.
    - Reading a metric waits for all workers. So does whatever else needs all of them:
      callbacks of the first worker alone may write files, and nothing more.
    - `predict` gives every worker all predictions, in order.

    Args:
        model: A `keras.Model` built in the scope of a
            `tf.distribute.MultiWorkerMirroredStrategy`, such as any of
            `keras_fer.models`, or a `PrivilegedAttribution`.

    Returns:
        The same model.

    Raises:
        ValueError: The model, or a part of it, was built outside that scope: each
            worker would train it alone.
    """
    strategy = getattr(model, "distribute_strategy", None)
    _check_scope(model, strategy)
    # What Keras asks, too, where it treats several workers differently.
    if not strategy.extended._in_multi_worker_mode():
        return model
    for name in ("fit", "evaluate", "predict"):
        setattr(model, name, _name_lost_workers(getattr(model, name)))
    if not _keras_can(strategy):
        _mend(model, strategy)
    return model


def _check_scope(model, strategy):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and all(
            isinstance(variable.value, tf.distribute.DistributedValues)
            for variable in model.variables
        ):
            return
    raise ValueError(
        "Expected a model built, with all its parts, in the scope of a "
        f"tf.distribute.MultiWorkerMirroredStrategy. Received: {model.name!r}, built "
        f"under {type(strategy).__name__} at least in part, on the "
        f"{keras.backend.backend()} backend. Build it in `with strategy.scope():`."
    )


@functools.cache
def _keras_can(strategy):
    """Whether Keras trains and evaluates a model with one weight, all by itself."""
    import tensorflow as tf

    # It draws no random numbers: seeded runs are what they would be without it.
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


def _mend(model, strategy):
    """Replaces the two methods of Keras' trainer that fail, on this model alone."""
    make_function = model._make_function

    def build_from_own_part(iterator=None, data_batch=None):
        """Keras' `_maybe_symbolic_build`, with one replica's part of a batch."""
        if iterator is not None:
            for _, _, batches in iterator:
                data_batch = keras.tree.map_structure(
                    lambda value: strategy.experimental_local_results(value)[0],
                    next(batches),
                )
                break
        with strategy.scope():
            model._symbolic_build(data_batch=data_batch)

    def make_function_of_reducible_logs(step):
        """Keras' `_make_function`, of a step whose logs have an axis 0 to reduce."""

        def reducible_step(data):
            return keras.tree.map_structure(
                lambda log: ops.expand_dims(log, 0), step(data)
            )

        return make_function(reducible_step)

    model._maybe_symbolic_build = build_from_own_part
    model._make_function = make_function_of_reducible_logs
    # Those of an attempt without us.
    model.train_function = model.test_function = None


def _name_lost_workers(method):
    """The method, with an error that says so when another worker is gone."""
    import tensorflow as tf

    @functools.wraps(method)
    def named(*args, **kwargs):
        try:
            return method(*args, **kwargs)
        except (
            tf.errors.AbortedError,
            tf.errors.CancelledError,
            tf.errors.DeadlineExceededError,
            tf.errors.UnavailableError,
        ) as error:
            # Its own words follow the last blank line of Keras' long account.
            words = str(error).strip().rpartition("\n\n")[2]
            raise ConnectionError(
                "Another worker has stopped or cannot be reached, so this one stops "
                "too. Look at the others' output for what happened first, then start "
                "all workers again from the last checkpoint. TensorFlow says: "
                f"{words[:500]}"
            ) from error

    return named
