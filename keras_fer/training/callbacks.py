"""What happens at the end of an epoch: measure, keep the best, keep what resumes.

A resumed run ends with the weights, to the bit, that it would have had without a break.
Keras' own callbacks are used as far as that allows:

- `EarlyStopping` starts counting again when `fit` is called again; `Patience` is the
  same callback with the epochs before the break counted.
- `ModelCheckpoint` writes the network that is fitted, which may have augmentation,
  `PrivilegedAttribution` or a `Distiller` around the model. It monitors `fit`'s own
  validation, which those networks cannot run on plain images, writes in place, so that
  a kill leaves half a file, and knows nothing of the moving average: `BestCheckpoint`.
- `SwapEMAWeights` evaluates the average in the training network itself. On TensorFlow
  it swaps by adding and subtracting, which rounds the weights that training goes on
  with, and the average: `BestCheckpoint` assigns it to a second network instead.
- `CSVLogger` appends, so an epoch that is repeated after a kill has two rows, and its
  header comes from one process: `ResumeState` writes the log whole, from the history
  that the checkpoint holds. `BackupAndRestore` does not keep the history either.
- `TerminateOnNaN` waits for the loss of each step, so that an accelerator idles until
  the next one is launched, and its error names no epoch: `FiniteLoss`.
"""

from __future__ import annotations

import csv
import functools
import math
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_fer.files import replacing
from keras_fer.training import checkpoint

Logs = dict[str, Any]

# Higher for better epochs.
Score = Callable[[Logs], float]


class FiniteLoss(keras.callbacks.Callback):
    """Stops with an error once the loss is not finite, before anything is written.

    Args:
        folder: Folder of the run, for the message.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__()
        self._folder = os.fspath(folder)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """No step has run yet."""
        self._epoch = epoch
        self._pending: tuple[int, Any] | None = None

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Checks the loss of the step before, which has been computed by now."""
        self._check()
        self._pending = (batch, (logs or {})["loss"])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Checks the loss of the last step."""
        self._check()

    def _check(self) -> None:
        if self._pending is None:
            return
        batch, loss = self._pending
        if np.isfinite(float(loss)):
            return
        kept = (
            f"The checkpoint of epoch {self._epoch} and the best weights so far are "
            f"kept in {self._folder!r}."
            if self._epoch
            else "Nothing has been kept yet."
        )
        raise FloatingPointError(
            f"The loss is {float(loss)} from step {batch + 1} of epoch "
            f"{self._epoch + 1} on. {kept} Lower the learning rate, or check the data."
        )


class BestCheckpoint(keras.callbacks.Callback):
    """Evaluates the averaged weights after each epoch and keeps the best.

    Adds `val_accuracy`, `val_recall` (the mean over the classes) and `val_loss` to the
    epoch's logs, so it must come before callbacks that read them.

    Args:
        model: The model in training, which the fitted network may contain.
        averaged: A second model like it, for the averaged weights: what is evaluated
            never touches what is trained.
        images: Of the validation part, as for the second model's `predict`.
        targets: float `(N, classes)`, rows summing to 1.
        file: Where the best weights go, a `.weights.h5` file.
        score: Function of an epoch's logs, higher for better epochs.
        best: The best score so far, if the run is resumed.
        chief: Whether to write.
    """

    def __init__(
        self,
        model: keras.Model,
        averaged: keras.Model,
        images: Any,
        targets: np.ndarray,
        file: str | os.PathLike[str],
        score: Score,
        best: float = -math.inf,
        chief: bool = True,
    ) -> None:
        super().__init__()
        self._trained, self._averaged = model, averaged
        self._images, self._targets = images, targets
        self._file, self._chief = file, chief
        self._score, self._best = score, best
        self._weights: list[np.ndarray] | None = None

    def weights(self) -> list[np.ndarray]:
        """Weights of the best epoch, as from `get_weights`."""
        if self._weights is None:  # It was an epoch before the run was resumed.
            checkpoint.load_weights(self._averaged, self._file)
            self._weights = self._averaged.get_weights()
        return list(self._weights)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Evaluates, and keeps what is better than before."""
        logs = {} if logs is None else logs
        self._average()
        # Not `evaluate`, which fails where devices cannot share the first batch alike.
        predicted = self._averaged.predict(self._images, batch_size=256, verbose=0)
        logs |= validation_logs(predicted, self._targets)
        if self._score(logs) > self._best:
            self._best = float(self._score(logs))
            self._weights = self._averaged.get_weights()
            if self._chief:
                checkpoint.save_weights(self._file, self._averaged)

    def _average(self) -> None:
        """Copies the averages of what learns, and everything else as it is."""
        self._averaged.set_weights(self._trained.get_weights())
        if self.model.optimizer.use_ema:
            pairs = zip(self._trained.weights, self._averaged.weights, strict=True)
            twins = {id(variable): twin for variable, twin in pairs}
            # As Keras does at the end of `fit`, but into the other network.
            self.model.optimizer.finalize_variable_values(
                [twins[id(each)] for each in self.model.trainable_variables]
            )
            if keras.backend.backend() == "jax":
                # Both hold the same buffers now, and `predict` donates its own.
                for each in self._averaged.weights:
                    each.assign(keras.ops.copy(each))


