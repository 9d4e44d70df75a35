"""A run on disk: one row for each finished task, in an SQLite file.

A row is used only if its digest holds: a damaged one is computed again. The row that says which
problem the file belongs to is needed, and its loss is an error. What was committed survives a
crash of the process or of the machine.
"""

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcvar.exceptions import CheckpointError
from mcvar.execution import recovery
from mcvar.execution.codec import Arrays, decode, encode
from mcvar.execution.files import resolved
from mcvar.execution.store import Format, Store, digest, parsed, take

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL)

CREATE TABLE task (
    context TEXT NOT NULL, replicate INTEGER NOT NULL, start INTEGER NOT NULL,
    count INTEGER NOT NULL, result BLOB NOT NULL, digest BLOB NOT NULL,
    PRIMARY KEY (context, replicate, start, count)
)
"""
CHECKPOINT = Format(
    noun="checkpoint",
    application=0x6D637672,  # "mcvr"
    number=2,
    schema=_SCHEMA,
    journal="WAL",
    error=CheckpointError,
    outside=CheckpointError,
    in_use="is in use by another run; wait for it, or use another file.",
    remedy=(
        "It is left as it is. Move it away to start afresh, or take over what can be read: "
        "python -m mcvar recover FILE."
    ),
)
_COMMITS_SHARE = 50  # one part in so many of the time goes into waiting for the disk
_logger = logging.getLogger("mcvar")


class Checkpoint:
    """The results of one run, kept in a file.

    Parameters
    ----------
    path : str or path-like
        Created where it does not exist.
    key : str
        Digest of the problem; a file with another one is refused.
    about : dict
        What the run is, in plain data; what the first run wrote is kept.

    Raises
    ------
    CheckpointError
        Another problem, another format, a file that is no checkpoint or is damaged, a directory
        that cannot be written, a full disk, or a run that another process has open.
    """

    def __init__(self, path: Any, key: str, about: dict[str, Any]) -> None:
        self._place = resolved(path, "checkpoint", CheckpointError)
        self.path, self._named = Path(path), f"checkpoint {path}"
        self.recovered = 0  # sound rows taken over from a damaged file
        self._key = key
        self._committed, self._cost, self._dirty = time.monotonic(), 0.0, False
        lock = take(self._place, CHECKPOINT, self._named)
        try:
            self._store = self._open(about)
        except BaseException:
            lock.release()
            raise
        self._lock = lock
        try:
            self.about = self._agree(about)
        except BaseException:
            self.close()
            raise

    def get(self, context: str, place: tuple[int, int, int]) -> dict[str, Any] | None:
        """Return the arrays of a task, or None where the file has none that are sound.

        Raises
        ------
        CheckpointError
            A sound row that is no result of a task.
        """
        with self._store.explained("reading"):
            row = self._store.database.execute(
                "SELECT result, digest FROM task"
                " WHERE context = ? AND replicate = ? AND start = ? AND count = ?",
                (context, *place),
            ).fetchone()
        if row is None:
            return None
        if row[1] != digest(self._key, "task", context, *place, row[0]):
            _logger.warning("checkpoint %s: damaged row %s is computed again", self.path, place)
            return None
        with self.reading(place):
            return decode(row[0])

    @contextlib.contextmanager
    def reading(self, place: tuple[int, int, int]) -> Iterator[None]:
        """Errors of whatever reads a result become CheckpointError."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise self._store.damaged(
                f"the row {tuple(place)} is sound, and no result: {type(error).__name__}: {error}"
            ) from error

    def put(self, context: str, place: tuple[int, int, int], arrays: Arrays) -> None:
        """Keep the arrays of a task."""
        result = encode(arrays)
        kept = digest(self._key, "task", context, *place, result)
        with self._writing():
            self._begin()
            self._store.database.execute(
                "INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?, ?)",
                (context, *place, result, kept),
            )
        self.settle()

    def report(self, **now: Any) -> None:
        """Keep what `status` shows."""
        with self._writing():
            self._begin()
            write_meta(self._store, "now", now)
        self.settle()

    def settle(self, *, now: bool = False) -> None:
        """Commit what is waiting: now, or if the last commit was long ago for what it cost.

        Tasks much longer than a commit are committed one by one, shorter ones together.
        """
        waited = time.monotonic() - self._committed
        if self._dirty and (now or waited >= _COMMITS_SHARE * self._cost):
            with self._writing():
                self._commit()

    def close(self) -> None:
        """Commit, and let others have the file."""
        try:
            with self._writing():
                if self._dirty:
                    self._commit()
                self._store.check_present()
            with contextlib.suppress(CheckpointError), self._store.explained("closing"):
                # One file, readable where nothing can be written; a reader may keep it from that.
                self._store.use_journal("DELETE")
        finally:
            self._store.close()
            self._lock.release()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._store.explained("writing"):
            try:
                yield
            except BaseException:
                self._dirty = self._dirty and self._store.database.in_transaction
                raise

    def _begin(self) -> None:
        if not self._dirty:
            self._store.begin()
            self._dirty = True

    def _commit(self) -> None:
        self._dirty = False
        started = time.monotonic()
        self._store.commit()
        self._committed = time.monotonic()
        self._cost = self._committed - started

    def _open(self, about: dict[str, Any]) -> Store:
        if recovery.is_due(self._place):
            self.recovered = recovery.recover(self._place, CHECKPOINT)
        store = Store(self._place, CHECKPOINT, self._named, create=True, write=True)
        try:
            if store.is_new:
                run = {"key": self._key, "about": about}
                store.fill(lambda: write_meta(store, "run", run))
            else:
                with store.explained("opening"):
                    store.use_journal("WAL")
        except BaseException:
            store.close()
            raise
        return store

    def _agree(self, about: dict[str, Any]) -> dict[str, Any]:
        """Refuse another problem; return what the first run said of itself."""
        key, before = read_run(self._store)
        if key != self._key:
            differ = sorted(name for name in about if about[name] != before.get(name))
            what = "; ".join(f"{name} was {before.get(name)!r}" for name in differ) or (
                "its functions, or data that they hold, have changed; objects that count or cache "
                "while they compute leave that out by __getstate__"
            )
            raise CheckpointError(
                f"checkpoint {self.path} belongs to another problem ({what}); use another file, "
                "or remove this one."
            )
        # What later runs read of it has to be what such a run wrote.
        given = json.loads(json.dumps(about))
        wrong = {name for name in given if type(before.get(name)) is not type(given[name])}
        if wrong:
            raise self._store.damaged(f"its run is described without {', '.join(sorted(wrong))}")
        return before


