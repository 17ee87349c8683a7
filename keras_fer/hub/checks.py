"""What arrives is data: classes and arrays are checked before Keras reads them."""

from __future__ import annotations

import math
import os
from typing import Any

# Keras classes that run code or read files that their configuration names.
_UNSAFE = {
    "FlaxLayer",
    "IntegerLookup",
    "JaxLayer",
    "Lambda",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
}
# Modules of Keras that a configuration may name; of some only these classes.
_MODULES = {
    "keras": {"DTypePolicy", "Model", "Sequential"},
    "keras.constraints": None,
    "keras.dtype_policies": None,
    "keras.initializers": None,
    "keras.layers": None,
    "keras.regularizers": None,
    "keras.src.models.functional": {"Functional"},
    "keras.src.ops.numpy": None,
}


def check_config(config: Any) -> None:
    """Refuses a saved configuration that names more than plain layers of known code.

    Raises:
        ValueError: A class, function or string in it is not allowed.
    """
    import keras

    if isinstance(config, list):
        for item in config:
            check_config(item)
    elif isinstance(config, dict):
        if "class_name" in config:
            _check_class(config)
        for item in config.values():
            check_config(item)
    elif isinstance(config, str) and not config.startswith("keras_fer>"):
        # Keras replaces a plain string by what is registered under it.
        if ">" in config and keras.saving.get_registered_object(config):
            raise ValueError(f"{config!r} is of another package and is not used.")


def _check_class(config: dict[str, Any]) -> None:
    import keras

    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name")
    if name in ("__keras_tensor__", "__slice__", "__ellipsis__"):
        return
    if isinstance(registered, str) and registered.startswith("keras_fer>"):
        known = keras.saving.get_registered_object(registered)
        if known is not None and known.__module__.startswith("keras_fer."):
            return
        raise ValueError(f"{registered!r} is unknown to this version of keras-fer.")
    if (
        module in _MODULES
        and name not in _UNSAFE
        and name in (_MODULES[module] or {name})
        and registered in (None, name)
        and keras.saving.get_registered_object(name) is None
    ):
        return
    raise ValueError(
        f"The class {module}.{name} (registered as {registered!r}) is not allowed: "
        "only layers of Keras that run no code of their own, and those of keras_fer."
    )


def check_weights(path: str | os.PathLike[str]) -> None:
    """Refuses a weights file that points outside or declares more than it holds.

    Raises:
        ValueError: It is damaged, has links, external or virtual datasets or objects,
            or declares more than it holds.
        FileNotFoundError: There is no such file.
    """
    size = os.path.getsize(path)
    try:
        _check_arrays(path, size)
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError) as error:
        # What h5py raises for damage, depending on where it is.
        raise ValueError(f"The weights file is damaged: {error!s:.500}.") from error


def _check_arrays(path: str | os.PathLike[str], left: int) -> None:
    import h5py

    seen = set()
    with h5py.File(path) as file:
        groups = [file]
        while groups:
            group = groups.pop()
            address = h5py.h5o.get_info(group.id).addr
            if address in seen:
                raise ValueError(f"{group.name!r} in the weights file occurs twice.")
            seen.add(address)
            for key in group:
                name = f"{group.name}/{key}"
                if group.get(key, getclass=True, getlink=True) is not h5py.HardLink:
                    raise ValueError(f"{name!r} in the weights file is a link.")
                item = group[key]
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    continue
                if (
                    not isinstance(item, h5py.Dataset)
                    or item.is_virtual
                    or item.external
                    or item.dtype.hasobject
                ):
                    raise ValueError(f"{name!r} in the weights file is no plain array.")
                left -= math.prod(item.shape) * item.dtype.itemsize
                if left < 0:
                    raise ValueError(
                        f"{name!r} in the weights file, {item.dtype} {item.shape}, is "
                        "declared larger than the file."
                    )
