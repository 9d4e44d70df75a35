"""Exceptions raised in workers, in a form in which they reach the process that waits for them.

An executor that pickles an exception breaks down where it does not unpickle, and hands on a
SystemExit as if it were its caller's own. Worker processes therefore return a failure as a value.
"""

import pickle
import traceback
from typing import NamedTuple, Self

from mcvar.execution import executors


class Failure(NamedTuple):
    """An exception raised in a worker process.

    Attributes
    ----------
    pickled : bytes
        The exception; empty where it does not pickle.
    name, text, traceback : str
        Its type, what it says, and where it was raised.
    """

    pickled: bytes
    name: str
    text: str
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Return the failure that an exception is."""
        try:
            pickled = executors.dump(error)
        except Exception:
            pickled = b""
        trace = "".join(traceback.format_exception(error))
        return cls(pickled, type(error).__qualname__, _text(error), trace)

    def exception(self) -> Exception:
        """Return the exception itself, or a RuntimeError in place of one that does not unpickle.

        Its cause holds the traceback in the worker, as text.
        """
        error: object = None
        if self.pickled:
            try:
                error = pickle.loads(self.pickled)
            except Exception:
                error = None
        if not isinstance(error, Exception):
            error = RuntimeError(f"{self.name} in a worker process: {self.text or 'no message'}")
        error.__cause__ = WorkerTraceback(self.traceback)
        return error


class WorkerTraceback(Exception):
    """The traceback of an exception in a worker process, as text."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


def as_exception(error: BaseException) -> BaseException:
    """Return what to raise here for an exception of a worker.

    A SystemExit there must not end this program; a KeyboardInterrupt is Ctrl-C here too.
    """
    if isinstance(error, Exception | KeyboardInterrupt):
        return error
    substitute = RuntimeError(f"{type(error).__qualname__} in a worker: {_text(error)}")
    substitute.__cause__ = error
    return substitute


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be formatted)"
