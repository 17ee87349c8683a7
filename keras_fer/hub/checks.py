"""What arrives is data: it is measured before it is read, and read as numbers and text.

What is said about it is printable and short, whatever it holds.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from keras_fer.console import printable

_JSON_LARGEST = 2**20
_JSON_DEEPEST = 20
_MOST_ITEMS = 20_000
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def shown(value: object, most: int = 200) -> str:
    """What came from outside, for an error message: escaped and shortened.

    Args:
        value: Anything.
        most: Number of characters before escaping.
    """
    text = " ".join(str(value)[: 4 * most].split())
    return printable(text[:most]) + "…" * (len(text) > most)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file, once its size and depth are checked.

    Raises:
        ValueError: It is damaged, larger than 1 MiB, deeper than 20, has a name twice
            in an object, or NaN or infinity.
    """
    with open(path, "rb") as file:
        data = file.read(_JSON_LARGEST + 1)
    if len(data) > _JSON_LARGEST:
        raise ValueError(f"it has more than {_JSON_LARGEST:,} bytes")
    text = data.decode("utf-8")
    depth = 0
    for bracket in re.findall(r"[][{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > _JSON_DEEPEST:
            raise ValueError(f"it is nested more than {_JSON_DEEPEST} deep")
    return json.loads(
        text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("it has an object with the same name twice")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"it has the number {shown(text, 20)}")
    return number


def check_weights(
    path: str | os.PathLike[str],
    expected: Mapping[str, tuple[int, ...]] | None = None,
) -> None:
    """Refuses a weights file that cannot be read safely, or not by a model.

    It reads the shapes of the arrays, and the arrays only if they have those expected.
    What Keras does not read for a model without an optimizer is ignored.

    Args:
        path: A `.weights.h5` file.
        expected: Name to shape of the arrays that a model has, all of them, as from
            `keras_fer._compat.saved_shapes`; `None` for any.

    Raises:
        ValueError: It is damaged, has links, external or virtual datasets or objects,
            or declares more than it holds; or arrays differ from `expected`, or have
            NaN or infinity.
        FileNotFoundError: There is no such file.
    """
    size = os.path.getsize(path)
    try:
        problem = _find_problem(path, size, expected)
    except Exception as error:  # h5py raises whatever damage leads it to
        problem = f"is damaged: {shown(error) or type(error).__name__}"
    if problem:
        raise ValueError(
            f"The weights file {shown(pathlib.Path(path).name)} {problem}."
        )


def _find_problem(
    path: str | os.PathLike[str],
    left: int,
    expected: Mapping[str, tuple[int, ...]] | None,
) -> str | None:
    """What is wrong with a weights file, or `None`."""
    import h5py

    found: dict[str, Any] = {}
    seen, total = set(), 0
    with h5py.File(path) as file:
        names = [
            (file, each) for each in (b"layers", b"vars") if file.id.links.exists(each)
        ]
        while names:
            group, key = names.pop()
            name = f"{group.name}/{key.decode('utf-8', 'replace')}".lstrip("/")
            # Asked of the link itself: others may lead out of the file.
            if group.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
                return f"has a link, {shown(name)}"
            item = group[key]
            if isinstance(item, h5py.Group):
                address, total = h5py.h5o.get_info(item.id).addr, total + len(item)
                if address in seen or total > _MOST_ITEMS:
                    return f"has a group twice or too many items, {shown(name)}"
                seen.add(address)
                names += [(item, each) for each in item.id]
                continue
            if (
                not isinstance(item, h5py.Dataset)
                or item.is_virtual
                or item.external
                or item.chunks  # A small file may have large ones.
                or not (item.dtype.kind in "fiu" or _is_bfloat16(item.dtype))
            ):
                return f"has {shown(name)}, which is no plain array of numbers"
            left -= math.prod(item.shape) * item.dtype.itemsize
            if left < 0:
                return (
                    f"declares {shown(name)}, {item.dtype} {shown(item.shape)}, larger "
                    "than the file"
                )
            if expected is not None and item.shape != expected.get(name):
                there = f"the shape {expected[name]}" if name in expected else "none"
                return (
                    f"has {shown(name)} of shape {shown(item.shape)}, where the model "
                    f"has {there}"
                )
            found[name] = item
        if expected is None:
            return None
        if missing := sorted(expected.keys() - found.keys()):
            return f"lacks {len(missing)} arrays of the model, such as {missing[0]}"
        for name, item in found.items():
            if not _is_finite(item[()]):
                return f"has NaN or infinity in {name}"
    return None


def _is_bfloat16(dtype: Any) -> bool:
    """Whether Keras has written numbers of two bytes that HDF5 does not know."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None


def _is_finite(values: Any) -> bool:
    import ml_dtypes
    import numpy as np

    if _is_bfloat16(values.dtype):
        values = values.view(ml_dtypes.bfloat16)
    with np.errstate(over="ignore"):
        return bool(np.isfinite(values.astype("float32")).all())
