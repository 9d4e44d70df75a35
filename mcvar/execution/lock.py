"""A lock on a file's right to be written, which the operating system gives back at death."""

import contextlib
import importlib
import os
import threading
import time
from pathlib import Path
from typing import Any

_ATTEMPTS, _PAUSE = 3, 0.02  # a reader that asks who has the lock has it for a moment
_held: dict[str, int] = {}  # lock files of this process, by name; and the process they belong to
_guard = threading.RLock()  # which may be asked for while garbage is collected


class Lock:
    """The right to write a file, held by one process and one object in it.

    It is a lock on a second file, ``<name>.lock``, so that readers are not kept out; that file is
    removed at the end. Links to one file have one lock, as its path is resolved.

    Parameters
    ----------
    place : Path
        Resolved path of what is to be written.

    Raises
    ------
    BlockingIOError
        Somebody else has it.
    OSError
        The lock file cannot be made.
    """

    def __init__(self, place: Path) -> None:
        self._name, self._process = f"{place}.lock", 0
        with _guard:
            if _held.get(self._name) == os.getpid():
                raise BlockingIOError(f"{self._name} is locked")
            self._file = _locked(self._name)
            self._process = _held[self._name] = os.getpid()

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Give the right back."""
        with _guard:
            if self._process != os.getpid():
                return  # released before; or in a child that was forked, whose lock it never was
            self._process = 0
            del _held[self._name]
            with contextlib.suppress(OSError):  # an open file cannot be removed everywhere
                os.unlink(self._name)
            os.close(self._file)


def is_locked(place: Path) -> bool:
    """Whether another process holds the right to write this file."""
    name = f"{place}.lock"
    with _guard:
        if _held.get(name) == os.getpid():
            return True
        try:
            file = os.open(name, os.O_RDONLY)
        except OSError:
            return False
        try:
            return not _try(file, shared=True)
        except OSError:
            return False
        finally:
            os.close(file)


def _locked(name: str) -> int:
    """Return the descriptor of a locked file that still has this name."""
    attempts = 0
    while True:
        file = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            while not _try(file):
                attempts += 1
                if attempts > _ATTEMPTS:
                    raise BlockingIOError(f"{name} is locked")
                time.sleep(_PAUSE)
            # Whoever had it before may have removed it since it was opened here.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(name)):
                    return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _try(file: int, *, shared: bool = False) -> bool:
    try:
        fcntl: Any = importlib.import_module("fcntl")
    except ImportError:
        return _try_on_windows(file)
    try:
        # Not flock, which children that are forked would inherit.
        fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _try_on_windows(file: int) -> bool:
    msvcrt: Any = importlib.import_module("msvcrt")
    try:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True
