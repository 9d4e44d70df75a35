"""Logs as tables: one row per scenario in CSV or Parquet, and back."""

import contextlib
import csv
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mcvar._checks import import_extra
from mcvar.execution.files import new_file_like, replacing, resolved
from mcvar.execution.store import parsed
from mcvar.safety.batch import Record
from mcvar.safety.log import Log, LogError
from mcvar.safety.logged import LoggedScenarios

_COLUMNS = (
    "scenario", "proposal", "component", "status", "crash", "weight", "time_to_collision",
    "seconds", "error", "states", "actions", "taken",
)  # fmt: skip
_AT_ONCE = 5_000
_LONGEST_CELL = 100_000_000  # characters; a scenario's states in one text
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")  # what spreadsheets compute, and the mark against
_WRONG = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, csv.Error)


def export(store: str | Path, path: str | Path) -> None:
    """Write a log as a table, Parquet (extra ``parquet``) or CSV by the ending of `path`.

    Arrays are JSON texts, exact to the last bit. A campaign's description goes along: in the
    metadata of a Parquet file, in the first line of a CSV, after ``#``. Texts of a CSV that a
    spreadsheet would take for formulas begin with an apostrophe. A former file at `path` is
    replaced once the table is complete, and kept where it cannot be made.

    Raises
    ------
    ValueError
        Another ending, or the log itself as `path`.
    LogError
        A log that cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from mcvar import safety
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log, table = Path(folder, "run.sqlite"), Path(folder, "run.csv")
    ...     campaign = safety.Campaign(lambda batch: batch.finish(
    ...         range(batch.n), batch.decide([[0.0]] * batch.n) == 1, [[1.0]] * batch.n),
    ...         safety.AdversarialProposal(lambda state: [0.9, 0.1]), log, seed=1)
    ...     rate = campaign.run(max_scenarios=50, progress=False)
    ...     safety.export(log, table)
    ...     len(table.read_text().splitlines())   # the campaign, the columns, and 50 scenarios
    52
    """
    ending = Path(path).suffix
    if ending not in (".csv", ".parquet"):
        raise ValueError(f"expected a path ending in .csv or .parquet, got {str(path)!r}.")
    log = Log(store, create=False)
    try:
        about = json.dumps(
            {
                "table": 2,
                "scenarios": log.count(),
                "campaign": log.meta(),
                "proposals": [tuple(p) for p in log.proposals()],
            }
        )
        with replacing(path, store) as fresh:
            (_write_csv if ending == ".csv" else _write_parquet)(fresh, about, _rows(log))
    finally:
        log.close()


