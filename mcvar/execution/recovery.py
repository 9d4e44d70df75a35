"""Taking sound rows of a damaged checkpoint over into a new file."""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcvar.execution.files import new_file_like
from mcvar.execution.store import Format, Store, digest, parsed

_LARGE = 2**27  # bytes beyond which a file is not read through before it is used
_FILES = ("", "-wal", "-shm")  # of one SQLite database
_MOST_ATTEMPTS = 2_000  # pages that cannot be read, after which a scan ends
_AT_ONCE = 200
_ONWARDS = "SELECT rowid, * FROM task WHERE rowid > ? ORDER BY rowid ASC"
_BACKWARDS = "SELECT rowid, * FROM task WHERE rowid < ? AND rowid > ? ORDER BY rowid DESC"
_logger = logging.getLogger("mcvar")


def is_due(place: Path) -> bool:
    """Whether a file of ours is damaged, and not too large for a second's recovery.

    Damage to larger files shows, as an error, where it is read.
    """
    if not place.exists() or not 0 < place.stat().st_size <= _LARGE:
        return False
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
        with contextlib.closing(_connect(place)) as database:
            found = database.execute("PRAGMA quick_check(1)").fetchall()
        return found != [("ok",)]
    return True


def recover(place: Path, layout: Format) -> int:
    """Put a damaged file aside, and its sound rows into a new one; return their number.

    Where the row that says which problem it belongs to is lost, nothing is done: opening the file
    is then an error.
    """
    run = sound_run(place)
    if run is None:
        return 0
    key, _, row = run
    fresh = new_file_like(place)
    count = 0
    try:
        store = Store(fresh, layout, f"checkpoint {place}", create=True, write=True)
        try:
            store.fill(lambda: _insert_meta(store, row))
            with store.explained("recovering"), store.transaction():
                for rows in _sound_tasks(place, key):
                    store.database.executemany(
                        "INSERT OR REPLACE INTO task VALUES (?, ?, ?, ?, ?, ?)", rows
                    )
                count += sum(1 for _ in store.database.execute("SELECT 1 FROM task"))
            with store.explained("recovering"):
                store.use_journal("DELETE")
        finally:
            store.close()
        aside = _unused(place)
        for suffix in _FILES:
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{place}{suffix}", f"{aside}{suffix}")
        os.rename(fresh, place)
    except BaseException:
        for suffix in _FILES:
            Path(f"{fresh}{suffix}").unlink(missing_ok=True)
        raise
    _logger.warning(
        "checkpoint %s was damaged: %d sound results are used; the old file is %s",
        place,
        count,
        aside,
    )
    return count


def _connect(place: Path) -> sqlite3.Connection:
    database = sqlite3.connect(str(place), isolation_level=None, timeout=10.0)
    database.execute("PRAGMA trusted_schema = OFF")
    return database


def _insert_meta(store: Store, row: tuple[Any, ...]) -> None:
    store.database.execute("INSERT INTO meta VALUES (?, ?, ?)", row)


def _is_ours(database: sqlite3.Connection) -> bool:
    """Whether meta and task are tables, rather than foreign views."""
    rows = database.execute(
        "SELECT name, type FROM sqlite_master WHERE name IN ('meta', 'task') LIMIT 3"
    ).fetchall()
    return sorted(rows) == [("meta", "table"), ("task", "table")]


def sound_run(place: Path) -> tuple[str, dict[str, Any], tuple[Any, ...]] | None:
    """Return the problem that a damaged file belongs to, its description and their row."""
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError, ValueError):
        with contextlib.closing(_connect(place)) as database:
            if not _is_ours(database):
                return None
            row = database.execute("SELECT * FROM meta WHERE name = 'run'").fetchone()
        if row is not None and len(row) == 3 and row[2] == digest("", "meta", *row[:2]):
            run = parsed(row[1])
            key, about = run.get("key"), run.get("about")
            if isinstance(key, str) and isinstance(about, dict):
                return key, about, row
    return None


def _sound_tasks(place: Path, key: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield rows whose digest holds, some at a time, around pages that cannot be read."""
    waiting: list[tuple[Any, ...]] = []
    with contextlib.closing(_connect(place)) as database:
        for row in _readable(database):
            if len(row) == 6 and row[5] == digest(key, "task", *row[:5]):
                waiting.append(row)
            if len(waiting) >= _AT_ONCE:
                yield waiting
                waiting = []
    yield waiting


def _readable(database: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """Yield rows from the first on and, where pages are bad, from the last on as well."""
    first_bad = 2**62
    at, step = -first_bad, 1
    for _ in range(_MOST_ATTEMPTS):
        try:
            for number, *row in database.execute(_ONWARDS, (at,)):
                at, step = number, 1
                yield tuple(row)
            break
        except (sqlite3.Error, UnicodeDecodeError):
            first_bad = min(first_bad, at)
            at, step = at + step, 2 * step  # past a bad page by ever larger steps
            if at >= 2**62:
                break
    at, step = 2**62, 1
    for _ in range(_MOST_ATTEMPTS):
        if at <= first_bad:
            break
        try:
            for number, *row in database.execute(_BACKWARDS, (at, first_bad)):
                at, step = number, 1
                yield tuple(row)
            break
        except (sqlite3.Error, UnicodeDecodeError):
            at, step = at - step, 2 * step


def _unused(place: Path) -> str:
    """Return a name for a damaged file that no other has."""
    number = 1
    while os.path.lexists(f"{place}.damaged-{number}"):
        number += 1
    return f"{place}.damaged-{number}"
