"""Checks of arguments and input shapes that several layers share."""

from typing import Any

from keras_fer.layers.types import Shape


def check_positive_integer(name: str, value: Any) -> None:
    """Raises a `ValueError` unless an argument is an integer of at least 1.

    Args:
        name: Name of the argument, for the message.
        value: Its value.
    """
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")


def check_kernel_size(value: Any) -> None:
    """Raises a `ValueError` unless `kernel_size` is an odd integer of at least 1.

    Args:
        value: The kernel size.
    """
    if not isinstance(value, int) or value < 1 or value % 2 == 0:
        raise ValueError(f"kernel_size must be an odd positive integer, got {value!r}.")


def check_feature_map(shape: Shape, least: int) -> None:
    """Raises a `ValueError` unless a feature map has a static, sufficient size.

    Args:
        shape: Shape of the input, with batch.
        least: Smallest height and width.
    """
    sides = [side for side in shape[1:3] if side is not None and side >= least]
    if len(shape) != 4 or len(sides) != 2:
        raise ValueError(
            "The feature map must have shape (batch, height, width, channels) with a "
            f"static height and width of at least {least}, got {tuple(shape)}. Use a "
            "larger input size or a feature map of a smaller stride."
        )
