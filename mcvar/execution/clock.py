"""The time that a run was given, from its first task on."""

import contextlib
import sys
import time
from collections.abc import Iterator


class OutOfTimeError(Exception):
    """The time that a run was given is over."""


class Clock:
    """Time since the first task began, and since the run was opened.

    Parameters
    ----------
    max_seconds : float, optional
        Time allowed from the first call of `check` on. Compiling does not count.
    """

    def __init__(self, max_seconds: float | None) -> None:
        # Monotonic: the clock on the wall may jump.
        self._opened = time.monotonic()
        self._deadline: float | None = None
        self.max_seconds = max_seconds

    @property
    def seconds(self) -> float:
        """Time since the clock was made."""
        return time.monotonic() - self._opened

    @property
    def awaits_start(self) -> bool:
        """Whether there is a limit and `check` was not called yet."""
        return self.max_seconds is not None and self._deadline is None

    def check(self) -> None:
        """Raise OutOfTimeError once the time is over; the first call starts it."""
        if self.max_seconds is None:
            return
        if self._deadline is None:
            self._deadline = time.monotonic() + self.max_seconds
        if time.monotonic() >= self._deadline:
            raise OutOfTimeError

    @contextlib.contextmanager
    def compilation_excluded(self) -> Iterator[None]:
        """Extend the time by what Numba spends on compiling within the block."""
        if self._deadline is None or "numba" not in sys.modules:
            yield
            return
        from numba.core import event

        with event.install_timer("numba:compile", self._extend):
            yield

    def _extend(self, seconds: float) -> None:
        assert self._deadline is not None
        self._deadline += seconds
