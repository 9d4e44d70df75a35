"""The SQLite file of a checkpoint: how it is opened, told from others, read, mended and locked.

In WAL mode with ``synchronous=FULL`` what was committed survives a crash of the process or of the
machine. Every row carries a digest of its place and content.
"""

import contextlib
import hashlib
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from mcvar.exceptions import CheckpointError

APPLICATION = 0x6D637672  # "mcvr", in the header of the file
_MARK = "PRAGMA application_id = 0x6D637672"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS task (
    context TEXT NOT NULL, replicate INTEGER NOT NULL, start INTEGER NOT NULL,
    count INTEGER NOT NULL, result BLOB NOT NULL, digest BLOB NOT NULL,
    PRIMARY KEY (context, replicate, start, count)
);
"""
FILES = ("", "-wal", "-shm")  # of one SQLite database
_SCANS = ("SELECT * FROM task ORDER BY rowid ASC", "SELECT * FROM task ORDER BY rowid DESC")
ERRORS = (sqlite3.Error, UnicodeDecodeError)  # the latter where damage is in SQLite's own words
OUTSIDE = {  # what goes wrong around a file, not in it
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


def as_path(path: Any) -> Path:
    """Return the path that a user gave; TypeError where it is none."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"checkpoint must be the path of a file, got {path!r}.")
    return Path(path)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, with damaged text read as far as it goes."""
    # Not as a URI: a name with "?" or "%" is a name.
    database = sqlite3.connect(path, isolation_level=None, timeout=10.0, check_same_thread=False)
    database.text_factory = lambda text: text.decode(errors="replace")
    return database


def configure(database: sqlite3.Connection) -> None:
    """Make the file a checkpoint, if it is not one yet, that survives crashes."""
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(_SCHEMA)
    database.execute(_MARK)


def is_empty(path: Path) -> bool:
    """Whether nothing was ever written there."""
    return not path.exists() or path.stat().st_size == 0


def read_meta(database: sqlite3.Connection, name: str) -> dict[str, Any] | None:
    """Return what is stored under a name, if it is sound."""
    present = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
    if present is None:
        return None
    row = database.execute("SELECT value, digest FROM meta WHERE name = ?", (name,)).fetchone()
    if row is None or row[1] != digest(name, (0, 0, 0), row[0].encode()):
        return None
    value: dict[str, Any] = json.loads(row[0])
    return value


def digest(context: str, place: tuple[int, ...], result: bytes) -> bytes:
    """Return the digest of a row: of its place and its content."""
    head = json.dumps([context, *place]).encode()
    return hashlib.sha256(head + b"\n" + result).digest()


def sound_rows(path: Path) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Read what can be read of a damaged file, row by row."""
    meta: list[tuple[Any, ...]] = []
    tasks: list[tuple[Any, ...]] = []
    with contextlib.suppress(*ERRORS), contextlib.closing(connect(path)) as database:
        for name in ("run", "now"):
            with contextlib.suppress(*ERRORS, AttributeError, ValueError, TypeError):
                row = database.execute("SELECT * FROM meta WHERE name = ?", (name,)).fetchone()
                if row is not None and row[2] == digest(name, (0, 0, 0), row[1].encode()):
                    meta.append(row)
        # A broken page ends a scan: scans from both ends, and then by number, get around it.
        found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for scan in _SCANS:
            with contextlib.suppress(*ERRORS):
                for row in database.execute(scan):
                    found[row[:4]] = row
        for number in range(1, _most_rows(path)):
            with contextlib.suppress(*ERRORS):
                row = database.execute("SELECT * FROM task WHERE rowid = ?", (number,)).fetchone()
                if row is not None:
                    found[row[:4]] = row
        for row in found.values():
            with contextlib.suppress(TypeError, ValueError):
                if row[5] == digest(row[0], row[1:4], row[4]):
                    tasks.append(row)
    return meta, tasks


def _most_rows(path: Path) -> int:
    return path.stat().st_size // 100 + 1000


def unused(path: Path) -> str:
    """Return a name for a damaged file that no other has."""
    number = 1
    while os.path.exists(f"{path}.damaged-{number}"):
        number += 1
    return f"{path}.damaged-{number}"


def lock(path: Path) -> sqlite3.Connection:
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


def is_locked(path: Path) -> bool:
    """Whether a process has the run open."""
    if not os.path.exists(f"{path}.lock"):
        return False
    try:
        lock(path).close()
    except CheckpointError:
        return True
    return False
