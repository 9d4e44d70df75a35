"""Paths that users give, and outputs that replace a former file whole or not at all."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def resolved(path: Any, what: str, error: type[Exception]) -> Path:
    """Return the absolute path of a file, links followed.

    Raises
    ------
    TypeError
        No path at all.
    Exception
        Of the given type: a directory, a device, a pipe, a loop of links, a name too long.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{what} must be the path of a file, got {path!r}.")
    try:
        # In full: SQLite has meanings of its own for ":memory:", "" and "file:...".
        place = Path(path).resolve()
        mode = place.stat().st_mode if place.exists() else stat.S_IFREG
        if place.is_symlink():  # though links were followed
            raise OSError("its links make a loop")
    except (OSError, ValueError, RuntimeError) as reason:
        raise error(f"{what} {str(path)!r} is no usable path: {reason}.") from reason
    if stat.S_ISDIR(mode):
        raise error(f"{what} {path} is a directory; expected a file name.")
    if not stat.S_ISREG(mode):
        raise error(f"{what} {path} is not a regular file; expected one.")
    return place


@contextlib.contextmanager
def replacing(path: Any, *inputs: Any) -> Iterator[Path]:
    """Yield the path of a new file that takes the place of `path` once the block has succeeded.

    Where the block raises, `path` is what it was before. Links are followed, and permissions of a
    former file are kept; devices and pipes are written to directly.

    Raises
    ------
    ValueError
        An output that is one of the `inputs`, also by another name.
    OSError
        A directory that cannot be written to.
    """
    place = Path(path).resolve()
    for given in inputs:
        if place.exists() and Path(given).exists() and place.samefile(given):
            raise ValueError(
                f"the output {str(path)!r} is the input {str(given)!r}; expected another file name."
            )
    if place.exists() and not place.is_file():
        if place.is_dir():
            raise IsADirectoryError(f"{str(path)!r} is a directory; expected a file name.")
        yield place
        return
    fresh = new_file_like(place)
    try:
        yield fresh
        with fresh.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(fresh, place)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def new_file_like(place: Path) -> Path:
    """Make an empty file of a name that no other has, beside `place` and with its permissions."""
    try:
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:60]}.")
    except OSError as error:
        raise type(error)(error.errno, f"{place} cannot be written: {error.strerror}") from error
    os.close(handle)
    fresh = Path(name)
    mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else 0o666 & ~_umask()
    with contextlib.suppress(OSError):  # file systems without permissions
        fresh.chmod(mode)
    return fresh


def _umask() -> int:
    """The mask of permissions that new files do not get, found without changing it."""
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
