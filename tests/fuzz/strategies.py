"""What users pass in when they do not read: arrays of every dress, and numbers out of place."""

import array
import decimal
import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import strategies as st

Generator = np.random.Generator


def _poked(bad: float) -> Callable[[Generator, tuple[int, ...]], Any]:
    def make(rng: Generator, shape: tuple[int, ...]) -> Any:
        values = rng.normal(size=shape)
        if values.size:
            values.flat[rng.integers(values.size)] = bad
        return values

    return make


#: Numbers: what is in an array of a given shape.
FLAVOURS: dict[str, Callable[[Generator, tuple[int, ...]], Any]] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "uniform": lambda rng, shape: rng.random(shape),
    "whole": lambda rng, shape: rng.integers(-3, 4, size=shape).astype(float),
    "zero": lambda rng, shape: np.zeros(shape),
    "negative zero": lambda rng, shape: np.full(shape, -0.0),
    "constant": lambda rng, shape: np.full(shape, 0.1),
    "far": lambda rng, shape: 1e9 + rng.normal(size=shape),
    "huge": lambda rng, shape: 1e300 * rng.normal(size=shape),
    "greatest": lambda rng, shape: np.finfo(float).max * rng.choice([-1.0, 1.0], size=shape),
    "large": lambda rng, shape: 1e150 * rng.normal(size=shape),
    "tiny": lambda rng, shape: 1e-300 * rng.normal(size=shape),
    "small": lambda rng, shape: 1e-160 * rng.normal(size=shape),
    "denormal": lambda rng, shape: 5e-324 * rng.integers(0, 3, size=shape),
    "heavy": lambda rng, shape: rng.standard_cauchy(size=shape) ** 3,
    "wide": lambda rng, shape: 10.0 ** rng.uniform(-300, 300, size=shape),
    "outlier": _poked(1e18),
    "NaN": _poked(np.nan),
    "inf": _poked(np.inf),
    "-inf": _poked(-np.inf),
    "all NaN": lambda rng, shape: np.full(shape, np.nan),
}


class _Lies:
    """Pretends to be an array, and is none."""

    shape = (3,)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(["no", "number", "here"])


class _HasArray:
    def __init__(self, values: Any) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self._values, dtype=dtype)


def _read_only(values: Any) -> Any:
    values = values.copy()
    values.flags.writeable = False
    return values


def _strided(values: Any) -> Any:
    return np.repeat(values, 2, axis=0)[::2] if values.ndim else values


def _cast(dtype: Any) -> Callable[[Any], Any]:
    def cast(values: Any) -> Any:
        with np.errstate(all="ignore"):
            return values.astype(dtype)

    return cast


def _masked(values: Any) -> Any:
    return np.ma.array(values, mask=np.arange(values.size).reshape(values.shape) == 0)


