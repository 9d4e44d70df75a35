"""Rows of a log: what SQLite holds of a scenario, and the checks that it passes when read."""

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mcvar._typing import BoolArray, FloatArray
from mcvar.execution.store import digest
from mcvar.safety.batch import Record

STATUSES = ("ok", "failed", "timeout", "died")
_KINDS = (int, int, int, str, int, int, bytes, bytes, bytes, float | None, float, str)
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


def checksum(owner: str, values: tuple[Any, ...]) -> bytes:
    """Return the checksum of a row, which covers its campaign and everything in it."""
    return digest(owner, "scenario", *values)


def former_checksum(values: tuple[Any, ...]) -> int:
    """CRC-32 of a row, as version 0.1.0 wrote it."""
    found = zlib.crc32(repr([v for v in values if not isinstance(v, bytes)]).encode())
    for value in values:
        if isinstance(value, bytes):
            found = zlib.crc32(value, found)
    return found


def has_kinds(values: Sequence[Any]) -> bool:
    """Whether the values of a row have the types that a log's own process writes."""
    return len(values) == len(_KINDS) and all(map(isinstance, values, _KINDS))


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


def check_numbers(records: Sequence[Record]) -> None:
    """Raise ValueError where actions of one proposal were taken with what are no probabilities."""
    states = np.concatenate([np.empty(0), *(record.states.ravel() for record in records)])
    if np.isnan(states).any():
        _refuse(records, "states", np.isnan(states), [record.states.size for record in records])
    taken = [record.taken for record in records if record.taken.size]
    if not taken:
        return
    steps = np.concatenate(taken)
    # The action was drawn, so that its naturalistic probability, column 0, is none of zero.
    good = ((steps >= 0) & (steps <= 1 + _ABOVE_ONE)).all(axis=1) & (steps[:, 0] > 0)
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
