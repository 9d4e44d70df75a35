"""Driver models: functions (speed, gap, closing speed) -> acceleration, in SI units."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numba
import numpy as np

#: ``driver(speed, gap, closing_speed) -> acceleration``; `gap` is infinite without a leader, and
#: the closing speed, positive when the gap shrinks, is then 0.
Driver: TypeAlias = Callable[[float, float, float], float]


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


def load_driver(path: str) -> tuple[Driver, str]:
    """Load ``file.py:function``, or a driver of `DRIVERS` by name.

    Returns
    -------
    driver : callable
    version : str
        Name and digest of the file's content, which the log keeps.
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
        raise ValueError(f"there is no file {file!r}.")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    module_name = f"mcvar_driver_{digest}"
    if module_name not in sys.modules:
        spec = importlib.util.spec_from_file_location(module_name, source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[module_name] = module
    driver = getattr(sys.modules[module_name], name, None)
    if not callable(driver):
        raise ValueError(f"{file} has no function {name!r}.")
    return driver, f"{name}@{digest}"