def _matrix(values: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.asmatrix(values) if values.ndim <= 2 else values


def _frame(values: Any) -> Any:
    if values.ndim == 2:
        return pd.DataFrame(values, columns=[f"c{j}" for j in range(values.shape[1])])
    return pd.Series(values, index=np.arange(len(values))[::-1]) if values.ndim == 1 else values


def _ragged(values: Any) -> Any:
    rows = [list(np.atleast_1d(row)) for row in np.atleast_1d(values)]
    return [row[: i % 2 + 1] for i, row in enumerate(rows)]


#: Forms of the same numbers that ought to be read as the array is.
PROPER: dict[str, Callable[[Any], Any]] = {
    "array": lambda v: v,
    "list": lambda v: v.tolist(),
    "tuple": lambda v: tuple(map(tuple, v)) if v.ndim == 2 else tuple(v.tolist()) if v.ndim else v,
    "Fortran": np.asfortranarray,
    "strided": _strided,
    "reversed": lambda v: v[::-1] if v.ndim else v,
    "read-only": _read_only,
    "big-endian": lambda v: v.astype(v.dtype.newbyteorder(">")),
    "unaligned": lambda v: (
        np.frombuffer(b"\0" + v.tobytes(), np.uint8)[1:].view(float).reshape(v.shape)
    ),
    "float32": _cast(np.float32),
    "float16": _cast(np.float16),
    "longdouble": _cast(np.longdouble),
    "pandas": _frame,
    "xarray": xr.DataArray,
    "array-like": _HasArray,
    "memoryview": lambda v: memoryview(np.ascontiguousarray(v)) if v.size else v,
}
#: Forms that may be read or refused.
IMPROPER: dict[str, Callable[[Any], Any]] = {
    "int": _cast(np.int64),
    "int8": _cast(np.int8),
    "uint64": _cast(np.uint64),
    "bool": _cast(bool),
    "object": _cast(object),
    "complex": _cast(complex),
    "text": _cast(str),
    "bytes": _cast("S"),
    "dates": lambda v: np.zeros(v.shape, "datetime64[s]"),
    "records": lambda v: np.zeros(v.shape, [("a", float)]),
    "masked": _masked,
    "matrix": _matrix,
    "fractions": lambda v: np.full(v.shape, Fraction(1, 3), dtype=object),
    "ragged": _ragged,
    "generator": lambda v: (row for row in v) if v.ndim else v,
    "dict": lambda v: {"x": v},
    "set": lambda v: {1.0, 2.0},
    "none": lambda v: None,
    "word": lambda v: "values",
    "number": lambda v: 3.5,
    "lies": lambda v: _Lies(),
    "buffer": lambda v: array.array("d", v.ravel()),
    "decimal": lambda v: [decimal.Decimal(1)] * len(np.atleast_1d(v)),
    "nested": lambda v: [[[v]]],
}

_REASONABLE = ("normal", "uniform", "whole", "constant")

#: Numbers and other things where a number, a count, a name or a function is expected.
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        0, 1, 2, 3, -1, 7, 1.5, 0.0, -0.0, 1e-320, 1e300, -1e300, float("nan"), float("inf"),
        -float("inf"), 2**70, -(2**70), True, False, None, "", "auto", "three", b"3", [], [1, 2],
        (), {}, np.int8(5), np.float32(2.5), np.float64("nan"), np.array(3), np.array([3.0]),
        np.array([1, 2]), np.ones((2, 2)), 1 + 2j, Fraction(1, 2), decimal.Decimal("1.5"), object,
        len, np.bool_(True), np.datetime64("2026-01-01"), np.array("x"), range(3),
    ]
)  # fmt: skip


def mostly(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any] = ODD) -> Any:
    """Draw from `usual` nine times in ten."""
    return st.integers(0, 9).flatmap(lambda i: odd if i == 9 else usual)


@st.composite
def shapes(draw: Any, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that is expected, now and then not quite."""
    shape = tuple(shape)
    twisted = [shape, shape[:-1], (*shape, 1), (1, *shape), (0, *shape[1:]), shape[::-1], (), (1,)]
    twisted += [(shape[0] + 1, *shape[1:]), (*shape[:-1], 0), (*shape[:-1], shape[-1] + 1)]
    return draw(st.sampled_from([shape] * 40 + twisted))


@st.composite
def arrays(draw: Any, *shape: int, flavours: Sequence[str] = tuple(FLAVOURS)) -> Any:
    """Something like an array: mostly of reasonable numbers, of the right shape and form."""
    size = draw(shapes(shape))
    usual = [name for name in _REASONABLE if name in flavours] or list(flavours)
    flavour = draw(st.sampled_from(usual * (2 + len(flavours) // len(usual)) + list(flavours)))
    plain = ["array"] * (2 * len(PROPER)) + list(PROPER) * 2
    dress = draw(st.sampled_from(plain + list(IMPROPER)))
    values = FLAVOURS[flavour](np.random.default_rng(draw(st.integers(0, 1000))), size)
    return ({**PROPER, **IMPROPER})[dress](np.asarray(values, dtype=float))


@st.composite
def labels(draw: Any, n: int) -> Any:
    """Labels of n draws: whole numbers, in most cases."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    groups = draw(st.sampled_from([1, 2, 3, max(n // 2, 1), max(n, 1)]))
    whole = np.sort(rng.integers(0, groups, size=n))
    return draw(
        st.sampled_from(
            [whole] * 12
            + [whole.tolist(), rng.permutation(whole), np.arange(n), -whole, whole + 2**62]
            + [whole.astype(np.uint8), whole.astype(float), whole[:-1], whole[:, np.newaxis]]
            + [whole.astype(str), np.full(n, np.nan), None, "chain", whole * (2**40), whole == 1]
        )
    )


SIZES = st.sampled_from([0, 1, 2, 3, 4, 5, 8, 13, 20, 20, 40, 40, 60, 60])
SOME = st.sampled_from([5, 8, 13, 20, 40, 60])
DIMENSIONS = st.sampled_from([1, 1, 2, 2, 3, 4, 6])
SEEDS = mostly(st.integers(0, 100))
