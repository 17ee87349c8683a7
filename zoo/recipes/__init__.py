"""One short Python file per result, which defines `RECIPE`."""

import dataclasses
import importlib
import pkgutil

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
"""Names of all recipes."""


def load(name):
    """The recipe with a name, such as `"patt_lite_ferplus"`.

    Raises:
        ValueError: There is none.
    """
    if name not in NAMES:
        raise ValueError(f"recipe must be one of {', '.join(NAMES)}, got {name!r}.")
    recipe = importlib.import_module(f"{__name__}.{name}").RECIPE
    return dataclasses.replace(recipe, name=name)
