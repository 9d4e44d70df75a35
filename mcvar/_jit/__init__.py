"""Numba kernels. Files here never import one another: a cached kernel would not see the edit."""

import contextlib
from collections.abc import Callable
from typing import Any

import numba


def kernel(**options: Any) -> Callable[[Any], Any]:
    """Return a decorator that compiles a function when it is called, by ``numba.njit(**options)``.

    Machine code is kept in Numba's cache on disk where there is a place for it: the directory
    NUMBA_CACHE_DIR, beside the sources, or in the user's home. Without one, or where the cache is
    damaged or the disk full, it is compiled in every process anew.
    """

    def compiled(function: Any) -> Any:
        dispatcher = numba.njit(error_model="numpy", **options)(function)
        with contextlib.suppress(RuntimeError):  # no directory that can be written
            dispatcher.enable_caching()
            dispatcher._cache = _Lenient(dispatcher._cache)
        return dispatcher

    return compiled


class _Lenient:
    """Numba's cache of one function, whose failures cost time and nothing else."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return compiled code, or None where there is none that can be read."""
        try:
            return self._cache.load_overload(signature, context)
        except Exception:  # unpickling what is damaged may raise anything
            with contextlib.suppress(Exception):
                self._cache.flush()
            return None

    def save_overload(self, signature: Any, code: Any) -> None:
        """Keep compiled code, if that is possible."""
        with contextlib.suppress(OSError, EOFError, RuntimeError):
            self._cache.save_overload(signature, code)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)
