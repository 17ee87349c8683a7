"""Public names of keras_fer and their signatures, recorded in api_surface.json.

`python -m tests.api_surface --write` updates that file.
"""

import importlib
import inspect
import json
import pathlib
import pkgutil
import sys

import keras_fer

FILE = pathlib.Path(__file__).with_name("api_surface.json")
COMMAND = "python -m tests.api_surface --write"


def surface():
    """Public name to signature; to a type's name for what is not called.

    Public are the entries of `__all__` of keras_fer, its subpackages and the modules
    among its own entries, and the constructor, methods and properties that a public
    class itself defines.
    """
    packages = [
        module.name
        for module in pkgutil.iter_modules(keras_fer.__path__)
        if module.ispkg
        and not module.name.startswith("_")
        or module.name in keras_fer.__all__
    ]
    found = {}
    for package in (keras_fer, *map(_import, packages)):
        for name in getattr(package, "__all__", ()):
            value = getattr(package, name)
            if not inspect.ismodule(value):
                found |= _describe(f"{package.__name__}.{name}", value)
    return dict(sorted(found.items()))


def changes(before, now):
    """Lines that say which names are gone, which differ, and which are new."""
    return {
        "removed": [name for name in before if name not in now],
        "changed": [
            f"{name}: {before[name]} is now {now[name]}"
            for name in before
            if name in now and before[name] != now[name]
        ],
        "added": [name for name in now if name not in before],
    }


def _import(name):
    return importlib.import_module(f"keras_fer.{name}")


def _describe(name, value):
    if not inspect.isclass(value):
        return {name: _signature(value) if callable(value) else type(value).__name__}
    found = {name: _signature(value)}
    for member, each in vars(value).items():
        if member.startswith("_"):
            continue
        if isinstance(each, property):
            found[f"{name}.{member}"] = "property"
        elif isinstance(each, (classmethod, staticmethod)) or inspect.isfunction(each):
            found[f"{name}.{member}"] = _signature(getattr(value, member))
    return found


def _signature(value):
    try:
        return str(inspect.signature(value))
    except ValueError:  # An exception with the constructor of a built-in one.
        return type(value).__name__


def main(arguments):
    """Writes the file, or prints what differs from it."""
    now = surface()
    if arguments == ["--write"]:
        FILE.write_text(json.dumps(now, indent=2) + "\n", "utf-8")
    else:
        before = json.loads(FILE.read_text("utf-8"))
        print(json.dumps(changes(before, now), indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
