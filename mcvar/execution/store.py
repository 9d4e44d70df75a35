"""The file layer of checkpoints and logs: SQLite files of a known format whose rows carry digests.

A file is opened only if it has the format's number and exactly its tables, and nothing else in it:
no views and no triggers of somebody else run. Every row carries a digest of its owner, its table,
its key and its content, and is used only if the digest holds.

A digest finds damage. It is no signature: whoever can write the file can make digests that hold.
"""

import contextlib
import functools
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mcvar.execution.lock import Lock

_DIGEST_BYTES = 16
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
_SHORT_READ = 522  # SQLITE_IOERR_SHORT_READ: the file ends where a page should be

Schema = frozenset[tuple[Any, ...]]


class Format(NamedTuple):
    """What tells one kind of file from others, and how its users are told.

    Attributes
    ----------
    noun : str
        "checkpoint", say.
    application, number : int
        The kind and the version of a file, in its header.
    schema : str
        Statements that make its tables.
    journal : {"WAL", "DELETE"}
        With WAL readers never wait; with DELETE a file is one file at any moment.
    error : type of Exception
        Raised for files that cannot be used.
    outside : type of Exception
        Raised for full disks and the like.
    in_use, remedy : str
        How sentences on a locked and on a damaged file end.
    former : str
        Statements that made the tables of a former format without a number, which can be read.
    """

    noun: str
    application: int
    number: int
    schema: str
    journal: str
    error: type[Exception]
    outside: type[Exception]
    in_use: str
    remedy: str
    former: str = ""


class Store:
    """An open file of a known format.

    Parameters
    ----------
    place : Path or None
        Resolved path; None is in memory.
    layout : Format
        What the file must be, or becomes.
    named : str
        What errors call it.
    create : bool
        Whether a file that does not exist, or is empty, is made: `fill` then has to be called.
    write : bool
        Whether rows will be written.

    Attributes
    ----------
    database : sqlite3.Connection
    is_new : bool
        Whether there was nothing in the file.
    is_former : bool
        Whether it has the former format, whose rows have no digests.
    """

    def __init__(
        self,
        place: Path | None,
        layout: Format,
        named: str,
        *,
        create: bool = False,
        write: bool = False,
    ) -> None:
        self.place, self._layout, self._named = place, layout, named
        self.is_former = False
        self._lock: Lock | None = None
        self._connection: sqlite3.Connection | None = None
        name = ":memory:" if place is None else str(place)
        try:
            with self.explained("opening"):
                # Not as a URI: the name is absolute, and begins with no "file:".
                self._connection = sqlite3.connect(
                    name, timeout=30.0, isolation_level=None, check_same_thread=False
                )
                self.database.execute("PRAGMA trusted_schema = OFF")
                self.database.execute("PRAGMA cell_size_check = ON")
                self.database.execute("PRAGMA synchronous = FULL")
                if not write:
                    self.database.execute("PRAGMA query_only = ON")
                self.is_new = self._check(create)
            self._identity = _identity(place)
        except BaseException:
            self.close()
            raise

    @property
    def database(self) -> sqlite3.Connection:
        """The connection; an error where it is closed."""
        if self._connection is None:
            raise self._layout.error(f"{self._named} is closed; open it again to continue.")
        return self._connection

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        self.unlock()

    def __del__(self) -> None:
        if getattr(self, "_connection", None) is not None:
            self.close()

    def lock(self) -> None:
        """Take the right to write.

        Raises
        ------
        Exception
            Of the format's kind: another process has it, or the file has two names, of which
            SQLite could recover only one after a crash.
        """
        if self.place is None or self._lock is not None:
            return
        self._lock = take(self.place, self._layout, self._named)

    def unlock(self) -> None:
        """Give the right to write back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def fill(self, rows: Callable[[], None]) -> None:
        """Make the tables and their first rows, all or nothing."""
        with self.explained("creating"):
            if self.place is not None:
                self.use_journal(self._layout.journal)
            with self.transaction():
                if _objects(self.database):
                    return  # another process was faster
                for statement in _statements(self._layout.schema):
                    self.database.execute(statement)
                mark = f"PRAGMA application_id = {self._layout.application}"
                self.database.execute(mark)
                mark = f"PRAGMA user_version = {self._layout.number}"
                self.database.execute(mark)
                rows()
        self._identity = _identity(self.place)

    def use_journal(self, journal: str) -> None:
        """Switch between SQLite's ways to survive a crash."""
        switch = f"PRAGMA journal_mode = {journal}"
        self.database.execute(switch)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in the block, or nothing of it."""
        self.begin()
        try:
            yield
            self.commit()
        except BaseException:
            if self.database.in_transaction:  # a full disk has rolled back already
                self.database.execute("ROLLBACK")
            raise

    def begin(self) -> None:
        """Begin a transaction."""
        self.database.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End a transaction, and wait until it is on the disk."""
        self.check_present()
        self.database.execute("COMMIT")

    def check_present(self) -> None:
        """Raise an error where the file that is written is no longer the one of its name."""
        if self.place is not None and _identity(self.place) != self._identity:
            raise self._layout.outside(
                f"{self._named} was removed or replaced while it was being written; what was "
                "written since is lost. Run again to make another."
            )

    def _check(self, create: bool) -> bool:
        """Refuse what is no file of this format; whether there is nothing in it."""
        layout, database = self._layout, self.database
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (number,) = database.execute("PRAGMA user_version").fetchone()
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        found = _objects(database)
        if not found and pages <= 1 and application in (0, layout.application):
            if not _is_blank(self.place):
                raise self._unknown(0, 0)
            if not create:
                raise layout.error(f"{self._named} is empty; expected one with something in it.")
            return True
        if application == layout.application and number == layout.number:
            expected = expected_objects(layout.schema)
            missing = {row for row in expected - found if row[0] != "trigger"}  # which only guard
            if missing or found - expected:
                names = ", ".join(
                    sorted({repr(row[1])[:80] for row in missing | (found - expected)})
                )
                raise self.damaged(f"not as mcvar made it: see {names}")
            return False
        if (application, number) == (0, 0) and layout.former:
            self.is_former = found == expected_objects(layout.former)
            if self.is_former:
                return False
        raise self._unknown(application, number)

    def _unknown(self, application: int, number: int) -> Exception:
        """The error for a file of another format."""
        noun = self._layout.noun
        if application == self._layout.application:
            return self._layout.error(
                f"{self._named} has format {number or 1}; this version of mcvar reads format "
                f"{self._layout.number}. Continue with the version that wrote it, or use another "
                "file."
            )
        return self._layout.error(f"{self._named} is no {noun} of mcvar; it is left as it is.")

    def damaged(self, what: Any) -> Exception:
        """The error for a damaged file."""
        return self._layout.error(f"{self._named} is damaged ({what}). {self._layout.remedy}")

    @contextlib.contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Turn SQLite's errors into sentences."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self.explanation(doing, error) from error

    def explanation(self, doing: str, error: Exception) -> Exception:
        """The sentence for an error of SQLite that came while reading, say."""
        layout, noun = self._layout, self._layout.noun
        code = getattr(error, "sqlite_errorcode", 0)
        if isinstance(error, sqlite3.IntegrityError):
            return layout.error(
                f"while {doing}: {self._named} holds that already ({error}); is another process "
                "at it?"
            )
        if code == sqlite3.SQLITE_BUSY:
            return layout.error(f"while {doing}: {self._named} {layout.in_use}")
        if code == sqlite3.SQLITE_NOTADB:
            return layout.error(
                f"{self._named} cannot be read as a {noun}: it is no {noun}, or it is damaged "
                f"({error}). {layout.remedy}"
            )
        if code & 0xFF in _OUTSIDE and code != _SHORT_READ:
            return layout.outside(
                f"while {doing}, {self._named} could not be read or written: {error}. What was "
                "finished before is kept; free space or repair the file system, and run again."
            )
        return self.damaged(error)


