"""Types of the layers' and models' signatures."""

from collections.abc import Mapping
from typing import Any, TypeAlias

# A tensor of the backend, a NumPy array or a symbolic `keras.KerasTensor`. Neither
# Keras nor TensorFlow is typed, so the name is for the reader.
Tensor: TypeAlias = Any

# A tensor's shape, batch axis first: integers, and `None` where an axis is unknown.
Shape: TypeAlias = tuple[Any, ...]

# What `get_config` returns: the constructor arguments.
Config: TypeAlias = dict[str, Any]

# Feature maps of a backbone by name, such as `"stride_16"`.
FeatureMaps: TypeAlias = Mapping[str, Tensor]
