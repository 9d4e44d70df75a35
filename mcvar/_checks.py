"""Checks of what users pass in: each says what was seen and what was expected."""

import difflib
import importlib
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from mcvar._typing import FloatArray, Seed
from mcvar.exceptions import MagnitudeError, MissingExtraError

_GREATEST_COUNT = 2**53  # whole numbers up to which floating point tells one from the next


def known_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return ``name`` if it is among ``known``; otherwise suggest the nearest."""
    if not isinstance(name, str):
        raise TypeError(f"{kind} must be a name, got {name!r}.")
    names = sorted(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}.")


def as_count(name: str, value: Any, minimum: int = 1) -> int:
    """Return ``value`` as an int of at least ``minimum``; integral floats such as 1e6 pass."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        count = _index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {value!r}.") from None
    if count < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {count}.")
    if count > _GREATEST_COUNT:
        raise ValueError(f"{name} must be at most 2**53, got {value!r}.")
    return count


def as_positive(name: str, value: Any) -> float:
    """Return ``value`` as a positive float."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}.")
    return float(value)


def _index(value: Any) -> int:
    if isinstance(value, np.bool_):  # which some versions of NumPy take for 0 or 1, with a warning
        raise TypeError
    return operator.index(value)


def as_real_array(name: str, values: Any) -> FloatArray:
    """Return a float64 array; complex, ragged and non-numeric input is refused."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from None
    if np.ma.is_masked(values):
        raise ValueError(f"{name} has masked entries; fill them or leave them out.")
    if np.iscomplexobj(array):
        raise TypeError(
            f"{name} is complex ({array.dtype}); integrate real and imaginary parts as two columns."
        )
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must be numeric, got dtype {array.dtype}; expected numbers, such as "
            "np.asarray(..., dtype=float) makes."
        )
    with np.errstate(over="ignore"):  # a long double may be infinite here, which others refuse
        return np.asarray(array, dtype=np.float64)


def as_finite_array(name: str, values: Any) -> FloatArray:
    """Return a float64 array without NaN or infinity."""
    array = as_real_array(name, values)
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise ValueError(f"{name} holds {array[where]} at index {where}; expected finite numbers.")
    return array


def as_number(name: str, value: Any) -> float:
    """Return one finite real number as a float."""
    array = as_real_array(name, value)
    if array.ndim:
        raise ValueError(f"{name} must be one number, got an array of shape {array.shape}.")
    if not np.isfinite(array):
        raise ValueError(f"{name} must be a finite number, got {float(array)}.")
    return float(array)


def check_magnitude(name: str, values: FloatArray, most: float = 1e140) -> None:
    """Refuse numbers that overflow when they are squared and summed, or vanish altogether.

    A few hundred orders of magnitude are beyond floating point, not beyond users: units do that.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= most or 0 < largest < 1 / most:
        raise MagnitudeError(
            f"{name} reach {largest:.3g} in size, and their squares are beyond floating-point "
            f"numbers; expected a largest one between {1 / most:.0e} and {most:.0e}: change units."
        )


def as_points(name: str, values: Any) -> FloatArray:
    """Return finite points as ``(n, d)``; ``(n,)`` is read as n points in one dimension."""
    array = as_finite_array(name, values)
    if array.ndim == 1:
        array = array[:, np.newaxis]
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"{name} must have shape (n, d) with n, d >= 1, got {array.shape}.")
    return array


def root_entropy(rng: Seed) -> int:
    """Return one integer from which every stream of a run is spawned.

    An int is used as it is, so that a run can be repeated from its report; a ``Generator``
    advances, so that two calls with the same one are independent.
    """
    if rng is None:
        entropy = np.random.SeedSequence().entropy
        assert isinstance(entropy, int)
        return entropy
    if isinstance(rng, np.random.Generator):
        return int.from_bytes(rng.bytes(16), "little")
    if isinstance(rng, np.random.SeedSequence):
        return int.from_bytes(rng.generate_state(4, np.uint32).tobytes(), "little")
    try:
        seed = _index(rng)
    except TypeError:
        raise TypeError(
            f"rng must be None, an int, a numpy Generator or a SeedSequence, got {rng!r}."
        ) from None
    if seed < 0:
        raise ValueError(f"rng must be a non-negative int, got {seed}.")
    return seed


def import_extra(module: str, extra: str) -> Any:
    """Import an optional dependency, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module.partition('.')[0]} is needed here: pip install 'mcvar[{extra}]'"
        ) from error
