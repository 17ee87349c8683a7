"""Batches whose content depends on their number alone, so that a run can be resumed."""

import threading

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Training batches, from one step of a stage to its last.

    Batch `i` is the same whatever came before it: the order of an epoch, and whatever
    the host's layers draw, follow from the seed and the number. An incomplete last
    batch of an epoch is left out; another epoch leaves out other images.

    Args:
        take: Function from rows to the network's inputs.
        targets: float `(N, classes)`.
        size: Images in a batch.
        seed: Integers.
        steps: Number of batches of all epochs.
        first: Number of the first batch that is still to come.
        weights: float `(N,)` for the loss, or `None`.
        shares: float `(N,)`, how often each is drawn, or `None` for once an epoch.
        mixing: Layers for `{"images", "labels"}`.
        workers: Threads that read images.
    """

    def __init__(
        self,
        take,
        targets,
        size,
        seed,
        steps,
        first=0,
        weights=None,
        shares=None,
        mixing=(),
        workers=1,
    ):
        super().__init__(workers=workers)
        self.take = take
        self.targets = targets
        self.size = min(size, len(targets))
        self.seed = seed
        self.steps = steps
        self.first = first
        self.weights = weights
        self.shares = shares
        self.mixing = mixing
        self._order = (None, None)
        self._lock = threading.Lock()

    @staticmethod
    def per_epoch(examples, size):
        """Number of batches in an epoch."""
        return max(1, examples // size)

    def __len__(self):
        """Batches that are still to come."""
        return self.steps - self.first

    def __getitem__(self, index):
        """One batch: inputs, targets and, where there are any, weights."""
        step = self.first + index
        epoch, place = divmod(step, self.per_epoch(len(self.targets), self.size))
        rows = self._rows(epoch)[place * self.size : (place + 1) * self.size]
        inputs, targets = self.take(rows), self.targets[rows]
        if self.mixing:
            with self._lock:
                inputs, targets = self._mix(inputs, targets, step)
        if self.weights is None:
            return inputs, targets
        return inputs, targets, self.weights[rows]

    def _rows(self, epoch):
        """The order of an epoch."""
        order = self._order  # Other threads may be in another epoch.
        if order[0] != epoch:
            rng = np.random.default_rng([*self.seed, epoch])
            examples = len(self.targets)
            if self.shares is None:
                rows = rng.permutation(examples)
            else:
                rows = rng.choice(examples, examples, p=self.shares)
            self._order = order = (epoch, rows)
        return order[1]

    def _mix(self, images, labels, step):
        drawn = np.random.default_rng([*self.seed, 2**31, step])
        batch = {"images": images.astype("float32"), "labels": labels}
        for layer in self.mixing:
            # Keras' random layers keep a state; theirs is that of this step.
            for generator in _generators(layer):
                state = drawn.integers(0, 2**31, 2)
                generator.state.assign(state.astype(generator.state.dtype))
            batch = layer(batch, training=True)
        return np.asarray(batch["images"]), np.asarray(batch["labels"])


def _generators(layer):
    """Seed generators of a layer and of those inside it."""
    return [
        value
        for part in layer._flatten_layers()
        for value in vars(part).values()
        if isinstance(value, keras.random.SeedGenerator)
    ]
