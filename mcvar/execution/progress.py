"""What a checkpoint says of its run, without disturbing it."""

import contextlib
import math
from dataclasses import dataclass
from typing import Any

from mcvar.exceptions import CheckpointError
from mcvar.execution.checkpoint import CHECKPOINT, read_meta, read_run
from mcvar.execution.files import resolved
from mcvar.execution.lock import is_locked
from mcvar.execution.recovery import sound_run
from mcvar.execution.store import Store, digest


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
        No such file, no checkpoint of mcvar, or a damaged one.
    """
    place = resolved(path, "checkpoint", CheckpointError)
    if not place.exists():
        raise CheckpointError(f"there is no checkpoint {path}.")
    store = Store(place, CHECKPOINT, f"checkpoint {path}")
    try:
        key, about = read_run(store)
        now = read_meta(store, "now") or {}
        if not _is_state(now):
            raise store.damaged("its row 'now' does not say how far the run is")
        tasks = damaged = 0
        with store.explained("reading"):
            for *row, kept in store.database.execute("SELECT * FROM task"):
                tasks += 1
                damaged += kept != digest(key, "task", *row)
    finally:
        store.close()
    return Progress(about, now, tasks, damaged, is_locked(place))


def stored_about(path: Any) -> dict[str, Any] | None:
    """Return what the run in this file said of itself, or None where there is no such file.

    Raises
    ------
    CheckpointError
        No checkpoint of mcvar, or a damaged one.
    """
    place = resolved(path, "checkpoint", CheckpointError)
    if not place.exists() or place.stat().st_size == 0:
        return None
    try:
        with contextlib.closing(
            Store(place, CHECKPOINT, f"checkpoint {path}", create=True)
        ) as store:
            return None if store.is_new else read_run(store)[1]
    except CheckpointError:
        run = sound_run(place)  # of a file that is about to be recovered
        if run is None:
            raise
        return run[1]


def _is_state(now: dict[str, Any]) -> bool:
    """Whether numbers are numbers, and texts texts."""
    numbers = [now.get(name) for name in ("done", "planned", "seconds", "n")]
    pairs = now.get("value") or [], now.get("standard_error") or []
    return (
        all(value is None or (_is_number(value) and value >= 0) for value in numbers)
        and all(isinstance(pair, list) and all(map(_is_float, pair)) for pair in pairs)
        and len(pairs[0]) == len(pairs[1])
        and isinstance(now.get("state", ""), str)
        and isinstance(now.get("reasons", []), list)
        and all(isinstance(reason, str) for reason in now.get("reasons", []))
    )


def _is_float(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_float(value) and math.isfinite(value)
