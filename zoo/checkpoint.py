"""What a run leaves on the disk: whole, or not at all."""

import contextlib
import json
import os
import pathlib
import zipfile

import numpy as np

# What reading a file may raise whose bytes are not those that were written.
_DAMAGED = (
    zipfile.BadZipFile,
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
)


@contextlib.contextmanager
def replacing(path):
    """A temporary path that takes the place of `path` once all went well.

    A full disk or a kill in between leaves what was there before.

    Raises:
        OSError: It could not be written.
    """
    path = pathlib.Path(path)
    # The suffix stays: Keras and NumPy look at it.
    temporary = path.with_name(f"writing.{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # h5py raises both.
        raise OSError(
            f"Could not write {str(path)!r}: {error}. What was there before is "
            "untouched. Make room or mend the folder, then run the command again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def save(path, network, state):
    """Writes a network, its optimizer and everything random in it, with a state.

    Args:
        path: Where to, an `.npz` file.
        network: A compiled `keras.Model`.
        state: A dictionary for JSON.
    """
    arrays = {
        f"{group}/{index}": np.asarray(variable)
        for group, variables in _variables(network).items()
        for index, variable in enumerate(variables)
    }
    with replacing(path) as temporary:
        np.savez(temporary, state=json.dumps(state), **arrays)


def save_weights(path, model):
    """Writes the weights of a model, a `.weights.h5` file.

    HDF5 cannot let go of a file that found no room, and crashes when Python ends. So
    the room is taken by plain means first.
    """
    needed = sum(variable.nbytes for variable in model.get_weights())
    with replacing(path) as temporary:
        temporary.write_bytes(bytes(needed + 2**13 * (len(model.weights) + 16)))
        model.save_weights(temporary)


def read_state(path):
    """The state of a checkpoint, or `None` where there is none.

    Raises:
        ValueError: The file is damaged.
    """
    if not pathlib.Path(path).exists():
        return None
    with _opened(path) as arrays:
        return json.loads(arrays["state"].item())


def restore(path, network):
    """Puts back what `save` wrote.

    Raises:
        ValueError: The file is damaged, or from another network.
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
    if shapes != expected:
        different = sorted(
            name
            for name in {*shapes, *expected}
            if shapes.get(name) != expected.get(name)
        )
        raise ValueError(
            f"The checkpoint is of another network. Received: {str(path)!r}, which "
            f"differs in {len(different)} of {len(expected)} variables, such as "
            f"{different[0]}: {shapes.get(different[0])} instead of "
            f"{expected.get(different[0])}. Choose another --out to start again."
        )
    for group, variables in groups.items():
        for index, variable in enumerate(variables):
            variable.assign(received[f"{group}/{index}"])


def _variables(network):
    # Of the network: with the state of everything random in it.
    return {"network": network.variables, "optimizer": network.optimizer.variables}


@contextlib.contextmanager
def _opened(path):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except _DAMAGED as error:
        raise ValueError(
            f"The checkpoint {str(path)!r} is damaged: {str(error)[:500]}. Delete it "
            "to train this stage again, or choose another --out."
        ) from error
