"""What a checkpoint says of its run, without disturbing it."""

import contextlib
from dataclasses import dataclass
from typing import Any

from mcvar.exceptions import CheckpointError
from mcvar.execution.database import (
    ERRORS,
    as_path,
    connect,
    digest,
    is_empty,
    is_locked,
    read_meta,
)


@dataclass(frozen=True)
class Progress:
    """What a checkpoint says of its run.

    Attributes
    ----------
    about : dict
        What is estimated, as the run described it.
    now : dict
        Evaluations done and planned, the estimate as last looked at, seconds spent.
    tasks : int
        Rows on disk.
    damaged : int
        Rows whose digest does not hold.
    running : bool
        Whether a process has the run open.
    """

    about: dict[str, Any]
    now: dict[str, Any]
    tasks: int
    damaged: int
    running: bool


def read_progress(path: Any) -> Progress:
    """Return what a checkpoint says of its run, without disturbing it.

    Raises
    ------
    CheckpointError
        No such file, or no checkpoint of mcvar.
    """
    place = as_path(path)
    if not place.is_file():
        raise CheckpointError(f"there is no checkpoint {place}.")
    try:
        with contextlib.closing(connect(place)) as database:
            database.execute("PRAGMA query_only = 1")
            stored, now = read_meta(database, "run"), read_meta(database, "now")
            tasks = damaged = 0
            for *row, kept in database.execute("SELECT * FROM task"):
                tasks += 1
                damaged += kept != digest(row[0], tuple(row[1:4]), row[4])
    except ERRORS as error:
        raise CheckpointError(f"{place} cannot be read as a checkpoint: {error}.") from error
    if stored is None:
        raise CheckpointError(f"{place} is no checkpoint of mcvar.")
    return Progress(stored["about"], now or {}, tasks, damaged, is_locked(place))


def stored_about(path: Any) -> dict[str, Any] | None:
    """Return what the run in this file said of itself, or None where there is no such file."""
    place = as_path(path)
    if place.is_dir() or is_empty(place):
        return None
    with contextlib.suppress(*ERRORS), contextlib.closing(connect(place)) as database:
        stored = read_meta(database, "run")
        return None if stored is None else stored["about"]
    return None
