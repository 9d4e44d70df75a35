"""Names of simulators, surrogates and drivers that change when what they do changes."""

import hashlib
import platform
from types import CodeType
from typing import Any

import numpy as np

from mcvar._version import __version__


def identity(thing: Any) -> str:
    """Return the `version` of an object, or its name and a digest of its bytecode.

    Examples
    --------
    >>> class Simulator:
    ...     version = "crossing 2.1"
    >>> identity(Simulator())
    'crossing 2.1'
    >>> identity(lambda x: x + 1) == identity(lambda x: x + 2)
    False
    """
    version = getattr(thing, "version", None)
    if version is not None:
        return str(version)
    function = getattr(thing, "py_func", thing)
    code = getattr(function, "__code__", None)
    if code is None:
        # An object is what its class does when called, or stepped.
        kind = type(thing)
        codes = [
            method.__code__
            for name in ("__call__", "reset", "step", "batch")
            if (method := getattr(kind, name, None)) is not None and hasattr(method, "__code__")
        ]
        return f"{kind.__qualname__}{_digest(*codes) if codes else ''}"
    bound = [cell.cell_contents for cell in function.__closure__ or () if _is_plain(cell)]
    return f"{function.__qualname__}{_digest(code, function.__defaults__, bound)}"


def _is_plain(cell: Any) -> bool:
    try:
        return isinstance(cell.cell_contents, int | float | str | bool | tuple | None)
    except ValueError:  # not yet bound
        return False


def _digest(*parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(_code(part) if isinstance(part, CodeType) else repr(part).encode())
    return f"@{digest.hexdigest()[:12]}"


def _code(code: CodeType) -> bytes:
    """Bytecode and constants, those of nested functions included."""
    constants = [
        _code(constant) if isinstance(constant, CodeType) else repr(constant).encode()
        for constant in code.co_consts
    ]
    return b"".join([code.co_code, repr(code.co_names).encode(), *constants])


def versions() -> dict[str, str]:
    """Versions of everything that could change a bit of a result."""
    import numba

    return {
        "mcvar": __version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
