"""The devices of a run."""

import contextlib

import keras

from keras_fer import training

STRATEGIES = ("one", "mirrored", "multiworker")


class Devices:
    """One device, or several that share each batch.

    Args:
        strategy: `"one"`; `"mirrored"` for all devices of this machine; or
            `"multiworker"` for those of all machines in `TF_CONFIG` (TensorFlow only).

    Attributes:
        number: Number of devices.
        chief: Whether this process writes files and prints.

    Raises:
        ValueError: The strategy is unknown or not available on this backend.
    """

    def __init__(self, strategy="one"):
        if strategy not in STRATEGIES:
            raise ValueError(
                f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}."
            )
        self._strategy, self.number, self.chief = None, 1, True
        self._several_workers = strategy == "multiworker"
        if strategy == "one":
            return
        if keras.backend.backend() == "jax":
            if self._several_workers:
                raise ValueError(
                    "strategy='multiworker' needs TensorFlow, but Keras runs on JAX. "
                    "Use mirrored, or set KERAS_BACKEND=tensorflow."
                )
            self.number = len(keras.distribution.list_devices())
            keras.distribution.set_distribution(keras.distribution.DataParallel())
            return
        import tensorflow as tf

        if self._several_workers:
            self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
            resolver = self._strategy.cluster_resolver
            self.chief = not resolver.cluster_spec() or (
                resolver.task_type == "chief"
                or (
                    resolver.task_id == 0
                    and "chief" not in resolver.cluster_spec().jobs
                )
            )
        else:
            kinds = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
            devices = [device.name for device in next(filter(None, kinds))]
            self._strategy = tf.distribute.MirroredStrategy(devices)
        self.number = self._strategy.num_replicas_in_sync

    def scope(self):
        """Context manager in which to build and compile networks."""
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()

    def prepare(self, network):
        """Returns the network, with `fit` and `predict` working on these devices."""
        return training.multi_worker(network) if self._several_workers else network
