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

import csv
import math
import time

import keras
import numpy as np

from zoo import checkpoint


class FiniteLoss(keras.callbacks.Callback):
    """Stops with an error once the loss is not finite, before anything is written.

    Args:
        folder: Folder of the run, for the message.
    """

    def __init__(self, folder):
        super().__init__()
        self._folder = folder

    def on_epoch_begin(self, epoch, logs=None):
        """No step has run yet."""
        self._epoch, self._pending = epoch, None

    def on_train_batch_end(self, batch, logs=None):
        """Checks the loss of the step before, which has been computed by now."""
        self._check()
        self._pending = (batch, logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        """Checks the loss of the last step."""
        self._check()

    def _check(self):
        if self._pending is None:
            return
        batch, loss = self._pending
        if np.isfinite(float(loss)):
            return
        kept = (
            f"The checkpoint of epoch {self._epoch} and the best weights so far are "
            f"kept in {str(self._folder)!r}."
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
        validation: `zoo.data.Faces`.
        file: Where the best weights go, a `.weights.h5` file.
        devices: `zoo.devices.Devices`.
        score: Function of an epoch's logs, higher for better epochs.
        best: The best score so far, if the run is resumed.
    """

    def __init__(
        self, model, averaged, validation, file, devices, score, best=-math.inf
    ):
        super().__init__()
        self._trained, self._averaged = model, devices.prepare(averaged)
        self._images, self._targets = validation.images[:], validation.targets
        self._file, self._chief = file, devices.chief
        self._score, self._best, self._weights = score, best, None

    def weights(self):
        """Weights of the best epoch, as from `get_weights`."""
        if self._weights is None:  # It was an epoch before the run was resumed.
            checkpoint.load_weights(self._averaged, self._file)
            self._weights = self._averaged.get_weights()
        return self._weights

    def on_epoch_end(self, epoch, logs=None):
        """Evaluates, and keeps what is better than before."""
        self._average()
        # Not `evaluate`, which fails where devices cannot share the first batch alike.
        predicted = self._averaged.predict(self._images, batch_size=256, verbose=0)
        truth = self._targets.argmax(axis=1)
        correct = predicted.argmax(axis=1) == truth
        log = np.log(np.clip(predicted, keras.config.epsilon(), 1.0))
        logs["val_accuracy"] = correct.mean()
        logs["val_recall"] = np.mean(
            [correct[truth == each].mean() for each in np.unique(truth)]
        )
        logs["val_loss"] = -(self._targets * log).sum(axis=1).mean()
        if self._score(logs) > self._best:
            self._best = float(self._score(logs))
            self._weights = self._averaged.get_weights()
            if self._chief:
                checkpoint.save_weights(self._file, self._averaged)

    def _average(self):
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


class Patience(keras.callbacks.EarlyStopping):
    """`EarlyStopping` that also counts the epochs before a run was resumed.

    Args:
        patience: Epochs without a better validation accuracy.
        history: Logs of the epochs so far.
    """

    def __init__(self, patience, history):
        super().__init__("val_accuracy", mode="max", patience=patience)
        self._history = history

    def on_train_begin(self, logs=None):
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
        chief: Whether to write and print.

    Attributes:
        history: Logs of the epochs so far.

    Raises:
        ValueError: The checkpoint is damaged.
    """

    def __init__(self, file, epochs, images, score, chief=True):
        super().__init__()
        self._score = score
        self.file = file
        self.history = (checkpoint.read_state(file) or {"history": []})["history"]
        self._epochs, self._images, self._chief = epochs, images, chief

    def restore(self, network):
        """Assigns the checkpoint, if there is one, to a compiled network.

        Raises:
            ValueError: It is damaged or of another network.
        """
        if self.history:
            checkpoint.restore(self.file, network)

    def remove(self):
        """Removes the checkpoint of a stage that is done."""
        self.file.unlink()

    def on_train_begin(self, logs=None):
        """Starts the clock."""
        self._clock = time.time()

    def on_epoch_end(self, epoch, logs=None):
        """Writes and reports."""
        rate = float(np.asarray(self.model.optimizer.learning_rate))
        row = {name: float(np.asarray(value)) for name, value in logs.items()}
        # All that happened since the last epoch, so that the times add up.
        now = time.time()
        seconds, self._clock = now - self._clock, now
        row = {"epoch": epoch, **row, "learning_rate": rate, "seconds": seconds}
        self.history.append(row)
        if self._chief:
            checkpoint.save(self.file, self.model, {"history": self.history})
            self._log()
            self._report()

    def _log(self):
        path = self.file.with_suffix(".csv")
        with checkpoint.replacing(path) as temporary, temporary.open("w") as file:
            writer = csv.DictWriter(file, self.history[-1])
            writer.writeheader()
            writer.writerows(self.history)

    def _report(self):
        *earlier, row = self.history
        best = self._score(row) > max(map(self._score, earlier), default=-math.inf)
        left = (self._epochs - len(self.history)) * np.mean(
            [past["seconds"] for past in self.history]
        )
        scores = "  ".join(
            f"{name} {row[name]:.4f}"
            for name in row
            if any(kind in name for kind in ("loss", "accuracy", "recall"))
        )
        print(
            f"epoch {len(self.history)}/{self._epochs}  {scores}"
            f"{' (best)' if best else ''}  {self._images / row['seconds']:.0f} "
            f"images/s  {left / 60:.0f} min left",
            flush=True,
        )
