"""Checkpoints of a training run."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.npyio import NpzFile

from keras_fer.files import replacing

if TYPE_CHECKING:
    import keras

# What reading a damaged file may raise.
_DAMAGED = (
    zipfile.BadZipFile,
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,  # A flipped bit makes zipfile ask for a password.
    ValueError,
)


_COUNT = "variables"


def save(
    path: str | os.PathLike[str], network: keras.Model, state: dict[str, Any]
) -> None:
    """Writes a network, its optimizer and its random states, beside a dictionary.

    Args:
        path: An `.npz` file.
        network: A compiled `keras.Model`.
        state: A dictionary of values for JSON.
    """
    arrays: dict[str, Any] = {
        f"{group}/{index}": np.asarray(variable)
        for group, variables in _variables(network).items()
        for index, variable in enumerate(variables)
    }
    # A damaged directory of a zip file can lose entries in silence.
    state = {**state, _COUNT: len(arrays)}
    with replacing(path) as temporary:
        np.savez(temporary, state=json.dumps(state), **arrays)


def save_weights(path: str | os.PathLike[str], model: keras.Model) -> None:
    """Writes the weights of a model to a `.weights.h5` file.

    On a full disk, HDF5 cannot close its file and crashes when Python exits. So the
    space is allocated first.
    """
    needed = sum(variable.nbytes for variable in model.get_weights())
    with replacing(path) as temporary:
        temporary.write_bytes(bytes(needed + 2**13 * (len(model.weights) + 16)))
        model.save_weights(temporary)


def load_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads the weights of a model from a `.weights.h5` file.

    Raises:
        ValueError: The file is damaged or of another model.
    """
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{str(path)!r} is damaged or of another model: "
            f"{str(error).splitlines()[0]}. Delete it to train this stage again, or "
            "choose another output."
        ) from error


def read_state(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The dictionary of a checkpoint, or `None` if there is no checkpoint.

    Raises:
        ValueError: The file is damaged.
    """
    if not pathlib.Path(path).exists():
        return None
    with _opened(path) as arrays:
        state: dict[str, Any] = json.loads(arrays["state"].item())
        state.pop(_COUNT, None)
    return state


def restore(path: str | os.PathLike[str], network: keras.Model) -> None:
    """Assigns the variables of a checkpoint to a network and its optimizer.

    Raises:
        ValueError: The checkpoint is damaged or of another network.
    """
    with _opened(path) as arrays:
        groups = _variables(network)
        expected = {
            f"{group}/{index}": tuple(variable.shape)
            for group, variables in groups.items()
            for index, variable in enumerate(variables)
        }
        received = {name: arrays[name] for name in arrays.files if name != "state"}
        shapes = {name: value.shape for name, value in received.items()}
        # Checkpoints of earlier versions do not tell their number.
        count = json.loads(arrays["state"].item()).get(_COUNT, len(received))
        if count != len(received):
            raise ValueError(f"{count - len(received)} of {count} variables are lost")
    if shapes != expected:
        different = sorted(
            name
            for name in {*shapes, *expected}
            if shapes.get(name) != expected.get(name)
        )
        raise ValueError(
            f"The checkpoint {str(path)!r} is of another network: it differs in "
            f"{len(different)} of {len(expected)} variables, such as {different[0]}, "
            f"{shapes.get(different[0])} instead of {expected.get(different[0])}. "
            "Choose another output to start again."
        )
    for group, variables in groups.items():
        for index, variable in enumerate(variables):
            variable.assign(received[f"{group}/{index}"])


def _variables(network: keras.Model) -> dict[str, list[keras.Variable]]:
    # Those of the network include its random states.
    return {"network": network.variables, "optimizer": network.optimizer.variables}


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    try:
        # Unlike `np.load`, this takes nothing else, such as an .npy file.
        with open(path, "rb") as file, NpzFile(file) as arrays:
            yield arrays
    except _DAMAGED as error:
        raise ValueError(
            f"The checkpoint {str(path)!r} is damaged: {str(error)[:500]}. Delete it "
            "to train this stage again, or choose another output."
        ) from error
