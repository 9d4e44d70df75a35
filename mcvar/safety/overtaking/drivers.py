"""Driver models: functions (speed, gap, closing speed) -> acceleration, in SI units."""

import hashlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numba
import numpy as np

#: ``driver(speed, gap, closing_speed) -> acceleration``; `gap` is infinite without a leader, and
#: the closing speed, positive when the gap shrinks, is then 0.
Driver: TypeAlias = Callable[..., Any]


@numba.njit(error_model="numpy")
def attentive(speed, gap, closing_speed):  # type: ignore[no-untyped-def]
    """Follow at 1.2 s by the intelligent-driver model, braking at 4 m/s² at most."""
    free = (speed / 30.0) ** 4
    wish = 2.0 + max(speed * 1.2 + speed * closing_speed / (2.0 * np.sqrt(1.5 * 2.0)), 0.0)
    return max(1.5 * (1.0 - free - (wish / max(gap, 0.1)) ** 2), -4.0)


@numba.njit(error_model="numpy")
def brisk(speed, gap, closing_speed):  # type: ignore[no-untyped-def]
    """Follow at 1.1 s by a linear law with strong gains, braking at 4.5 m/s² at most."""
    if np.isinf(gap):
        return 0.4 * (28.0 - speed)
    return max(min(0.3 * (gap - 3.0 - 1.1 * speed) - 1.0 * closing_speed, 1.0), -4.5)


@numba.njit(error_model="numpy")
def sluggish(speed, gap, closing_speed):  # type: ignore[no-untyped-def]
    """Follow at 1.4 s by a linear law with weak gains, braking at 3.5 m/s² at most."""
    if np.isinf(gap):
        return 0.4 * (27.0 - speed)
    return max(min(0.12 * (gap - 3.0 - 1.4 * speed) - 0.45 * closing_speed, 1.0), -3.5)


#: Drivers near the surrogates ("attentive", "brisk") and far from all of them ("sluggish").
DRIVERS = MappingProxyType({"attentive": attentive, "brisk": brisk, "sluggish": sluggish})


def compiled_where_possible(driver: Driver) -> Driver:
    """Compile a plain Python driver with Numba, if it then does the same.

    Only functions of their arguments, of numbers and of `math` and `numpy` are: what they refer
    to can then not change under way.
    """
    code = getattr(driver, "__code__", None)
    if hasattr(driver, "py_func") or code is None or "random" in code.co_names:
        return driver
    used: list[Any] = [
        driver.__globals__[name] for name in code.co_names if name in driver.__globals__
    ]
    used += [cell.cell_contents for cell in driver.__closure__ or ()]
    if not all(
        isinstance(thing, int | float) or thing in (math, np) or hasattr(thing, "py_func")
        for thing in used
    ):
        return driver
    compiled: Driver = numba.njit(driver)
    rng = np.random.default_rng(0)
    speed, gap, closing = rng.random((3, 200)) * np.array([[35.0], [80.0], [30.0]])
    gap[::5] = np.inf
    closing = np.where(np.isinf(gap), 0.0, closing - 12.0)
    try:
        for v, g, c in zip(speed.tolist(), gap.tolist(), closing.tolist(), strict=True):
            plain, fast = driver(v, g, c), compiled(v, g, c)
            if not np.isclose(plain, fast, rtol=1e-9, atol=1e-9, equal_nan=True):
                return driver
    except Exception:  # whatever is wrong shows when a scenario runs it
        return driver
    return compiled


def load_driver(path: str) -> tuple[Driver, str]:
    """Load ``file.py:function``, or a driver of `DRIVERS` by name.

    Returns
    -------
    driver : callable
    version : str
        Name and digest of the file's content, which the log keeps.

    Examples
    --------
    >>> from mcvar.safety.overtaking import load_driver
    >>> driver, version = load_driver("attentive")
    >>> version, bool(driver(25.0, 10.0, 5.0) < 0)     # it brakes when a gap of 10 m closes
    ('attentive', True)
    """
    if path in DRIVERS:
        return DRIVERS[path], path
    file, colon, name = path.rpartition(":")
    if not (colon and file and name):
        raise ValueError(
            f"expected path/to/file.py:function or one of {', '.join(DRIVERS)}, got {path!r}."
        )
    source = Path(file)
    if not source.is_file():
        raise ValueError(f"there is no file {file!r}; expected path/to/file.py:function.")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    module_name = f"mcvar_driver_{digest}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(source.resolve().parent))  # for what the file imports itself
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ValueError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
        finally:
            sys.path.pop(0)
        sys.modules[module_name] = module
    driver = getattr(sys.modules[module_name], name, None)
    if not callable(driver):
        named = vars(sys.modules[module_name]).items()
        functions = [n for n, value in named if n[0] != "_" and inspect.isroutine(value)]
        raise ValueError(
            f"{file} has no function {name!r}; it has {', '.join(functions) or 'none'}."
        )
    return driver, f"{name}@{digest}"