def validation_logs(predicted: np.ndarray, targets: np.ndarray) -> Logs:
    """What `BestCheckpoint` adds to the logs of an epoch.

    Args:
        predicted: Probabilities `(N, classes)`.
        targets: `(N, classes)`, rows summing to 1.
    """
    truth = targets.argmax(axis=1)
    correct = predicted.argmax(axis=1) == truth
    log = np.log(np.clip(predicted, keras.config.epsilon(), 1.0))
    recalls = [correct[truth == each].mean() for each in np.unique(truth)]
    return {
        "val_accuracy": correct.mean(),
        "val_recall": np.mean(recalls),
        "val_loss": -(targets * log).sum(axis=1).mean(),
    }


class Patience(keras.callbacks.EarlyStopping):
    """`EarlyStopping` that also counts the epochs before a run was resumed.

    Args:
        patience: Epochs without a better one.
        history: Logs of the epochs so far.
        monitor: What is watched; of a loss, less is better.
    """

    def __init__(
        self, patience: int, history: Sequence[Logs], monitor: str = "val_accuracy"
    ) -> None:
        mode = "min" if monitor.endswith("loss") else "max"
        super().__init__(monitor, mode=mode, patience=patience)
        self._history = history

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Starts where the history ends."""
        super().on_train_begin(logs)
        for row in self._history:
            self.on_epoch_end(row["epoch"], row)


class ResumeState(keras.callbacks.Callback):
    """Writes after each epoch all that a resumed run needs; logs and reports.

    Beside the checkpoint lies the log, a `.csv` file. The history is read from an
    existing checkpoint.

    Args:
        file: The checkpoint, an `.npz` file.
        epochs: Epochs of the stage.
        images: Images per epoch.
        score: As for `BestCheckpoint`.
        chief: Whether to write and report.
        report: Function that is given a line per epoch; `None` to print it.

    Attributes:
        history: Logs of the epochs so far.
        before: Score before the first epoch, which a best one exceeds.

    Raises:
        ValueError: The checkpoint is damaged.
    """

    def __init__(
        self,
        file: pathlib.Path,
        epochs: int,
        images: int,
        score: Score,
        chief: bool = True,
        report: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self.before = -math.inf
        self._print = report or functools.partial(print, flush=True)
        self._score = score
        self.file = file
        state = checkpoint.read_state(file) or {"history": []}
        self.history: list[Logs] = state["history"]
        self._epochs, self._images, self._chief = epochs, images, chief

    def restore(self, network: keras.Model) -> None:
        """Assigns the checkpoint, if there is one, to a compiled network.

        Raises:
            ValueError: It is damaged or of another network.
        """
        if self.history:
            checkpoint.restore(self.file, network)

    def remove(self) -> None:
        """Removes the checkpoint of a stage that is done."""
        self.file.unlink()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Starts the clock."""
        self._clock = time.time()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes and reports."""
        rate = float(np.asarray(self.model.optimizer.learning_rate))
        row = {name: float(np.asarray(value)) for name, value in (logs or {}).items()}
        # All that happened since the last epoch, so that the times add up.
        now = time.time()
        seconds, self._clock = now - self._clock, now
        row = {"epoch": epoch, **row, "learning_rate": rate, "seconds": seconds}
        self.history.append(row)
        if self._chief:
            checkpoint.save(self.file, self.model, {"history": self.history})
            self._log()
            self._report()

    def _log(self) -> None:
        path = self.file.with_suffix(".csv")
        with replacing(path) as temporary, temporary.open("w") as file:
            writer = csv.DictWriter(file, self.history[-1])
            writer.writeheader()
            writer.writerows(self.history)

    def _report(self) -> None:
        *earlier, row = self.history
        best = self._score(row) > max([self.before, *map(self._score, earlier)])
        left = (self._epochs - len(self.history)) * np.mean(
            [past["seconds"] for past in self.history]
        )
        scores = "  ".join(
            f"{name} {row[name]:.4f}"
            for name in row
            if any(kind in name for kind in ("loss", "accuracy", "recall"))
        )
        self._print(
            f"epoch {len(self.history)}/{self._epochs}  {scores}"
            f"{' (best)' if best else ''}  {self._images / row['seconds']:.0f} "
            f"images/s  {left / 60:.0f} min left"
        )
