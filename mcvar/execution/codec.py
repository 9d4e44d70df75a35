"""Arrays to bytes and back: what a checkpoint holds is data, and reading it runs nothing."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mcvar.execution.store import parsed

Arrays = Mapping[str, npt.NDArray[Any]]
_KINDS = "biufcSU"  # dtype kinds that are plain data


def encode(arrays: Arrays) -> bytes:
    """Return the arrays as one string of bytes: a line of JSON that describes them, and the data.

    >>> import numpy as np
    >>> decode(encode({"a": np.arange(3), "b": np.float64(2.5)}))
    {'a': array([0, 1, 2]), 'b': array(2.5)}
    """
    described, data = [], []
    for name, given in arrays.items():
        array = np.asarray(given, order="C")
        if array.dtype.kind not in _KINDS:
            raise TypeError(f"{name!r} has dtype {array.dtype}, which is not plain data.")
        described.append([name, array.dtype.str, list(array.shape)])
        data.append(array.tobytes())
    return json.dumps(described, separators=(",", ":")).encode() + b"\n" + b"".join(data)


def decode(blob: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that `encode` was given; ValueError where the bytes are not its own."""
    if not isinstance(blob, bytes):
        raise ValueError(f"{type(blob).__name__} where bytes were expected")
    head, line, data = blob.partition(b"\n")
    if not line:
        raise ValueError("no header line")
    arrays: dict[str, npt.NDArray[Any]] = {}
    start = 0
    for described in parsed(head.decode(), list):
        name, dtype, shape = _described(described)
        size = math.prod(shape) * dtype.itemsize
        if name in arrays or start + size > len(data):
            raise ValueError(f"{name!r} is there twice, or has no data")
        arrays[name] = np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape).copy()
        start += size
    if start != len(data):
        raise ValueError(f"{len(data)} bytes where the header describes {start}")
    return arrays


def _described(entry: Any) -> tuple[str, np.dtype[Any], list[int]]:
    """Return name, type and shape of an array; ValueError where they are none."""
    if not (isinstance(entry, list) and list(map(type, entry)) == [str, str, list]):
        raise ValueError(f"{str(entry)[:80]} where [name, dtype, shape] was expected")
    name, kind, shape = entry
    try:
        dtype = np.dtype(kind)
    except (TypeError, SyntaxError, ValueError) as error:
        raise ValueError(f"{kind[:80]!r} is no dtype") from error
    if dtype.kind not in _KINDS or dtype.str != kind:
        raise ValueError(f"{name!r} claims dtype {kind[:80]}, which is not plain data")
    if not all(type(side) is int and 0 <= side < 2**63 for side in shape):
        raise ValueError(f"{name!r} claims the shape {str(shape)[:80]}")
    return name, dtype, shape
