"""What a benchmark returns: claims, each a number with its spread, in a place of a table.

A script of the suite has a generator ``claims(quick)``; ``python -m benchmarks`` runs them.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Claim:
    """One number of one table.

    `low` and `high` are the spread that `spread` names. mcvar loses where `value` is on the wrong
    side of `par`; no `par`, no comparison (a value of its own, or one of its methods by another).
    """

    table: str
    row: str
    column: str
    value: float
    low: float | None = None
    high: float | None = None
    spread: str = ""
    repeats: int = 1
    unit: str = "times"
    peers: tuple[str, ...] = ()
    par: float | None = None
    lower_is_better: bool = False
    note: str = ""

    @property
    def key(self) -> str:
        return f"{self.table}/{self.row}/{self.column}"

    def plain(self) -> dict:
        """Return what the result file keeps: finite numbers, and what is not at its default."""
        kept: dict = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING or value != field.default:
                kept[field.name] = list(value) if isinstance(value, tuple) else value
        for name in ("value", "low", "high"):
            if kept.get(name) is not None:
                kept[name] = float(f"{kept[name]:.6g}")
                if not np.isfinite(kept[name]):
                    raise ValueError(f"{self.key}: {name} is {kept[name]}, not a finite number")
        return kept


def claim_of(kept: dict) -> Claim:
    """Return the claim of an entry in the result file."""
    names = {field.name for field in dataclasses.fields(Claim)}
    return Claim(**{name: value for name, value in kept.items() if name in names})


def loses(claim: Claim) -> bool:
    if claim.par is None:
        return False
    return claim.value > claim.par if claim.lower_is_better else claim.value < claim.par


def beyond_spread(claim: Claim) -> bool:
    """Say whether the whole spread lies on the side of `par` where the value is."""
    if claim.par is None or claim.low is None or claim.high is None:
        return False
    return not claim.low <= claim.par <= claim.high


class Skipped(Exception):
    """A part of a suite cannot run here; the message says why."""


def cpu_seconds(task: Callable[[], object]) -> float:
    """Time one run, in seconds of the processor (all threads): other programs hardly count."""
    start = time.process_time()
    task()
    return time.process_time() - start


def interleaved(repeats: int, *tasks: Callable[[], object]) -> np.ndarray:
    """Return processor seconds of every task, (repeats, tasks): a busy spell then meets all."""
    return np.array([[cpu_seconds(task) for task in tasks] for _ in range(repeats)])


def time_ratio(theirs: np.ndarray, ours: np.ndarray) -> dict:
    """Return value, spread and repeats of a ratio of times, taken within each round."""
    ratios = theirs / ours
    return {
        "value": float(np.median(ratios)),
        "low": float(ratios.min()),
        "high": float(ratios.max()),
        "spread": "range of rounds",
        "repeats": len(ratios),
    }


def bootstrapped(
    statistic: Callable[..., float], samples: Sequence[np.ndarray], resamples: int = 400
) -> dict:
    """Return a statistic of samples, and its 90 % bootstrap interval.

    Samples of equal length are resampled together (they share seeds), others apart.
    """
    rng = np.random.default_rng(0)
    found = []
    for _ in range(resamples):
        rows = {len(s): rng.integers(0, len(s), len(s)) for s in samples}
        found.append(statistic(*(s[rows[len(s)]] for s in samples)))
    low, high = np.quantile(found, (0.05, 0.95))
    return {
        "value": float(statistic(*samples)),
        "low": float(low),
        "high": float(high),
        "spread": "90 % bootstrap",
        "repeats": min(len(s) for s in samples),
    }


def root_mean_square(errors: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def geometric_mean(values: np.ndarray) -> float:
    return float(np.exp(np.mean(np.log(values))))


def show(claims: Iterable[Claim]) -> None:
    """Print claims as they come: what a script does when it runs on its own."""
    for claim in claims:
        spread = "" if claim.low is None else f" [{claim.low:.3g}, {claim.high:.3g}]"
        print(f"{claim.key}: {claim.value:.4g}{spread} {claim.unit} {claim.note}", flush=True)
