"""The log: one row per scenario in an SQLite file to which rows are only ever added.

Rows are written in transactions that reach the disk before the next scenario is counted on; each
carries a checksum. Whoever writes holds a lock on the file.
"""

import contextlib
import json
import sqlite3
import weakref
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcvar.safety.batch import Record
from mcvar.safety.identity import versions

_FORMAT = "mcvar safety log 1"
_TABLES = """
CREATE TABLE campaign (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE session (id INTEGER PRIMARY KEY, started TEXT, scenarios INTEGER, versions TEXT);
CREATE TABLE proposal (id INTEGER PRIMARY KEY, first INTEGER NOT NULL, description TEXT NOT NULL);
CREATE TABLE scenario (
    id INTEGER PRIMARY KEY, proposal INTEGER NOT NULL, component INTEGER NOT NULL,
    status TEXT NOT NULL, crash INTEGER NOT NULL, decisions INTEGER NOT NULL,
    states BLOB NOT NULL, actions BLOB NOT NULL, taken BLOB NOT NULL,
    time_to_collision REAL, seconds REAL NOT NULL, error TEXT NOT NULL, checksum INTEGER NOT NULL);
"""
_APPEND_ONLY = tuple(
    f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;"
    for table in ("campaign", "session", "proposal", "scenario")
    for verb in ("UPDATE", "DELETE")
)
_APPEND = "INSERT INTO scenario VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_READ = (
    "SELECT id, proposal, component, status, crash, decisions, states, actions, taken, "
    "time_to_collision, seconds, error, checksum FROM scenario "
    "WHERE id >= ? AND id < ? ORDER BY id"
)

_KINDS = (int, int, int, str, int, int, bytes, bytes, bytes, float | None, float, str)


class LoggedProposal(NamedTuple):
    """One of a campaign's proposals, and the scenario it was first used for."""

    number: int
    first: int
    description: dict[str, Any]


class LogError(ValueError):
    """The log cannot be read, belongs to another campaign, or is being written by somebody else.

    Examples
    --------
    >>> from mcvar import safety
    >>> safety.estimate("no_such_file.sqlite")
    Traceback (most recent call last):
    ...
    mcvar.safety.log.LogError: there is no log 'no_such_file.sqlite'...
    """


