"""A run on disk: one hashed row for each finished task, in an SQLite file.

A row is used only if its digest holds, so that a torn or damaged file costs the rows it lost and
nothing else; damaged files are put aside, never written to.
"""

import contextlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcvar.exceptions import CheckpointError
from mcvar.execution.codec import Arrays, decode, encode
from mcvar.execution.database import (
    APPLICATION,
    ERRORS,
    FILES,
    OUTSIDE,
    as_path,
    configure,
    connect,
    digest,
    is_empty,
    lock,
    read_meta,
    sound_rows,
    unused,
)

_FORMAT = 1
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
        Another problem, another format, a file that is no checkpoint, a directory that cannot be
        written, a full disk, or a run that another process has open.
    """

    def __init__(self, path: Any, key: str, about: dict[str, Any]) -> None:
        self.path = as_path(path)
        self.recovered = 0  # sound rows taken over from a damaged file
        if self.path.is_dir():
            raise CheckpointError(f"checkpoint {self.path} is a directory; expected a file name.")
        self._committed, self._cost, self._dirty = time.monotonic(), 0.0, False
        self._lock = lock(self.path)
        try:
            self._database = self._open()
            self.about = self._agree(key, about)
        except BaseException:
            self.close()
            raise

    def get(self, context: str, place: tuple[int, int, int]) -> dict[str, Any] | None:
        """Return the arrays of a task, or None where the file has none that are sound."""
        with self._told("read"):
            row = self._database.execute(
                "SELECT result, digest FROM task"
                " WHERE context = ? AND replicate = ? AND start = ? AND count = ?",
                (context, *place),
            ).fetchone()
        if row is None:
            return None
        if row[1] != digest(context, place, row[0]):
            _logger.warning("checkpoint %s: damaged row %s is computed again", self.path, place)
            return None
        return decode(row[0])

    def put(self, context: str, place: tuple[int, int, int], arrays: Arrays) -> None:
        """Keep the arrays of a task."""
        result = encode(arrays)
        with self._told("written"):
            self._begin()
            self._database.execute(
                "INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?, ?)",
                (context, *place, result, digest(context, place, result)),
            )
        self.settle()

    def report(self, **now: Any) -> None:
        """Keep what `status` shows."""
        with self._told("written"):
            self._begin()
            self._write_meta("now", now)
        self.settle()

    def settle(self, *, now: bool = False) -> None:
        """Commit what is waiting: now, or if the last commit was long ago for what it cost.

        Tasks much longer than a commit are committed one by one, shorter ones together.
        """
        waited = time.monotonic() - self._committed
        if self._dirty and (now or waited >= _COMMITS_SHARE * self._cost):
            with self._told("written"):
                self._commit()

    def close(self) -> None:
        """Commit, and let others have the file."""
        database = getattr(self, "_database", None)
        try:
            if database is not None:
                with self._told("written"):
                    if self._dirty:
                        self._commit()
        finally:
            if database is not None:
                with contextlib.suppress(*ERRORS):
                    database.close()
            self._lock.close()

    def _begin(self) -> None:
        if not self._dirty:
            self._database.execute("BEGIN IMMEDIATE")
            self._dirty = True

    def _commit(self) -> None:
        self._dirty = False
        started = time.monotonic()
        self._database.execute("COMMIT")
        self._committed = time.monotonic()
        self._cost = self._committed - started

    @contextlib.contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        try:
            yield
        except ERRORS as error:
            self._dirty = False
            raise CheckpointError(
                f"checkpoint {self.path} could not be {verb}: {error}. What was finished before "
                "is kept; free space or mend the file system, and call again."
            ) from error

    def _open(self) -> sqlite3.Connection:
        if is_empty(self.path):
            return self._create(self.path)
        with contextlib.ExitStack() as unusable:
            try:
                database = connect(self.path)
                unusable.callback(database.close)
                (application,) = database.execute("PRAGMA application_id").fetchone()
                empty = database.execute("SELECT 1 FROM sqlite_master").fetchone() is None
                ours = application == APPLICATION or empty  # whoever made it may have died early
                if ours and database.execute("PRAGMA quick_check").fetchall() == [("ok",)]:
                    with self._told("opened for writing"):
                        configure(database)
                    unusable.pop_all()
                    return database
            except ERRORS as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in OUTSIDE:
                    raise CheckpointError(
                        f"checkpoint {self.path} cannot be opened: {error}."
                    ) from error
        return self._recover()

    def _create(self, path: Path) -> sqlite3.Connection:
        with contextlib.ExitStack() as unusable:
            try:
                database = connect(path)
                unusable.callback(database.close)
                configure(database)
            except ERRORS as error:
                raise CheckpointError(f"checkpoint {path} cannot be created: {error}.") from error
            unusable.pop_all()
        return database

    def _recover(self) -> sqlite3.Connection:
        """Put the damaged file aside, and its sound rows into a new one."""
        meta, tasks = sound_rows(self.path)
        if not meta:
            raise CheckpointError(
                f"{self.path} is no checkpoint, or nothing in it can be read any more: it is left "
                "as it is. Move it away to start afresh."
            )
        fresh = Path(f"{self.path}.recovered")
        for suffix in FILES:
            Path(f"{fresh}{suffix}").unlink(missing_ok=True)
        with (
            contextlib.closing(self._create(fresh)) as database,
            self._told("recovered"),
        ):
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", meta)
            database.executemany("INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?, ?)", tasks)
            database.execute("COMMIT")
        aside = unused(self.path)
        for suffix in FILES:
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
        os.replace(fresh, self.path)
        database = connect(self.path)
        configure(database)
        self.recovered = len(tasks)
        _logger.warning(
            "checkpoint %s was damaged: %d sound results are used; the old file is %s",
            self.path,
            len(tasks),
            aside,
        )
        return database

    def _agree(self, key: str, about: dict[str, Any]) -> dict[str, Any]:
        """Refuse another problem; return what the first run said of itself."""
        with self._told("read"):
            stored = read_meta(self._database, "run")
        if stored is None:
            stored = {"format": _FORMAT, "key": key, "about": about}
            with self._told("written"):
                self._begin()
                self._write_meta("run", stored)
                self._commit()
        if stored["format"] != _FORMAT:
            raise CheckpointError(
                f"checkpoint {self.path} has format {stored['format']}; this version reads "
                f"{_FORMAT}."
            )
        if stored["key"] != key:
            before = stored["about"]
            differ = sorted(name for name in about if about[name] != before.get(name))
            what = "; ".join(f"{name} was {before.get(name)!r}" for name in differ) or (
                "its functions, or data that they hold, have changed; objects that count or cache "
                "while they compute leave that out by __getstate__"
            )
            raise CheckpointError(
                f"checkpoint {self.path} belongs to another problem ({what}); use another file, "
                "or remove this one."
            )
        found: dict[str, Any] = stored["about"]
        return found

    def _write_meta(self, name: str, value: dict[str, Any]) -> None:
        text = json.dumps(value)
        self._database.execute(
            "INSERT OR REPLACE INTO meta VALUES (?, ?, ?)",
            (name, text, digest(name, (0, 0, 0), text.encode())),
        )
