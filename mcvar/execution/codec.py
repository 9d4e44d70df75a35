"""Arrays to bytes and back: what a checkpoint holds is data, and reading it runs nothing."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

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


def decode(blob: bytes) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that `encode` was given; ValueError where the bytes are not its own."""
    head, line, data = blob.partition(b"\n")
    if not line:
        raise ValueError("no header line")
    arrays, start = {}, 0
    for name, kind, shape in json.loads(head):
        dtype = np.dtype(kind)
        if dtype.kind not in _KINDS:
            raise ValueError(f"{name!r} claims dtype {kind}, which is not plain data")
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        part = data[start : start + size]
        arrays[name] = np.frombuffer(part, dtype).reshape(shape).copy()
        start += size
    if start != len(data):
        raise ValueError(f"{len(data)} bytes where the header describes {start}")
    return arrays
