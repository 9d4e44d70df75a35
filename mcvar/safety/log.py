"""The log: one row per scenario in an SQLite file to which rows are only ever added.

Rows are written in transactions that reach the disk before the next scenario is counted on. Each
carries a checksum; each transaction ends with a row that says how many there are, so that none is
lost unnoticed. Whoever writes holds a lock on the file.
"""

import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcvar.execution.files import resolved
from mcvar.execution.store import Format, Store, digest, parsed
from mcvar.safety import rows
from mcvar.safety.batch import Record
from mcvar.safety.identity import versions

FORMER = "mcvar safety log 1"  # what logs of version 0.1.0 say of themselves
_FORMAT = "mcvar safety log 2"
_TABLES = """
CREATE TABLE campaign (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum BLOB NOT NULL)

CREATE TABLE session (
    id INTEGER PRIMARY KEY, started TEXT NOT NULL, scenarios INTEGER NOT NULL,
    versions TEXT NOT NULL, checksum BLOB NOT NULL)

CREATE TABLE proposal (
    id INTEGER PRIMARY KEY, first INTEGER NOT NULL, description TEXT NOT NULL,
    checksum BLOB NOT NULL)

CREATE TABLE scenario (
    id INTEGER PRIMARY KEY, proposal INTEGER NOT NULL, component INTEGER NOT NULL,
    status TEXT NOT NULL, crash INTEGER NOT NULL, decisions INTEGER NOT NULL,
    states BLOB NOT NULL, actions BLOB NOT NULL, taken BLOB NOT NULL,
    time_to_collision REAL, seconds REAL NOT NULL, error TEXT NOT NULL, checksum BLOB NOT NULL)

CREATE TABLE extent (
    id INTEGER PRIMARY KEY, campaign INTEGER NOT NULL, session INTEGER NOT NULL,
    proposal INTEGER NOT NULL, scenario INTEGER NOT NULL, checksum BLOB NOT NULL)
"""
_FORMER_TABLES = """
CREATE TABLE campaign (name TEXT PRIMARY KEY, value TEXT NOT NULL)

CREATE TABLE session (id INTEGER PRIMARY KEY, started TEXT, scenarios INTEGER, versions TEXT)

CREATE TABLE proposal (id INTEGER PRIMARY KEY, first INTEGER NOT NULL, description TEXT NOT NULL)

CREATE TABLE scenario (
    id INTEGER PRIMARY KEY, proposal INTEGER NOT NULL, component INTEGER NOT NULL,
    status TEXT NOT NULL, crash INTEGER NOT NULL, decisions INTEGER NOT NULL,
    states BLOB NOT NULL, actions BLOB NOT NULL, taken BLOB NOT NULL,
    time_to_collision REAL, seconds REAL NOT NULL, error TEXT NOT NULL, checksum INTEGER NOT NULL)
"""


def _append_only(*tables: str) -> str:
    return "\n\n".join(
        f"CREATE TRIGGER {table}_{verb} BEFORE {verb} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
        for table in tables
        for verb in ("UPDATE", "DELETE")
    )


_KEPT = ("campaign", "session", "proposal", "scenario")
_APPEND = "INSERT INTO scenario VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_READ = (
    "SELECT id, proposal, component, status, crash, decisions, states, actions, taken, "
    "time_to_collision, seconds, error, checksum FROM scenario "
    "WHERE id >= ? AND id < ? ORDER BY id"
)
_HELD = (
    "SELECT (SELECT count(*) FROM campaign), (SELECT count(*) FROM session), "
    "(SELECT count(*) FROM proposal), (SELECT coalesce(max(id) + 1, 0) FROM scenario)"
)
_LAST_EXTENT = "SELECT coalesce(max(id), 0) FROM extent"
_EXTENT_AND_HELD = (
    "SELECT id, campaign, session, proposal, scenario, checksum, "
    f"{_HELD.removeprefix('SELECT ')} FROM extent ORDER BY id DESC LIMIT 1"
)
_AT_ONCE = 1_000