def recover(path: Any) -> int:
    """Put a damaged checkpoint aside, and its sound results into a new one; return their number.

    Raises
    ------
    CheckpointError
        Nothing says any more which problem it belongs to; or a run has it open.
    """
    place, named = resolved(path, "checkpoint", CheckpointError), f"checkpoint {path}"
    if not place.exists():
        raise CheckpointError(f"there is no checkpoint {path}.")
    lock = take(place, CHECKPOINT, named)
    try:
        if recovery.sound_run(place) is None:
            raise CheckpointError(
                f"{named} cannot be recovered: nothing in it says which problem it belongs to."
            )
        return recovery.recover(place, CHECKPOINT)
    finally:
        lock.release()


def write_meta(store: Store, name: str, value: dict[str, Any]) -> None:
    """Keep plain data under a name."""
    text = json.dumps(value)
    store.database.execute(
        "INSERT OR REPLACE INTO meta VALUES (?, ?, ?)",
        (name, text, digest("", "meta", name, text)),
    )


def read_meta(store: Store, name: str) -> dict[str, Any] | None:
    """Return what is kept under a name, or None where nothing is.

    Raises
    ------
    CheckpointError
        A row whose digest does not hold, or that is not plain data.
    """
    with store.explained("reading"):
        row = store.database.execute(
            "SELECT value, digest FROM meta WHERE name = ?", (name,)
        ).fetchone()
    if row is None:
        return None
    if row[1] != digest("", "meta", name, row[0]):
        raise store.damaged(f"the digest of its row {name!r} does not hold")
    try:
        found: dict[str, Any] = parsed(row[0])
    except ValueError as error:
        raise store.damaged(f"its row {name!r}: {error}") from error
    return found


def read_run(store: Store) -> tuple[str, dict[str, Any]]:
    """Return the problem that a checkpoint belongs to, and what its first run said of itself."""
    run = read_meta(store, "run")
    if run is None:
        raise store.damaged("the row that says which problem it belongs to is missing")
    if not (isinstance(run.get("key"), str) and isinstance(run.get("about"), dict)):
        raise store.damaged("its row 'run' has no key, or no description")
    return run["key"], run["about"]
