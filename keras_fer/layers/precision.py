"""The dtype of layers whose results must not be rounded."""

from typing import Any

import keras


def full_precision(policy: Any = None) -> str:
    """Float32, also under mixed precision; float64 under float64.

    Args:
        policy: A `keras.DTypePolicy`; `None` for Keras' default.
    """
    policy = policy or keras.config.dtype_policy()
    return "float64" if policy.variable_dtype == "float64" else "float32"