class LoggedProposal(NamedTuple):
    """One of a campaign's proposals, and the scenario it was first used for."""

    number: int
    first: int
    description: dict[str, Any]

    @property
    def n_surrogates(self) -> int:
        """Number J of surrogates."""
        return len(self.description["shares"]) - 1


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


LOG = Format(
    noun="log",
    application=0x6D63766C,  # "mcvl"
    number=2,
    schema=f"{_TABLES}\n\n{_append_only(*_KEPT, 'extent')}",
    journal="DELETE",
    error=LogError,
    outside=OSError,
    in_use="is in use: another process is running this campaign.",
    remedy=("Continue from a copy, or recover what can be read with the sqlite3 shell's .recover."),
    former=f"{_FORMER_TABLES}\n\n{_append_only(*_KEPT)}",
)


class Log:
    """An open log.

    Parameters
    ----------
    path : str or Path, optional
        The file; in memory without one.
    create : bool
        Whether a file that does not exist is created, and rows can be added.

    Raises
    ------
    LogError
        A file that is no log, or is damaged.
    """

    def __init__(self, path: str | Path | None, *, create: bool = True) -> None:
        self.path = None if path is None else Path(path)
        place = None if path is None else resolved(path, "log", LogError)
        if place is not None and not create and not place.is_file():
            raise LogError(
                f"there is no log {str(path)!r}; expected the file that a campaign's store= names."
            )
        if place is not None and not place.parent.is_dir():
            raise LogError(f"there is no directory {str(place.parent)!r} for a log; make it first.")
        self._owner: str | None = None
        self._store = Store(place, LOG, str(self), create=create, write=create)
        try:
            if self._store.is_new:
                self._store.fill(self._begin)
            if create and self.is_former:
                raise LogError(
                    f"{self} was written by mcvar 0.1.0, whose logs are read and not continued: "
                    "export it as a table, and import that into a new log."
                )
            self.meta()
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        return "the log in memory" if self.path is None else f"the log {str(self.path)!r}"

    @property
    def is_former(self) -> bool:
        """Whether it is of version 0.1.0, where only scenarios have checksums."""
        return self._store.is_former

    @property
    def _db(self) -> Any:
        return self._store.database

    def _begin(self) -> None:
        self._insert_campaign({"format": _FORMAT})
        self._add_extent()

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    @contextmanager
    def _adding(self, doing: str) -> Iterator[None]:
        """Add rows, all or none, and then how many there are."""
        with self._store.explained(doing), self._store.transaction():
            yield
            self._add_extent()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write: one process at a time."""
        self._store.lock()
        try:
            self._store.check_present()
            yield
        finally:
            self._store.unlock()

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Turn what is wrong with the content of rows into sentences."""
        with self._store.explained(f"reading {what}"):
            try:
                yield
            except LogError:
                raise
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                raise self._store.damaged(f"{what}: {error}") from error

    def _check(self, table: str, what: str, row: tuple[Any, ...]) -> None:
        """Raise LogError where the checksum at the end of a row does not hold."""
        *values, kept = row
        owner = "" if table == "campaign" else self._campaign
        if not self.is_former and kept != digest(owner, table, *values):
            raise self._store.damaged(f"the checksum of {what} does not match")

    @property
    def _campaign(self) -> str:
        """Digest of what identifies the campaign: the owner of all other rows."""
        if self._owner is None:
            self.meta()
        assert self._owner is not None
        return self._owner

    def meta(self) -> dict[str, Any]:
        """Return what identifies the campaign."""
        with self._reading("what it says of its campaign"):
            found = self._db.execute("SELECT * FROM campaign LIMIT 100").fetchall()
            known = {}
            for row in found:
                self._check("campaign", f"{str(row[0])[:80]!r} of its campaign", row)
                if row[0] == "format":
                    known["format"] = row[1]
                else:
                    known[row[0]] = parsed(row[1], object)
            rows.check_campaign(known)
            expected = FORMER if self.is_former else _FORMAT
            if known.get("format") != expected:
                raise ValueError(f"format is {known.get('format')!r}; expected {expected!r}")
            self._owner = _owner(found)
            self._check_extent(len(found))
        return known

    def _insert_campaign(self, known: dict[str, Any]) -> None:
        for name, value in known.items():
            text = value if name == "format" else json.dumps(value)
            kept = digest("", "campaign", name, text)
            self._db.execute("INSERT INTO campaign VALUES (?, ?, ?)", (name, text, kept))
        self._owner = _owner(self._db.execute("SELECT * FROM campaign").fetchall())

    def identify(self, campaign: dict[str, Any]) -> None:
        """Write down what the campaign is, or compare it with what was written.

        Raises
        ------
        LogError
            A log of another campaign; the message names every difference.
        """
        known = self.meta()
        if len(known) == 1:
            with self._adding("beginning the campaign"):
                self._insert_campaign(campaign)
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
        """Write down when and with which versions the campaign continues."""
        values = (
            len(self.sessions()) + 1,
            datetime.now(UTC).isoformat("T", "seconds"),
            self.count(),
            json.dumps(versions()),
        )
        with self._adding("beginning a session"):
            self._db.execute(
                "INSERT INTO session VALUES (?, ?, ?, ?, ?)",
                (*values, digest(self._campaign, "session", *values)),
            )

    def sessions(self) -> list[tuple[str, int, dict[str, str]]]:
        """Return (time of start, scenarios then done, versions) of every session."""
        found = []
        with self._reading("its sessions"):
            for row in self._db.execute("SELECT * FROM session ORDER BY id"):
                self._check("session", f"session {row[0]}", row)
                if not (isinstance(row[1], str) and isinstance(row[2], int) and row[2] >= 0):
                    raise ValueError(f"session {row[0]} began at {row[1]!r}, scenario {row[2]!r}")
                found.append((row[1], row[2], parsed(row[3])))
        return found

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
            values = index, first, text
            with self._adding("adding a proposal"):
                self._db.execute(
                    "INSERT INTO proposal VALUES (?, ?, ?, ?)",
                    (*values, digest(self._campaign, "proposal", *values)),
                )
        elif known[0] != (first, text):
            raise LogError(
                f"{self}: proposal {index} was {known[0][1]} from scenario {known[0][0]} on; now "
                f"it would be {text} from {first} on."
            )

    def proposals(self) -> list[LoggedProposal]:
        """Return the proposals in order of use.

        Raises
        ------
        LogError
            One that was changed, is missing or is no proposal.
        """
        found: list[LoggedProposal] = []
        with self._reading("its proposals"):
            for row in self._db.execute("SELECT * FROM proposal ORDER BY id"):
                self._check("proposal", f"proposal {row[0]}", row)
                number, first, text = row[:3]
                least = found[-1].first + 1 if found else 0
                if number != len(found) or not isinstance(first, int) or first < least:
                    raise ValueError(f"proposal {number!r} is used from scenario {first!r} on")
                description = parsed(text)
                rows.check_proposal(description)
                found.append(LoggedProposal(number, first, description))
            if found and found[0].first != 0:
                raise ValueError(f"the first one is used from scenario {found[0].first} on")
        return found

    def count(self) -> int:
        """Return the number of scenarios done."""
        with self._reading("the number of its scenarios"):
            return self._check_extent()

    def _held(self) -> tuple[int, ...]:
        """Numbers of rows of each table."""
        held: tuple[int, ...] = self._db.execute(_HELD).fetchone()
        return held

    def _add_extent(self) -> None:
        (last,) = self._db.execute(_LAST_EXTENT).fetchone()
        values = (last + 1, *self._held())
        self._db.execute(
            "INSERT INTO extent VALUES (?, ?, ?, ?, ?, ?)",
            (*values, digest("", "extent", *values)),
        )

    def _check_extent(self, n_campaign: int | None = None) -> int:
        """Compare the number of rows with what the last transaction wrote; return scenarios."""
        if self.is_former:
            return int(self._held()[3])
        # In one statement, and so at one moment, though another process may be adding rows.
        row = self._db.execute(_EXTENT_AND_HELD).fetchone()
        if row is None:
            raise ValueError("the row that counts its rows is missing")
        *values, kept = row[:6]
        if kept != digest("", "extent", *values):
            raise ValueError("the checksum of the row that counts its rows does not match")
        if tuple(values[1:]) != row[6:] or n_campaign not in (None, values[1]):
            raise ValueError(f"it holds {row[6:]} rows of {_KEPT}; expected {tuple(values[1:])}")
        return int(values[4])

    def append(self, records: Iterable[Record], proposal: int) -> None:
        """Write scenarios, all or none, and wait until they are on the disk."""
        values = [rows.row_of(record, proposal) for record in records]
        if not values:
            return
        kept = rows.checksums(self._campaign, values)
        sealed = [(*row, checksum) for row, checksum in zip(values, kept, strict=True)]
        with self._adding(f"writing scenarios {values[0][0]} to {values[-1][0]}"):
            self._db.executemany(_APPEND, sealed)

    def read(self, first: int = 0, last: int | None = None) -> Iterator[Record]:
        """Yield the records of scenarios first .. last − 1, checking each.

        Raises
        ------
        LogError
            A scenario that is missing or was changed; the message says which.
        """
        end = self.count() if last is None else last
        proposals = self.proposals()
        for start in range(first, end, _AT_ONCE):
            stop = min(start + _AT_ONCE, end)
            with self._reading(f"scenarios {start} to {stop - 1}"):
                of: dict[int, list[Record]] = {}
                for row in self._sound(start, stop, proposals):
                    n_surrogates = proposals[row[1]].n_surrogates
                    of.setdefault(row[1], []).append(rows.record_of(row, n_surrogates))
                for records in of.values():
                    rows.check_numbers(records)
            for records in of.values():
                yield from records

    def steps(self, first: int, end: int, proposal: LoggedProposal) -> rows.Steps:
        """Return what estimates use of scenarios first .. end − 1, all of one proposal."""
        with self._reading(f"scenarios {first} to {end - 1}"):
            found = self._sound(first, end, self.proposals())
            return rows.steps_of_rows(found, proposal.n_surrogates)

    def _sound(
        self, first: int, end: int, proposals: list[LoggedProposal]
    ) -> list[tuple[Any, ...]]:
        """Return the rows of scenarios first .. end − 1, without their checksums, if they hold."""
        found: list[tuple[Any, ...]] = self._db.execute(_READ, (first, end)).fetchall()
        numbers = [row[0] for row in found]
        if numbers != list(range(first, end)):
            pairs = itertools.zip_longest(range(first, end), numbers)
            gap = next(expected for expected, number in pairs if expected != number)
            raise self._store.damaged(f"scenario {gap} is missing, and was there once")
        # Checksums say that nothing changed; kinds, that a log's own process wrote it.
        if not rows.have_kinds(found):
            odd = next(row[0] for row in found if not rows.have_kinds([row]))
            raise self._store.damaged(f"the checksum of scenario {odd} does not match")
        kept = self._checksums(found)
        if kept != [row[12] for row in found]:
            odd = next(row[0] for row, own in zip(found, kept, strict=True) if row[12] != own)
            raise self._store.damaged(f"the checksum of scenario {odd} does not match")
        firsts = [proposal.first for proposal in proposals]
        expected = np.searchsorted(firsts, numbers, side="right") - 1
        for at in np.flatnonzero([row[1] for row in found] != expected).tolist():
            raise ValueError(
                f"scenario {numbers[at]} has proposal {found[at][1]}; expected {expected[at]}"
            )
        return found

    def _checksums(self, found: list[tuple[Any, ...]]) -> list[Any]:
        if self.is_former:
            return [rows.former_checksum(row[:12]) for row in found]
        return rows.checksums(self._campaign, found)


def _owner(campaign: list[tuple[Any, ...]]) -> str:
    """Digest of the rows that identify a campaign."""
    return digest("", "log", *(value for row in sorted(campaign) for value in row[:2])).hex()
