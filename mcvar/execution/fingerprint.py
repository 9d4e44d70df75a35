"""A digest of what a run depends on: equal for equal problems, in any process.

Functions count by their code, constants, defaults and what they close over; objects by their class
and attributes. What cannot be looked into counts by its type alone, so that a digest may overlook
a change, never invent one between two processes.
"""

import dis
import functools
import hashlib
import types
from typing import Any

import numpy as np

_DEEPEST = 16


def fingerprint(*things: Any) -> str:
    """Return 32 hexadecimal digits for these things.

    >>> fingerprint(1, "a") == fingerprint(1, "a") != fingerprint(1, "b")
    True
    """
    return _Digests()(list(things), ()).hex()[:32]


class _Digests:
    """Digests of one set of things; each object that is shared counts its content once more."""

    def __init__(self) -> None:
        # Objects are kept with their digests: an address may be used again once its owner is gone.
        self._known: dict[int, tuple[bytes, Any]] = {}

    def __call__(self, thing: Any, above: tuple[int, ...]) -> bytes:
        if thing is None or isinstance(thing, bool | int | float | complex | str | bytes):
            return _hash(f"{type(thing).__name__}:{thing!r}".encode())
        if isinstance(thing, np.ndarray | np.generic) and thing.dtype.kind != "O":
            array = np.asarray(thing, order="C")
            return _hash(f"{array.dtype.str}{array.shape}".encode(), array.tobytes())
        if id(thing) in self._known:
            return self._known[id(thing)][0]
        if id(thing) in above or len(above) > _DEEPEST:
            return _hash(b"cycle", _name(type(thing)).encode())
        parts = [self(part, (*above, id(thing))) for part in _parts(thing)]
        digest = _hash(_name(type(thing)).encode(), *parts)
        self._known[id(thing)] = (digest, thing)
        return digest


def _hash(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _parts(thing: Any) -> list[Any]:
    """Parts of `thing`, in an order that does not depend on the process."""
    if isinstance(thing, dict):
        return [part for item in thing.items() for part in item]
    if isinstance(thing, set | frozenset):
        return sorted(fingerprint(item) for item in thing)
    if isinstance(thing, list | tuple):
        return list(thing)
    if isinstance(thing, np.ndarray):
        return [thing.shape, *thing.ravel().tolist()]
    if isinstance(thing, types.FunctionType):
        return [
            thing.__qualname__,
            *_code(thing.__code__),
            thing.__defaults__,
            thing.__kwdefaults__,
            _closure(thing),
            _globals(thing),
        ]
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, type | types.ModuleType | types.BuiltinFunctionType | np.ufunc):
        return [_name(thing)]
    if hasattr(thing, "py_func"):  # compiled by Numba
        return [thing.py_func]
    if hasattr(thing, "dist") and hasattr(thing, "args") and hasattr(thing, "kwds"):
        # A frozen scipy.stats distribution, whose class carries generated code and random state.
        return [_name(type(thing.dist)), thing.args, thing.kwds]
    own: Any = type(thing).__getstate__
    if own is not object.__getstate__:
        return [thing.__getstate__()]  # as pickling does, without caches that it leaves out
    state = getattr(thing, "__dict__", None)
    slots = [name for base in type(thing).__mro__ for name in getattr(base, "__slots__", ())]
    return [
        *([] if state is None else [(name, state[name]) for name in sorted(state)]),
        *((name, getattr(thing, name, None)) for name in slots),
    ]


def _code(code: types.CodeType) -> list[Any]:
    constants = [
        _code(constant) if isinstance(constant, types.CodeType) else constant
        for constant in code.co_consts
    ]
    return [code.co_code, constants, code.co_names, code.co_varnames]


def _closure(function: types.FunctionType) -> list[Any]:
    cells = function.__closure__ or ()
    return [cell.cell_contents for cell in cells if cell != types.CellType()]


def _globals(function: types.FunctionType) -> list[Any]:
    """Constants and the user's own functions that the function reads from its module.

    Not what may change while it computes: counters that it sets itself, lists and dictionaries.
    """
    space = function.__globals__
    code = function.__code__
    written = {step.argval for step in dis.get_instructions(code) if step.opname == "STORE_GLOBAL"}
    names = sorted((set(code.co_names) & set(space)) - written)
    constant: Any = bool | int | float | complex | str | bytes | tuple | np.ndarray
    return [
        (name, space[name])
        for name in names
        if isinstance(space[name], constant)
        or (
            isinstance(space[name], types.FunctionType)
            and space[name].__module__ == function.__module__
        )
    ]


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', thing)}"
