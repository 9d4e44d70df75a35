"""How a call may end: a result, or an error that was raised on purpose."""

import linecache
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import mcvar

_HOMES = (Path(mcvar.__file__).parent, Path(__file__).parent)
_DOCUMENTED = (ValueError, TypeError, mcvar.MissingExtraError)
_SECONDS = 60.0  # no example here has more to do than a fraction of that


def outcome(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return what `call` returns, or None where a documented error says what is wrong.

    Anything else fails: another exception, a warning (they are errors in the tests), a call that
    hangs, and an error of the right class that was not raised on purpose, which says what NumPy
    stumbled over rather than what was expected.
    """
    try:
        with _time_limit():
            return call(*arguments, **options)
    except _DOCUMENTED as error:
        _check_is_deliberate(error)
        return None


def _check_is_deliberate(error: Exception) -> None:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    ours = any(home in Path(frame.filename).parents for home in _HOMES)
    if isinstance(error, np.linalg.LinAlgError) or not (ours and line.startswith("raise")):
        raise AssertionError(
            f"{type(error).__name__} was not raised on purpose: {error} "
            f"({frame.filename}:{frame.lineno}: {line})"
        ) from error
    assert str(error).strip(), f"{type(error).__name__} without a message"


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise AssertionError(f"still running after {_SECONDS:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_estimate(est: Any) -> None:
    """Refuse a result with a number that is not finite and a status that does not say so."""
    if est is None:
        return
    repr(est)
    finite = np.isfinite(est.value).all() and np.isfinite(est.standard_error).all()
    assert finite or est.status not in ("completed", "converged"), est
    assert finite or est.reasons, est
    assert np.isfinite(est.value).all() or est.status == "suspect", est
    assert not (np.asarray(est.standard_error) < 0).any(), est
    low, high = est.confidence_interval(0.9)
    assert not finite or (np.asarray(low) <= np.asarray(high)).all(), est


def all_finite(*values: Any) -> None:
    """Refuse NaN and infinity."""
    for value in values:
        assert np.isfinite(value).all(), value
