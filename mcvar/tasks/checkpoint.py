"""A run on disk: one hashed row for each finished task, in an SQLite file.

The file is in WAL mode with ``synchronous=FULL``: what was committed survives a crash of the
process or of the machine. A row is used only if its digest holds, so that a torn or damaged file
costs the rows it lost and nothing else; damaged files are put aside, never written to.
"""

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcvar.exceptions import CheckpointError
from mcvar.tasks.codec import Arrays, decode, encode

_FORMAT = 1
_APPLICATION = 0x6D637672  # "mcvr", in the header of the file
_MARK = "PRAGMA application_id = 0x6D637672"
_COMMITS_SHARE = 50  # one part in so many of the time goes into waiting for the disk
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS task (
    context TEXT NOT NULL, replicate INTEGER NOT NULL, start INTEGER NOT NULL,
    count INTEGER NOT NULL, result BLOB NOT NULL, digest BLOB NOT NULL,
    PRIMARY KEY (context, replicate, start, count)
);
"""
_FILES = ("", "-wal", "-shm")  # of one SQLite database
_SCANS = ("SELECT * FROM task ORDER BY rowid ASC", "SELECT * FROM task ORDER BY rowid DESC")
_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # the latter where damage is in SQLite's own words
_OUTSIDE = {  # what goes wrong around a file, not in it
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
_logger = logging.getLogger("mcvar")


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
        self.path = _as_path(path)
        self.recovered = 0  # sound rows taken over from a damaged file
        if self.path.is_dir():
            raise CheckpointError(f"checkpoint {self.path} is a directory; expected a file name.")
        self._committed, self._cost, self._dirty = time.monotonic(), 0.0, False
        self._lock = _lock(self.path)
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
        if row[1] != _digest(context, place, row[0]):
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
                (context, *place, result, _digest(context, place, result)),
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
                with contextlib.suppress(*_ERRORS):
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
        except _ERRORS as error:
            self._dirty = False
            raise CheckpointError(
                f"checkpoint {self.path} could not be {verb}: {error}. What was finished before "
                "is kept; free space or mend the file system, and call again."
            ) from error

    def _open(self) -> sqlite3.Connection:
        if _is_empty(self.path):
            return self._create(self.path)
        try:
            database = _connect(self.path)
            (application,) = database.execute("PRAGMA application_id").fetchone()
            empty = database.execute("SELECT 1 FROM sqlite_master").fetchone() is None
            ours = application == _APPLICATION or empty  # whoever made it may have died early
            if ours and database.execute("PRAGMA quick_check").fetchall() == [("ok",)]:
                with self._told("opened for writing"):
                    _configure(database)
                return database
            database.close()
        except _ERRORS as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _OUTSIDE:
                raise CheckpointError(
                    f"checkpoint {self.path} cannot be opened: {error}."
                ) from error
        return self._recover()

    def _create(self, path: Path) -> sqlite3.Connection:
        try:
            database = _connect(path)
            _configure(database)
        except _ERRORS as error:
            raise CheckpointError(f"checkpoint {path} cannot be created: {error}.") from error
        return database

    def _recover(self) -> sqlite3.Connection:
        """Put the damaged file aside, and its sound rows into a new one."""
        meta, tasks = _sound_rows(self.path)
        if not meta:
            raise CheckpointError(
                f"{self.path} is no checkpoint, or nothing in it can be read any more: it is left "
                "as it is. Move it away to start afresh."
            )
        fresh = Path(f"{self.path}.recovered")
        for suffix in _FILES:
            Path(f"{fresh}{suffix}").unlink(missing_ok=True)
        database = self._create(fresh)
        with self._told("recovered"):
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", meta)
            database.executemany("INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?, ?)", tasks)
            database.execute("COMMIT")
        database.close()
        aside = _unused(self.path)
        for suffix in _FILES:
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self.path}{suffix}", f"{aside}{suffix}")
        os.replace(fresh, self.path)
        database = _connect(self.path)
        _configure(database)
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
            stored = _read_meta(self._database, "run")
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
            (name, text, _digest(name, (0, 0, 0), text.encode())),
        )


def stored_about(path: Any) -> dict[str, Any] | None:
    """Return what the run in this file said of itself, or None where there is no such file."""
    place = _as_path(path)
    if place.is_dir() or _is_empty(place):
        return None
    with contextlib.suppress(*_ERRORS), contextlib.closing(_connect(place)) as database:
        stored = _read_meta(database, "run")
        return None if stored is None else stored["about"]
    return None


def read_progress(path: Any) -> Progress:
    """Return what a checkpoint says of its run, without disturbing it.

    Raises
    ------
    CheckpointError
        No such file, or no checkpoint of mcvar.
    """
    place = _as_path(path)
    if not place.is_file():
        raise CheckpointError(f"there is no checkpoint {place}.")
    try:
        with contextlib.closing(_connect(place)) as database:
            database.execute("PRAGMA query_only = 1")
            stored, now = _read_meta(database, "run"), _read_meta(database, "now")
            tasks = damaged = 0
            for *row, digest in database.execute("SELECT * FROM task"):
                tasks += 1
                damaged += digest != _digest(row[0], tuple(row[1:4]), row[4])
    except _ERRORS as error:
        raise CheckpointError(f"{place} cannot be read as a checkpoint: {error}.") from error
    if stored is None:
        raise CheckpointError(f"{place} is no checkpoint of mcvar.")
    return Progress(stored["about"], now or {}, tasks, damaged, _is_locked(place))


def _as_path(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"checkpoint must be the path of a file, got {path!r}.")
    return Path(path)


def _connect(path: Path) -> sqlite3.Connection:
    # Not as a URI: a name with "?" or "%" is a name.
    database = sqlite3.connect(path, isolation_level=None, timeout=10.0, check_same_thread=False)
    database.text_factory = lambda text: text.decode(errors="replace")
    return database


def _configure(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(_SCHEMA)
    database.execute(_MARK)


def _is_empty(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


def _read_meta(database: sqlite3.Connection, name: str) -> dict[str, Any] | None:
    present = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
    if present is None:
        return None
    row = database.execute("SELECT value, digest FROM meta WHERE name = ?", (name,)).fetchone()
    if row is None or row[1] != _digest(name, (0, 0, 0), row[0].encode()):
        return None
    value: dict[str, Any] = json.loads(row[0])
    return value


def _digest(context: str, place: tuple[int, ...], result: bytes) -> bytes:
    head = json.dumps([context, *place]).encode()
    return hashlib.sha256(head + b"\n" + result).digest()


def _sound_rows(path: Path) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Read what can be read of a damaged file, row by row."""
    meta: list[tuple[Any, ...]] = []
    tasks: list[tuple[Any, ...]] = []
    with contextlib.suppress(*_ERRORS), contextlib.closing(_connect(path)) as database:
        for name in ("run", "now"):
            with contextlib.suppress(*_ERRORS, AttributeError, ValueError, TypeError):
                row = database.execute("SELECT * FROM meta WHERE name = ?", (name,)).fetchone()
                if row is not None and row[2] == _digest(name, (0, 0, 0), row[1].encode()):
                    meta.append(row)
        # A broken page ends a scan: scans from both ends, and then by number, get around it.
        found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for scan in _SCANS:
            with contextlib.suppress(*_ERRORS):
                for row in database.execute(scan):
                    found[row[:4]] = row
        for number in range(1, _most_rows(path)):
            with contextlib.suppress(*_ERRORS):
                row = database.execute("SELECT * FROM task WHERE rowid = ?", (number,)).fetchone()
                if row is not None:
                    found[row[:4]] = row
        for row in found.values():
            with contextlib.suppress(TypeError, ValueError):
                if row[5] == _digest(row[0], row[1:4], row[4]):
                    tasks.append(row)
    return meta, tasks


def _most_rows(path: Path) -> int:
    return path.stat().st_size // 100 + 1000


def _unused(path: Path) -> str:
    number = 1
    while os.path.exists(f"{path}.damaged-{number}"):
        number += 1
    return f"{path}.damaged-{number}"


def _lock(path: Path) -> sqlite3.Connection:
    """Take the run: a lock that the operating system gives back when its holder dies.

    SQLite's own lock on a second file, so that readers of the first are not kept out.
    """
    lock = None
    try:
        lock = sqlite3.connect(f"{path}.lock", isolation_level=None, timeout=0.0)
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if lock is not None:
            lock.close()
        if "locked" in str(error):
            raise CheckpointError(
                f"checkpoint {path} is in use by another run; wait for it, or use another file."
            ) from error
        raise CheckpointError(f"checkpoint {path} cannot be written: {error}.") from error
    return lock


def _is_locked(path: Path) -> bool:
    if not os.path.exists(f"{path}.lock"):
        return False
    try:
        _lock(path).close()
    except CheckpointError:
        return True
    return False