def _write_csv(path: Path, about: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        file.write(f"# {about}\n")
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for row in rows:
            writer.writerow([_harmless(cell) for cell in row])


def _write_parquet(path: Path, about: str, rows: Iterator[tuple[Any, ...]]) -> None:
    arrow = import_extra("pyarrow", "parquet")
    parquet = import_extra("pyarrow.parquet", "parquet")
    writer = None
    try:
        while chunk := list(itertools.islice(rows, _AT_ONCE)):
            table = arrow.Table.from_pylist(
                [dict(zip(_COLUMNS, row, strict=True)) for row in chunk]
            ).replace_schema_metadata({"mcvar": about})
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise LogError("the log holds no scenario yet; run its campaign first.")


def import_table(path: str | Path, store: str | Path) -> None:
    """Make a log of a table that `export` wrote; it can be estimated, reported and continued.

    Raises
    ------
    LogError
        A log that exists already, or a table that does not hold one; no log is left behind.

    Examples
    --------
    There and back:

    >>> import tempfile
    >>> from pathlib import Path
    >>> from mcvar import safety
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log, table, copy = (Path(folder, name) for name in ("a.sqlite", "a.csv", "b.sqlite"))
    ...     campaign = safety.Campaign(lambda batch: batch.finish(
    ...         range(batch.n), batch.decide([[0.0]] * batch.n) == 1, [[1.0]] * batch.n),
    ...         safety.AdversarialProposal(lambda state: [0.9, 0.1]), log, seed=1)
    ...     rate = campaign.run(max_scenarios=50, progress=False)
    ...     safety.export(log, table)
    ...     safety.import_table(table, copy)
    ...     safety.estimate(copy).value == rate.value
    True
    """
    place = resolved(store, "log", LogError)
    if os.path.lexists(store):
        raise LogError(f"{str(store)!r} exists already; a log is not written over.")
    if not place.parent.is_dir():
        raise LogError(f"there is no directory {str(place.parent)!r} for a log; make it first.")
    fresh = new_file_like(place)
    try:
        with _opened(path) as (about, table):
            _import(str(path), about, table, fresh)
        try:
            os.link(fresh, place)  # which never takes the place of another file
        except FileExistsError:
            raise LogError(f"{str(store)!r} exists already; a log is not written over.") from None
        except OSError:  # no hard links here
            os.rename(fresh, place)
    finally:
        fresh.unlink(missing_ok=True)
        Path(f"{fresh}-journal").unlink(missing_ok=True)


def _import(path: str, about: str, table: Iterator[dict[str, Any]], store: Path) -> None:
    """Fill a log with what a table holds, and read it all once."""
    log = Log(store)
    place = "the description"
    try:
        known = parsed(about)
        escaped = known.get("table", 1) >= 2
        log.identify({name: v for name, v in dict(known["campaign"]).items() if name != "format"})
        for number, first, description in known["proposals"]:
            log.add_proposal(int(number), int(first), dict(description))
        count = 0
        for number, rows in itertools.groupby(table, key=lambda row: int(row["proposal"])):
            while chunk := list(itertools.islice(rows, _AT_ONCE)):
                place = f"row {count}"
                records = []
                for row in chunk:
                    records.append(_record(row, escaped))
                    count += 1
                    place = f"row {count}"
                log.append(records, number)
        place = "the end"
        if count != known.get("scenarios", count):
            raise ValueError(f"it holds {count} scenarios; expected {known['scenarios']}")
        for _ in log.read():
            pass
    except LogError as error:
        reason = str(error).replace(str(log), "it").partition(". Continue from a copy")[0]
        raise LogError(f"{path!r} is no table of a sound log: {reason}.") from error
    except _WRONG as error:
        raise LogError(
            f"{place} of {path!r} is not as export() writes it: {type(error).__name__}: {error}"
        ) from error
    finally:
        log.close()


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Yield the description and the rows of a table."""
    missing = LogError(
        f"{str(path)!r} is no table of a safety log; expected what safety.export wrote."
    )
    if Path(path).suffix == ".parquet":
        parquet = import_extra("pyarrow.parquet", "parquet")
        arrow = import_extra("pyarrow", "parquet")
        try:
            with parquet.ParquetFile(path) as file:
                about = (file.schema_arrow.metadata or {}).get(b"mcvar", b"")
                if not about:
                    raise missing
                yield about.decode(), _parquet_rows(file)
        except arrow.ArrowException as error:
            raise LogError(f"{str(path)!r} cannot be read as Parquet: {error}.") from error
        return
    with Path(path).open(newline="", encoding="utf-8", errors="surrogatepass") as lines:
        try:
            about = lines.readline(_LONGEST_CELL)
        except UnicodeDecodeError as error:
            raise LogError(f"{str(path)!r} is no text: {error}.") from error
        if not about.startswith("#"):
            raise missing
        before = csv.field_size_limit(_LONGEST_CELL)
        try:
            yield about[1:], csv.DictReader(lines)
        finally:
            csv.field_size_limit(before)


def _parquet_rows(file: Any) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(_AT_ONCE):
        yield from batch.to_pylist()


def _rows(log: Log) -> Iterator[tuple[Any, ...]]:
    logged = LoggedScenarios(log)
    logged.refresh()
    weights = logged.weights()
    firsts = [proposal.first for proposal in log.proposals()]
    for record in log.read(0, len(weights)):
        yield (
            record.scenario,
            int(np.searchsorted(firsts, record.scenario, side="right")) - 1,
            record.component,
            record.status,
            int(record.crash),
            float(weights[record.scenario]),
            record.time_to_collision,
            record.seconds,
            record.error,
            json.dumps(record.states.tolist()),
            json.dumps(record.action.tolist()),
            json.dumps(record.taken.tolist()),
        )


def _harmless(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def _record(row: dict[str, Any], escaped: bool) -> Record:
    def array(name: str, dtype: Any) -> Any:
        values = np.array(parsed(row[name], list), dtype=dtype)
        return values if values.size else values.reshape((0,) if dtype is np.int32 else (0, 0))

    def text(name: str) -> str:
        cell: str = row[name]
        return cell[1:] if escaped and cell.startswith("'") else cell

    return Record(
        scenario=int(row["scenario"]),
        component=int(row["component"]),
        status=text("status"),
        crash=_as_outcome(row["crash"]),
        states=array("states", np.float64),
        action=array("actions", np.int32).astype(np.int64),
        taken=array("taken", np.float64),
        time_to_collision=float(row["time_to_collision"]),
        seconds=float(row["seconds"]),
        error=text("error"),
    )


def _as_outcome(cell: Any) -> bool:
    if int(cell) not in (0, 1):
        raise ValueError(f"crash is {cell!r}; expected 0 or 1")
    return bool(int(cell))