class Log:
    """An open log.

    Parameters
    ----------
    path : str or Path, optional
        The file; in memory without one.
    create : bool
        Whether a file that does not exist is created.

    Raises
    ------
    LogError
        A file that is no log, or is damaged.
    """

    def __init__(self, path: str | Path | None, *, create: bool = True) -> None:
        self.path = None if path is None else Path(path)
        if self.path is not None and not create and not self.path.is_file():
            raise LogError(
                f"there is no log {str(self.path)!r}; expected the file that a campaign's "
                "store= names."
            )
        if self.path is not None and not self.path.resolve().parent.is_dir():
            raise LogError(
                f"there is no directory {str(self.path.resolve().parent)!r} for a log; make it "
                "first."
            )
        self._connection: sqlite3.Connection | None = None
        with self._explained("opening"):
            # In full, or SQLite would take a file called ":memory:" or "" for something else.
            name = ":memory:" if self.path is None else str(self.path.resolve())
            self._connection = sqlite3.connect(name, timeout=30.0, isolation_level=None)
            weakref.finalize(self, _close, self._connection)  # of a campaign that nobody closes
            self._db.execute("PRAGMA synchronous = FULL")
            tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables == 0 and create:
            with self._explained("creating"), self._transaction():
                self._create()
        elif tables == 0:
            raise LogError(f"{self} is empty; expected one that a campaign has begun.")
        elif self.meta().get("format") != _FORMAT:
            raise LogError(f"{self} is not a log of a safety campaign ({_FORMAT}).")

    def __str__(self) -> str:
        return "the log in memory" if self.path is None else f"the log {str(self.path)!r}"

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LogError(f"{self} is closed; make another Campaign with it to go on.")
        return self._connection

    def _create(self) -> None:
        for statement in _TABLES.split(";"):
            self._db.execute(statement)
        for trigger in _APPEND_ONLY:
            self._db.execute(trigger)
        self._db.execute("INSERT INTO campaign VALUES ('format', ?)", (_FORMAT,))

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk has rolled back already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn SQLite's errors into sentences."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise LogError(
                f"while {doing}: {self} already holds it ({error}); is another process running "
                "this campaign?"
            ) from error
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # a table or column is not there
                raise self._damaged(doing, error) from error
            if "locked" in str(error):
                raise LogError(f"while {doing}: {self} is in use by another process.") from error
            raise OSError(
                f"while {doing}, {self} could not be written or read: {error}. What was committed "
                "before is safe: mend the cause and run the campaign again, it will go on."
            ) from error
        except (sqlite3.DatabaseError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise self._damaged(doing, error) from error

    def _damaged(self, doing: str, error: Exception) -> LogError:
        return LogError(
            f"while {doing}: {self} is damaged ({error}). Go on from a copy, or recover what "
            "can be read with the sqlite3 shell's .recover."
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write: one process at a time."""
        if self.path is None:
            yield
            return
        with self.path.open("rb") as file:
            if not _lock(file):
                raise LogError(f"{self} is in use: another process is running this campaign.")
            yield

    def meta(self) -> dict[str, Any]:
        """Return what identifies the campaign."""
        with self._explained("reading what the campaign is"):
            rows = self._db.execute("SELECT name, value FROM campaign").fetchall()
            return {name: value if name == "format" else json.loads(value) for name, value in rows}

    def identify(self, campaign: dict[str, Any]) -> None:
        """Write down what the campaign is, or compare it with what was written.

        Raises
        ------
        LogError
            A log of another campaign; the message names every difference.
        """
        known = self.meta()
        if len(known) == 1:
            rows = [(name, json.dumps(value)) for name, value in campaign.items()]
            with self._explained("beginning the campaign"), self._transaction():
                self._db.executemany("INSERT INTO campaign VALUES (?, ?)", rows)
            return
        given = json.loads(json.dumps(campaign))
        different = [
            f"{name} was {known.get(name)!r} and is now {value!r}"
            for name, value in given.items()
            if known.get(name) != value
        ]
        if different:
            raise LogError(
                f"{self} belongs to another campaign: {'; '.join(different)}. Use another file."
            )

    def begin_session(self) -> None:
        """Write down when and with which versions the campaign goes on."""
        with self._explained("beginning a session"), self._transaction():
            self._db.execute(
                "INSERT INTO session (started, scenarios, versions) VALUES (?, ?, ?)",
                (datetime.now(UTC).isoformat("T", "seconds"), self.count(), json.dumps(versions())),
            )

    def sessions(self) -> list[tuple[str, int, dict[str, str]]]:
        """Return (time of start, scenarios then done, versions) of every session."""
        with self._explained("reading the sessions"):
            rows = self._db.execute("SELECT started, scenarios, versions FROM session ORDER BY id")
            return [(started, n, json.loads(text)) for started, n, text in rows]

    def add_proposal(self, index: int, first: int, description: dict[str, Any]) -> None:
        """Write down a proposal that is used from scenario `first` on, or compare it.

        Raises
        ------
        LogError
            Another one was written: the refit does not repeat.
        """
        text = json.dumps(description)
        known = [
            (p.first, json.dumps(p.description)) for p in self.proposals() if p.number == index
        ]
        if not known:
            with self._explained("adding a proposal"), self._transaction():
                self._db.execute("INSERT INTO proposal VALUES (?, ?, ?)", (index, first, text))
        elif known[0] != (first, text):
            raise LogError(
                f"{self}: proposal {index} was {known[0][1]} from scenario {known[0][0]} on; now "
                f"it would be {text} from {first} on."
            )

    def proposals(self) -> list[LoggedProposal]:
        """Return the proposals in order of use."""
        with self._explained("reading the proposals"):
            rows = self._db.execute("SELECT id, first, description FROM proposal ORDER BY id")
            return [LoggedProposal(index, first, json.loads(text)) for index, first, text in rows]

    def count(self) -> int:
        """Return the number of scenarios done."""
        with self._explained("counting scenarios"):
            return int(
                self._db.execute("SELECT coalesce(max(id) + 1, 0) FROM scenario").fetchone()[0]
            )

    def append(self, records: Iterable[Record], proposal: int) -> None:
        """Write scenarios, all or none, and wait until they are on the disk."""
        rows = [_row(record, proposal) for record in records]
        if not rows:
            return
        doing = f"writing scenarios {rows[0][0]} to {rows[-1][0]}"
        with self._explained(doing), self._transaction():
            self._db.executemany(_APPEND, rows)

    def read(self, first: int = 0, last: int | None = None) -> Iterator[Record]:
        """Yield the records of scenarios first .. last − 1, checking each.

        Raises
        ------
        LogError
            A scenario that is missing or was changed; the message says which.
        """
        expected, end = first, self.count() if last is None else last
        with self._explained(f"reading scenarios from {first}"):
            rows = self._db.execute(_READ, (first, end))
            for row in rows:
                if row[0] != expected:
                    raise self._lacks(expected)
                expected += 1
                yield _record(row, self)
        if expected != end:
            raise self._lacks(expected)

    def _lacks(self, scenario: int) -> LogError:
        return LogError(
            f"{self} is damaged: scenario {scenario} is missing, and was there once. "
            "Go on from a copy."
        )


def _close(connection: sqlite3.Connection) -> None:
    # Whatever thread the garbage is collected in: a connection belongs to the one that made it.
    with contextlib.suppress(sqlite3.ProgrammingError):
        connection.close()


def _row(record: Record, proposal: int) -> tuple[Any, ...]:
    values = (
        record.scenario,
        proposal,
        record.component,
        record.status,
        int(record.crash),
        len(record.action),
        np.ascontiguousarray(record.states, dtype="<f8").tobytes(),
        np.ascontiguousarray(record.action, dtype="<i4").tobytes(),
        np.ascontiguousarray(record.taken, dtype="<f8").tobytes(),
        None if np.isnan(record.time_to_collision) else record.time_to_collision,
        record.seconds,
        record.error,
    )
    return (*values, _checksum(values))


def _checksum(values: tuple[Any, ...]) -> int:
    """CRC-32 of a row."""
    found = zlib.crc32(repr([v for v in values if not isinstance(v, bytes)]).encode())
    for value in values:
        if isinstance(value, bytes):
            found = zlib.crc32(value, found)
    return found


def _has_kinds(values: list[Any]) -> bool:
    return len(values) == len(_KINDS) and all(map(isinstance, values, _KINDS))


def _record(row: tuple[Any, ...], log: Log) -> Record:
    *values, checksum = row
    # The checksum says that nothing changed; the kinds, that a log's own process wrote it.
    if not _has_kinds(values) or _checksum(tuple(values)) != checksum:
        raise LogError(f"{log} is damaged: the checksum of scenario {row[0]} does not match.")
    scenario, _, component, status, crash, decisions, states, action, taken = values[:9]
    states = np.frombuffer(states, dtype="<f8")
    ended = 1 if status == "ok" else 0
    n_states = decisions + ended
    return Record(
        scenario=scenario,
        component=component,
        status=status,
        crash=bool(crash),
        states=states.reshape(n_states, -1) if n_states else np.empty((0, 0)),
        action=np.frombuffer(action, dtype="<i4").astype(np.int64),
        taken=np.frombuffer(taken, dtype="<f8").reshape(decisions, -1)
        if decisions
        else np.empty((0, 0)),
        time_to_collision=np.nan if values[9] is None else values[9],
        seconds=values[10],
        error=values[11],
    )


def _lock(file: Any) -> bool:
    """Lock an open file for this process, until it is closed; False where another holds it."""
    try:
        import fcntl
    except ImportError:  # no such locks here: rows that exist already still stop the second one
        return True
    try:
        # Not lockf: SQLite's own locks are of that kind, and closing this file would drop them.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