def take(place: Path, layout: Format, named: str) -> Lock:
    """Take the right to write a file."""
    try:
        lock = Lock(place)
    except BlockingIOError as error:
        raise layout.error(f"{named} {layout.in_use}") from error
    except OSError as error:
        raise layout.outside(f"{named} cannot be written: {error}.") from error
    if place.exists() and place.stat().st_nlink > 1:
        lock.release()
        raise layout.error(
            f"{named} has another name (a hard link), by which SQLite could not recover it after "
            "a crash; copy it instead."
        )
    return lock


def digest(owner: str, table: str, *values: Any) -> bytes:
    """Return the digest of a row: of whose it is, where it is and what it holds.

    Values are those that SQLite gives back: int, float, str, bytes or None.

    >>> digest("me", "task", 1, b"x") == digest("me", "task", 1, b"x") != digest("me", "task", 2)
    True
    """
    # Lengths stand for bytes in the head, so that no two rows have the same text.
    head = repr((owner, table, *(len(v) if type(v) is bytes else [v] for v in values)))
    found = hashlib.sha256(head.encode("utf-8", "surrogatepass"))
    for value in values:
        if type(value) is bytes:
            found.update(value)
    return found.digest()[:_DIGEST_BYTES]


def parsed(text: Any, kind: type = dict) -> Any:
    """Return what a JSON text says; ValueError where it is no JSON of that kind."""
    if not isinstance(text, str):
        raise ValueError(f"{type(text).__name__} where a text was expected")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("brackets too deep") from None
    if not isinstance(value, kind):
        raise ValueError(f"{type(value).__name__} where {kind.__name__} was expected")
    return value


@functools.cache
def expected_objects(schema: str) -> Schema:
    """Return the tables, indices and triggers that these statements make."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        for statement in _statements(schema):
            database.execute(statement)
        return _objects(database)


def _statements(schema: str) -> list[str]:
    """Split at empty lines: triggers have semicolons of their own."""
    return [statement for statement in schema.strip().split("\n\n") if statement]


def _objects(database: sqlite3.Connection) -> Schema:
    rows = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 50")
    return frozenset(rows.fetchall())


def _is_blank(place: Path | None) -> bool:
    """Whether a file without tables is empty, or a database that died young, not a short text."""
    if place is None or not place.exists() or place.stat().st_size == 0:
        return True
    with place.open("rb") as file:
        return place.stat().st_size >= 512 and file.read(16) == b"SQLite format 3\0"


def _identity(place: Path | None) -> tuple[int, int] | None:
    if place is None:
        return None
    try:
        found = os.stat(place)
    except OSError:
        return None
    return found.st_dev, found.st_ino
