import pytest


def rest_medium(values, fast=1):
    """Values of a parametrization; all but the first are marked medium."""
    values = [value if isinstance(value, tuple) else (value,) for value in values]
    return [
        *(pytest.param(*value) for value in values[:fast]),
        *(pytest.param(*value, marks=pytest.mark.medium) for value in values[fast:]),
    ]
