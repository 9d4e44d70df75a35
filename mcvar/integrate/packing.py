"""Frozen results as named arrays and back: what crosses processes, and what a checkpoint keeps."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from mcvar.draws import Draws
from mcvar.integrate.sums import Sums, Top
from mcvar.integrate.values import BlockSums
from mcvar.moments import Moments

_CLASSES = {kind.__name__: kind for kind in (BlockSums, Draws, Moments, Sums, Top)}
_KIND, _LENGTH = "kind", "length"


def pack(value: Any, name: str = "value") -> dict[str, Any]:
    """Named arrays of a value made of frozen dataclasses, tuples, arrays, numbers and None.

    >>> packed = pack((None, Moments.of(np.ones((3, 1)))))
    >>> unpack(packed)[0] is None, unpack(packed)[1].n
    (True, 3)
    """
    if value is None:
        return {}
    if is_dataclass(value):
        found = {f"{name}.{_KIND}": np.array(type(value).__name__)}
        for field in fields(value):
            found |= pack(getattr(value, field.name), f"{name}.{field.name}")
        return found
    if isinstance(value, tuple):
        found = {f"{name}.{_LENGTH}": np.array(len(value))}
        for i, item in enumerate(value):
            found |= pack(item, f"{name}.{i}")
        return found
    return {name: np.asarray(value)}


def unpack(arrays: Mapping[str, Any], name: str = "value") -> Any:
    """The value that `pack` was given."""
    if f"{name}.{_KIND}" in arrays:
        kind = _CLASSES[str(arrays[f"{name}.{_KIND}"])]
        made = object.__new__(kind)
        for field in fields(kind):
            object.__setattr__(made, field.name, unpack(arrays, f"{name}.{field.name}"))
        return made
    if f"{name}.{_LENGTH}" in arrays:
        count = int(arrays[f"{name}.{_LENGTH}"])
        return tuple(unpack(arrays, f"{name}.{i}") for i in range(count))
    array = arrays.get(name)
    return array.item() if array is not None and array.ndim == 0 else array
