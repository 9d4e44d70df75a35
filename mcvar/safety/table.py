"""Logs as tables: one row per scenario in CSV or Parquet, and back."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mcvar._checks import import_extra
from mcvar.safety.batch import Record
from mcvar.safety.log import Log, LogError
from mcvar.safety.logged import LoggedScenarios

_COLUMNS = (
    "scenario", "proposal", "component", "status", "crash", "weight", "time_to_collision",
    "seconds", "error", "states", "actions", "taken",
)  # fmt: skip
_AT_ONCE = 5_000


def export(store: str | Path, path: str | Path) -> None:
    """Write a log as a table, Parquet (extra ``parquet``) or CSV by the ending of `path`.

    Arrays are JSON texts, exact to the last bit. A campaign's description goes along: in the
    metadata of a Parquet file, in the first line of a CSV, after ``#``.

    Raises
    ------
    ValueError
        Another ending.

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
    log = Log(store, create=False)
    try:
        about = json.dumps(
            {"campaign": log.meta(), "proposals": [tuple(p) for p in log.proposals()]}
        )
        rows = _rows(log)
        if Path(path).suffix == ".parquet":
            arrow = import_extra("pyarrow", "parquet")
            parquet = import_extra("pyarrow.parquet", "parquet")
            table = arrow.Table.from_pylist([dict(zip(_COLUMNS, row, strict=True)) for row in rows])
            parquet.write_table(table.replace_schema_metadata({"mcvar": about}), path)
        elif Path(path).suffix == ".csv":
            with Path(path).open("w", newline="", encoding="utf-8") as file:
                file.write(f"# {about}\n")
                writer = csv.writer(file)
                writer.writerow(_COLUMNS)
                writer.writerows(rows)
        else:
            raise ValueError(f"expected a path ending in .csv or .parquet, got {str(path)!r}.")
    finally:
        log.close()


def import_table(path: str | Path, store: str | Path) -> None:
    """Make a log of a table that `export` wrote; it can be estimated, reported and gone on with.

    Raises
    ------
    LogError
        A log that exists already, or a table that does not hold one.

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
    if Path(store).exists():
        raise LogError(f"{str(store)!r} exists already; a log is not written over.")
    if Path(path).suffix == ".parquet":
        table = import_extra("pyarrow.parquet", "parquet").read_table(path)
        about = (table.schema.metadata or {}).get(b"mcvar", b"").decode()
        rows: Iterator[dict[str, Any]] = iter(table.to_pylist())
    else:
        lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
        about = lines[0][1:] if lines and lines[0].startswith("#") else ""
        rows = iter(csv.DictReader(lines[1:]))
    if not about:
        raise LogError(
            f"{str(path)!r} is no table of a safety log; expected what safety.export wrote."
        )
    waiting: dict[int, list[Record]] = {}
    place = "its description"
    try:
        known = json.loads(about)
        campaign = {name: v for name, v in known["campaign"].items() if name != "format"}
        proposals = [(int(k), int(first), dict(found)) for k, first, found in known["proposals"]]
        for k, row in enumerate(rows):
            place = f"row {k}"
            waiting.setdefault(int(row["proposal"]), []).append(_record(row))
    except (ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
        raise LogError(
            f"{place} of {str(path)!r} is not as export() writes it: {type(error).__name__}: "
            f"{error}."
        ) from error
    log = Log(store)
    try:
        log.identify(campaign)
        for number, first, description in proposals:
            log.add_proposal(number, first, description)
        for number, records in waiting.items():
            for first in range(0, len(records), _AT_ONCE):
                log.append(records[first : first + _AT_ONCE], number)
    finally:
        log.close()


def _rows(log: Log) -> Iterator[tuple[Any, ...]]:
    logged = LoggedScenarios(log)
    logged.refresh()
    weights = logged.weights()
    firsts = [proposal.first for proposal in log.proposals()]
    for record in log.read():
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


def _record(row: dict[str, Any]) -> Record:
    def array(name: str, dtype: Any) -> Any:
        values = np.array(json.loads(row[name]), dtype=dtype)
        return values if values.size else values.reshape((0,) if dtype is np.int64 else (0, 0))

    return Record(
        scenario=int(row["scenario"]),
        component=int(row["component"]),
        status=row["status"],
        crash=bool(int(row["crash"])),
        states=array("states", np.float64),
        action=array("actions", np.int64),
        taken=array("taken", np.float64),
        time_to_collision=float(row["time_to_collision"]),
        seconds=float(row["seconds"]),
        error=row["error"],
    )
