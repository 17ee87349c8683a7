"""A registry of the kinds of one family."""

from collections.abc import Callable

import numpy as np

Kind = Callable[..., np.ndarray]


class Registry(dict[str, Kind]):
    """Functions by name, in the order of their definition.

    Where the kind is left open, the id draws a position in this order: a kind that is
    added, moved or removed changes the images of existing ids, so raise the builders'
    `VERSION` with it.
    """

    def register(self, function: Kind) -> Kind:
        """Adds a function under its own name; for use as a decorator."""
        if function.__name__ in self:
            raise ValueError(f"{function.__name__} is registered twice; rename one.")
        self[function.__name__] = function
        return function
