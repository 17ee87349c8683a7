"""Training batches: the same for the same seed and number, whatever came before."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np


@dataclasses.dataclass(frozen=True)
class Examples:
    """What batches are drawn from, and how.

    Attributes:
        take: Function from indices of images to the network's inputs.
        targets: float32 `(N, classes)`.
        weights: float `(N,)`, sample weights of the loss, or `None`.
        shares: float `(N,)`, the probability of drawing each image, with replacement;
            `None` to draw each once per epoch.
        mixing: Keras layers for batches `{"images", "labels"}`.
        workers: Threads that read images.
    """

    take: Callable[[np.ndarray], Any]
    targets: np.ndarray
    weights: np.ndarray | None = None
    shares: np.ndarray | None = None
    mixing: Sequence[keras.layers.Layer] = ()
    workers: int = 1


class Batches(keras.utils.PyDataset):
    """Training batches, from one step of a stage to its last.

    The content of batch `i` depends on the seed and `i` alone: the order of an epoch
    and all random numbers of the layers on the host. The incomplete batch at the end of
    an epoch is dropped; each epoch drops other images.

    Args:
        examples: `Examples`.
        size: Images per batch; fewer if there are not that many.
        seed: List of integers.
        steps: Number of batches of all epochs.
        first: Number of the first batch to give.
    """

    def __init__(
        self,
        examples: Examples,
        size: int,
        seed: Sequence[int],
        steps: int,
        first: int = 0,
    ) -> None:
        super().__init__(workers=examples.workers)
        self.examples = examples
        self.size = min(size, len(examples.targets))
        self.seed = seed
        self.steps = steps
        self.first = first
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))
        self._lock = threading.Lock()

    @staticmethod
    def per_epoch(images: int, size: int) -> int:
        """Number of batches per epoch."""
        return max(1, images // size)

    def __len__(self) -> int:
        """Number of batches left."""
        return self.steps - self.first

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """A batch: inputs, targets and, if there are any, sample weights."""
        examples, step = self.examples, self.first + index
        epoch, position = divmod(step, self.per_epoch(len(examples.targets), self.size))
        rows = self._rows(epoch)[position * self.size : (position + 1) * self.size]
        inputs, targets = examples.take(rows), examples.targets[rows]
        if examples.mixing:
            with self._lock:
                inputs, targets = self._mix(inputs, targets, step)
        if examples.weights is None:
            return inputs, targets
        return inputs, targets, examples.weights[rows]

    def _rows(self, epoch: int) -> np.ndarray:
        """The order of an epoch."""
        order = self._order  # Other threads may be in another epoch.
        if order[0] != epoch:
            rng = np.random.default_rng([*self.seed, epoch])
            images, shares = len(self.examples.targets), self.examples.shares
            if shares is None:
                rows = rng.permutation(images)
            else:
                rows = rng.choice(images, images, p=shares)
            self._order = order = (epoch, rows)
        return order[1]

    def _mix(
        self, images: np.ndarray, labels: np.ndarray, step: int
    ) -> tuple[np.ndarray, np.ndarray]:
        drawn = np.random.default_rng([*self.seed, 2**31, step])
        batch = {"images": images.astype("float32"), "labels": labels}
        for layer in self.examples.mixing:
            # Keras' random layers are stateful: set the state from the step.
            for state in layer.variables:
                if state.name == "seed_generator_state":
                    value = drawn.integers(0, 2**31, 2)
                    state.assign(value.astype(state.dtype))
            batch = layer(batch, training=True)
        return np.asarray(batch["images"]), np.asarray(batch["labels"])


def class_weights(targets: np.ndarray) -> np.ndarray:
    """Sample weights that make all classes weigh the same, with a mean of 1.

    Args:
        targets: float `(N, classes)`, rows summing to 1.

    Returns:
        float `(N,)`.
    """
    factors = targets.sum() / len(targets[0]) / targets.sum(axis=0)
    weights: np.ndarray = targets @ factors
    return weights


def balanced_shares(targets: np.ndarray) -> np.ndarray:
    """Probabilities of drawing each image that make all classes equally likely.

    Args:
        targets: float `(N, classes)`, rows summing to 1.

    Returns:
        float64 `(N,)`, summing to 1.
    """
    counts = targets.sum(axis=0, dtype="float64")
    # A class that does not occur is not drawn.
    inverse = np.divide(1, counts, out=np.zeros_like(counts), where=counts > 0)
    shares: np.ndarray = targets.astype("float64") @ inverse
    shares /= shares.sum()
    return shares


def mixed_shares(
    parts: np.ndarray, targets: np.ndarray, weights: Sequence[float], balanced: bool
) -> np.ndarray:
    """Probabilities of drawing each image of a mixture of datasets.

    Args:
        parts: int `(N,)`, index of the dataset that each image is from.
        targets: `(N, C)`, the probability of each class.
        weights: The weight of each dataset, by its index.
        balanced: Whether, within each dataset, all of its classes are equally likely.

    Returns:
        float64 `(N,)`, summing to 1; those of a dataset sum to its share of the
        weights.
    """
    shares = np.zeros(len(parts))
    for index, weight in enumerate(weights):
        own = parts == index
        part = balanced_shares(targets[own]) if balanced else 1 / own.sum()
        shares[own] = weight / sum(weights) * part
    shares /= shares.sum()
    return shares
