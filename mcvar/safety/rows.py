"""Rows of a log: what SQLite holds of a scenario, and the checks that it passes when read."""

import hashlib
import math
import struct
import zlib
from collections.abc import Sequence
from math import nan
from typing import Any, NamedTuple

import numpy as np

from mcvar._typing import BoolArray, FloatArray, IntArray
from mcvar.safety.batch import Record

STATUSES = ("ok", "failed", "timeout", "died")
_KINDS: tuple[tuple[type, ...], ...] = (
    (int,), (int,), (int,), (str,), (int,), (int,), (bytes,), (bytes,), (bytes,),
    (float, type(None)), (float,), (str,),
)  # fmt: skip
_NUMBERS = struct.Struct("<9q2d")
_DIGEST_BYTES = 16
_ABOVE_ONE = 1e-5  # by which sums of probabilities, each rounded, may exceed one


def row_of(record: Record, proposal: int) -> tuple[Any, ...]:
    """Return what is kept of a scenario, without its checksum."""
    return (
        int(record.scenario),
        int(proposal),
        int(record.component),
        str(record.status),
        int(record.crash),
        len(record.action),
        np.ascontiguousarray(record.states, dtype="<f8").tobytes(),
        np.ascontiguousarray(record.action, dtype="<i4").tobytes(),
        np.ascontiguousarray(record.taken, dtype="<f8").tobytes(),
        None if np.isnan(record.time_to_collision) else float(record.time_to_collision),
        float(record.seconds),
        str(record.error).encode("utf-8", "backslashreplace").decode(),
    )


def checksums(owner: str, rows: Sequence[Sequence[Any]]) -> list[bytes]:
    """Return the checksums of rows that have kinds: of campaign, table, key and content.

    It is `digest` with less to do for each of many rows: numbers are packed, not written out, and
    lengths keep texts and bytes apart.
    """
    pack, sha256, head = _NUMBERS.pack, hashlib.sha256, f"{owner} scenario ".encode()
    found = []
    for row in rows:
        number, proposal, component, status, crash, decisions, states, action, taken = row[:9]
        closest, seconds, text = row[9:12]
        known, said = status.encode(), text.encode()
        try:
            numbers = pack(
                number, proposal, component, crash, decisions, len(known), len(states),
                len(action), len(taken), nan if closest is None else closest, seconds,
            )  # fmt: skip
        except struct.error as error:
            raise OverflowError(f"scenario {number} has a number beyond 64 bits") from error
        data = b"".join((head, numbers, known, states, action, taken, said))
        found.append(sha256(data).digest()[:_DIGEST_BYTES])
    return found


def former_checksum(values: tuple[Any, ...]) -> int:
    """CRC-32 of a row, as version 0.1.0 wrote it."""
    found = zlib.crc32(repr([v for v in values if not isinstance(v, bytes)]).encode())
    for value in values:
        if isinstance(value, bytes):
            found = zlib.crc32(value, found)
    return found


def have_kinds(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether the values of rows have the types that a log's own process writes."""
    columns = zip(*rows, strict=True)
    return all(
        set(kinds).issuperset(map(type, of)) for kinds, of in zip(_KINDS, columns, strict=False)
    )


def record_of(values: Sequence[Any], n_surrogates: int) -> Record:
    """Return the record that a sound row holds; ValueError where it makes no sense."""
    scenario, _, component, status, crash, decisions, states, action, taken = values[:9]
    closest, seconds = values[9:11]
    width = 1 + 4 * n_surrogates
    ended = 1 if status == "ok" else 0
    n_states = decisions + ended
    if status not in STATUSES:
        raise ValueError(f"its status is {status[:80]!r}; expected one of {', '.join(STATUSES)}")
    if crash not in (0, 1) or (crash and not ended):
        raise ValueError(f"its outcome is {crash} with status {status!r}")
    if not 0 <= component <= n_surrogates:
        raise ValueError(f"its component is {component} of {n_surrogates}")
    if not 0 <= seconds < math.inf:
        raise ValueError(f"it took {seconds} s")
    if decisions < 0 or len(action) != 4 * decisions or len(taken) != 8 * width * decisions:
        raise ValueError(
            f"{len(action)} and {len(taken)} bytes tell of its {decisions} decisions; expected "
            f"{4 * decisions} and {8 * width * decisions}"
        )
    if len(states) % (8 * n_states) if n_states else len(states):
        raise ValueError(f"{len(states)} bytes tell of its {n_states} states")
    return Record(
        scenario=scenario,
        component=component,
        status=status,
        crash=bool(crash),
        states=np.frombuffer(states, dtype="<f8").reshape(n_states, -1)
        if n_states
        else np.empty((0, 0)),
        action=np.frombuffer(action, dtype="<i4").astype(np.int64),
        taken=np.frombuffer(taken, dtype="<f8").reshape(decisions, -1)
        if decisions
        else np.empty((0, 0)),
        time_to_collision=np.nan if closest is None else closest,
        seconds=seconds,
        error=values[11],
    )


class Steps(NamedTuple):
    """What estimates use of n scenarios of one proposal.

    Attributes
    ----------
    scenario, component : ndarray of int, shape (n,)
    crash, unknown : ndarray of bool, shape (n,)
        Outcomes, and whether there is none.
    decisions : ndarray of int, shape (n,)
        Number of rows of `taken` for each.
    taken : ndarray, shape (sum of decisions, 1 + 4 J)
    error : str
        What the first failure said.
    """

    scenario: IntArray
    component: IntArray
    crash: BoolArray
    unknown: BoolArray
    decisions: IntArray
    taken: FloatArray
    error: str


def steps_of_records(records: Sequence[Record], n_surrogates: int) -> Steps:
    """Return what estimates use of records."""
    width = 1 + 4 * n_surrogates
    taken = [record.taken.reshape(-1, width) for record in records]
    return Steps(
        np.array([record.scenario for record in records], dtype=np.int64),
        np.array([record.component for record in records], dtype=np.int64),
        np.array([record.crash for record in records], dtype=bool),
        np.array([record.status != "ok" for record in records], dtype=bool),
        np.array([len(record.taken) for record in records], dtype=np.int64),
        np.concatenate(taken) if taken else np.empty((0, width)),
        next((record.error for record in records if record.status != "ok"), ""),
    )


def steps_of_rows(rows: Sequence[Sequence[Any]], n_surrogates: int) -> Steps:
    """Return the same of sound rows; ValueError where one makes no sense.

    All rows are looked at together; one by one only where something is wrong, to name it.
    """
    columns = list(zip(*rows, strict=True))
    number, component, crash, decisions = (
        np.array(columns[k], dtype=np.int64) for k in (0, 2, 4, 5)
    )
    status, states, action, taken, seconds = (columns[k] for k in (3, 6, 7, 8, 10))
    width = 1 + 4 * n_surrogates
    unknown = np.array([word != "ok" for word in status], dtype=bool)
    n_states = decisions + ~unknown
    sizes = np.array([list(map(len, column)) for column in (states, action, taken)])
    time = np.array(seconds)
    good = (
        set(STATUSES).issuperset(status)
        and ((crash == 0) | ((crash == 1) & ~unknown)).all()
        and ((component >= 0) & (component <= n_surrogates)).all()
        and ((time >= 0) & (time < math.inf)).all()
        and (decisions >= 0).all()
        and (sizes[1] == 4 * decisions).all()
        and (sizes[2] == 8 * width * decisions).all()
        and (sizes[0] % (8 * np.maximum(n_states, 1)) == 0).all()
        and ((n_states > 0) | (sizes[0] == 0)).all()
    )
    if good:
        steps = np.frombuffer(b"".join(taken), dtype="<f8").reshape(-1, width)
        good = _possible(steps).all() and not np.isnan(np.frombuffer(b"".join(states))).any()
    if not good:
        check_numbers([record_of(row, n_surrogates) for row in rows])
        raise ValueError("its rows do not fit together")
    first = int(unknown.argmax()) if unknown.any() else None
    error = "" if first is None else rows[first][11]
    return Steps(number, component, crash == 1, unknown, decisions, steps, error)


def _possible(taken: FloatArray) -> BoolArray:
    """Rows that can have been taken: probabilities and challenges, the action's not zero."""
    inside = ((taken >= 0) & (taken <= 1 + _ABOVE_ONE)).all(axis=1)
    return np.asarray(inside & (taken[:, 0] > 0))


def check_numbers(records: Sequence[Record]) -> None:
    """Raise ValueError where actions of one proposal were taken with what are no probabilities."""
    states = np.concatenate([np.empty(0), *(record.states.ravel() for record in records)])
    if np.isnan(states).any():
        _refuse(records, "states", np.isnan(states), [record.states.size for record in records])
    taken = [record.taken for record in records if record.taken.size]
    if not taken:
        return
    good = _possible(np.concatenate(taken))
    if not good.all():
        _refuse(records, "probabilities and challenges", ~good, [len(r.taken) for r in records])


def _refuse(records: Sequence[Record], name: str, bad: BoolArray, sizes: list[int]) -> None:
    where = int(np.searchsorted(np.cumsum(sizes), int(bad.argmax()), side="right"))
    raise ValueError(f"scenario {records[where].scenario} has {name} that cannot be")


def check_proposal(known: Any) -> None:
    """Raise ValueError where a proposal's description is none."""
    if not isinstance(known, dict):
        raise ValueError(f"{type(known).__name__} where a description was expected")
    surrogates = known.get("surrogates")
    if not (isinstance(surrogates, list) and all(isinstance(name, str) for name in surrogates)):
        raise ValueError("its surrogates have no names")
    shares = _numbers(known.get("shares"), (len(surrogates) + 1,), "shares")
    if (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(f"its shares are {shares.tolist()}; expected shares of sum 1")
    threshold = float(_numbers(known.get("threshold"), (), "threshold"))
    if not 0 <= threshold < 1:
        raise ValueError(f"its threshold is {threshold}; expected one in [0, 1)")
    initial = known.get("initial")
    if initial is None:
        return
    if not isinstance(initial, dict):
        raise ValueError(f"{type(initial).__name__} where initial criticalities were expected")
    count = len(surrogates)
    mean = _numbers(initial.get("mean"), (count,), "initial mean")
    if not ((mean >= 0) & (mean <= 1 + _ABOVE_ONE)).all():
        raise ValueError(f"its initial mean is {mean.tolist()}; expected numbers in [0, 1]")
    covariance = _numbers(initial.get("covariance"), (count, count), "initial covariance")
    scale = max(float(np.abs(covariance).max(initial=0.0)), 1e-300)
    if np.abs(covariance - covariance.T).max(initial=0.0) > 1e-9 * scale or (
        np.linalg.eigvalsh(covariance).min(initial=0.0) < -1e-9 * scale
    ):
        raise ValueError("its initial covariance is no covariance")


def _numbers(values: Any, shape: tuple[int, ...], name: str) -> FloatArray:
    """Return finite numbers of a shape; ValueError where they are none."""
    try:
        array = np.array(values)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "if" or array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"its {name} are {str(values)[:80]}; expected {shape} finite numbers")
    return np.asarray(array, dtype=np.float64)


def check_campaign(known: dict[str, Any]) -> None:
    """Raise ValueError where the description of a campaign is none."""
    for name, kind in (("simulator", str), ("seed", int), ("state_names", list)):
        if name in known and type(known[name]) is not kind:
            raise ValueError(f"its {name} is {str(known[name])[:80]!r}")
    if not all(isinstance(name, str) for name in known.get("state_names", [])):
        raise ValueError("its state_names are no texts")
    if "proposal" in known and not isinstance(known["proposal"], dict):
        raise ValueError("its proposal is no description")
    if not isinstance(known.get("adapt"), dict | None):
        raise ValueError("its adaptation is no description")
