"""The error bar: one set of rules for every origin of draws.

Each origin offers a few standard errors with degrees of freedom, and the one with the longest 95 %
half-width is reported. What each of them sees:

* the *spread* of the rows themselves, by the design of the draws (independent, stratified, in
  replicates, along chains);
* for nets that grow, the spread of the means of *half replicates*: an error is not believed to
  fall faster than 1/n;
* for replicates, the *coin*: where values have a gap (a jump), replicates count points on either
  side of it, and may agree by chance; their means are granted the spread of a fair coin;
* the *tail*: what rows further out than any that was drawn would add, by a Pareto law fitted to the
  largest rows;
* for fitted controls, the *jackknife* of their expectations over folds, twice that where the
  control leaves a heavier tail than the values have; for chains, *batch means*.

Half-widths for independent rows are Hall's, which take out the skewness of the rows.

References
----------
Hall, "On the removal of skewness by transformation", JRSS B 54 (1992); Vehtari, Simpson, Gelman,
Yao & Gabry, "Pareto smoothed importance sampling", JMLR 25 (2024); Geyer, "Practical Markov chain
Monte Carlo", Statistical Science 7 (1992).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mcvar._pareto import ParetoTail, pareto_tail
from mcvar._typing import FloatArray
from mcvar.integrate.combine import Combined, replicates
from mcvar.integrate.sums import Sums
from mcvar.moments import total
from mcvar.result import half_width, interval_widths

_LEVEL = 0.95  # of the intervals whose half-widths are compared
_RAMP = 0.2  # tail index from which the tail of replicates counts in full
_GAP_SHARE = 0.05  # of the range of values, from which a gap is a jump
_GAP_FACTOR = 20.0  # times what other gaps measure
_HEAVIER, _HEAVY = 0.05, 0.3  # by how much a control makes the tail heavier, and how heavy
_FEW, _UNSEEN = 1000, 1.5  # draws up to which that adds so many jackknife errors beyond them
_UNFITTED = 50  # rows below which no tail can be fitted
_TINY = 1e-280  # squares whose cubes are lost


class Bar(NamedTuple):
    """A standard error (m,) with degrees of freedom, a number or (m,)."""

    error: FloatArray
    df: Any


@dataclass(frozen=True, eq=False)
class Tails:
    """Pareto laws fitted to the upper and the lower tail of each of m columns of n rows."""

    upper: tuple[ParetoTail, ...]
    lower: tuple[ParetoTail, ...]
    n: int

    @classmethod
    def of(cls, sums: Sums, share: int = 1) -> "Tails":
        """Fit tails to the largest and smallest rows, as to those of n/share rows."""
        n, mean = sums.n // share, total(sums.parts).value_mean
        centre = mean if not len(sums.sample) else np.median(sums.sample, axis=0)
        return cls(
            tuple(map(_tail, sums.upper.values.T, centre, np.full(len(mean), n))),
            tuple(map(_tail, sums.lower.values.T, -centre, np.full(len(mean), n))),
            n,
        )

    @property
    def index(self) -> FloatArray:
        """Tail index of the heavier side of each column, shape (m,)."""
        return np.array(
            [max(u.shape, v.shape) for u, v in zip(self.upper, self.lower, strict=True)]
        )

    def unseen(self, mean: FloatArray, n: FloatArray) -> FloatArray:
        """Standard error (m,) from what n (m,) independent rows have not shown.

        The second moment about the mean of the fitted tail beyond its quantile 1/n, over n.
        """

        def error(tail: ParetoTail, j: int, sign: float) -> float:
            law = tail.beyond(1 / n[j], self.n)
            far = law.level - sign * mean[j]
            moment = far**2 + 2 * far * law.mean_excess + law.square_excess
            return float(np.sqrt(max(moment, 0.0)) / n[j])

        return self._larger(error)

    def of_replicates(self, replicates: int, size: int) -> FloatArray:
        """Standard error (m,) from what one point a replicate beyond the quantile 1/size may do."""

        def error(tail: ParetoTail, j: int, sign: float) -> float:
            law = tail.beyond(1 / size, self.n)
            ramp = min(max(law.shape / _RAMP, 0.0), 1.0)
            spread = law.mean_excess / np.sqrt(1 - 2 * law.shape)
            return float(ramp * spread / (size * np.sqrt(replicates)))

        return self._larger(error)

    def _larger(self, error: Callable[[ParetoTail, int, float], float]) -> FloatArray:
        """Larger of the errors (m,) from both tails; nothing where no tail was fitted."""
        found = np.zeros(len(self.upper))
        for sides, sign in ((self.upper, 1.0), (self.lower, -1.0)):
            for j, tail in enumerate(sides):
                if tail.size:
                    found[j] = max(found[j], error(tail, j, sign))
        return found


def _tail(values: FloatArray, centre: float, n: int) -> ParetoTail:
    return pareto_tail(values[np.isfinite(values)], int(n), float(centre))


def independent_bar(
    spread: Combined, sums: Sums, tails: Tails, *, n: FloatArray | None = None
) -> Combined:
    """Error of independent rows, or n (m,) effective ones: spread, unseen rows, and skewness."""
    mean = total(sums.parts).value_mean
    effective = np.full(len(mean), float(sums.n)) if n is None else np.maximum(n, 1.0)
    unseen = tails.unseen(mean, effective)
    found = with_error(spread, np.hypot(np.sqrt(spread.variance), unseen))
    if sums.cubes is None:
        return found
    squares = total(sums.parts).values
    squares = squares if squares.ndim == 1 else np.diagonal(squares)
    squares = np.maximum(squares, 0.0)  # rounding may leave less than nothing
    root = np.sqrt(squares)
    # Skewness over √n, (Σc³/n)/(Σc²/n)^1.5/√n, in steps that neither over- nor underflow.
    skewness = np.divide(sums.cubes, squares, out=np.zeros_like(root), where=squares > _TINY)
    skewness = np.divide(skewness, root, out=np.zeros_like(root), where=squares > _TINY)
    return replace(found, skewness=skewness)


def stratified_bar(spread: Combined, rows: FloatArray, tails: Tails, strata: int) -> Combined:
    """Error of rows (n, m) in strata: their spread, a jump within one stratum, and the tail."""
    n = len(rows)
    side = coin(rows, 1, n) * np.sqrt(n / strata)
    found = longest(spread, [Bar(side, np.maximum(spread.df, 1.0))])
    mean = rows.mean(axis=0)
    ramp = np.clip(tails.index / _RAMP, 0.0, 1.0)
    unseen = ramp * tails.unseen(mean, np.full(len(mean), float(n)))
    return with_error(found, np.hypot(np.sqrt(found.variance), unseen))


def replicated_bar(
    sums: Sums, tails: Tails, halves: FloatArray | None, *, covariance: bool
) -> Combined:
    """Error of independent replicates: spread, half replicates, coin and tail.

    `halves` (R, m) are means of the first halves of the replicates, where these grow.
    """
    parts = sums.parts
    spread = replicates(parts, covariance=covariance)
    count, size = len(parts), min(part.n for part in parts)
    bars = [Bar(coin(sums.sample, count, size), count - 1)]
    if halves is not None:
        means = np.stack([part.value_mean for part in parts])
        both = np.concatenate([halves, 2 * means - halves]) - means.mean(axis=0)
        variance = (both**2).sum(axis=0) / (2 * (count - 1)) / count
        bars.append(Bar(np.sqrt(variance) / 2, count - 1))
    found = longest(spread, bars)
    tail = tails.of_replicates(count, size)
    return with_error(found, np.hypot(np.sqrt(found.variance), tail))


def coin(sample: FloatArray, replicates: int, size: int) -> FloatArray:
    """Standard error (m,) of a mean over replicates whose points fall on either side of a jump.

    Zero where the values have no gap: one that is wide against their range and against other gaps.
    """
    found = np.zeros(sample.shape[1])
    cut = 2 * replicates
    n = len(sample)
    if n <= 2 * cut + 1:
        return found
    ordered = np.sort(sample, axis=0)
    gaps = np.diff(ordered, axis=0)
    inner = gaps[cut - 1 : n - cut].max(axis=0)
    span = ordered[n - cut - 1] - ordered[cut]
    usual = max(int(np.ceil(np.sqrt(n))), -(-n // 100))
    others = np.partition(gaps, len(gaps) - usual, axis=0)[len(gaps) - usual]
    jumps = (inner > _GAP_SHARE * span) & (inner > _GAP_FACTOR * others)
    found[jumps] = inner[jumps] / (2 * size * np.sqrt(replicates))
    return found


def jackknife_bar(error: FloatArray, folds: int, tails: Tails, plain: Tails) -> Bar:
    """Error of a fitted control's expectation, from the jackknife over folds (m,).

    A control that leaves a heavier tail than the values have errs beyond all draws, of which
    leaving draws out shows only a part where they are few.
    """
    heavier = (tails.index > plain.index + _HEAVIER) & (tails.index > _HEAVY)
    heavier |= tails.n < _UNFITTED
    factor = 1 + _UNSEEN * min(1.0, float(np.sqrt(_FEW / tails.n)))
    return Bar(np.where(heavier, factor, 1.0) * error, max(folds - 1, 1))


def half_widths(found: Combined) -> FloatArray:
    """The longer half-width (m,) of 95 % intervals, skewness included."""
    below, above = interval_widths(np.sqrt(found.variance), found.df, _LEVEL, found.skewness)
    return np.asarray(np.maximum(below, above))


def longest(spread: Combined, bars: list[Bar]) -> Combined:
    """Error bars at least as long as the longest 95 % half-width, column by column.

    Degrees of freedom are those of the bar with the longest half-width, and the standard error is
    its own or that of the spread, whichever is larger: up to 1.4 times too long, never too short.
    Skewness stays where its interval reaches further on one side than the new bar does.
    """
    error = np.sqrt(spread.variance)
    df = np.broadcast_to(np.asarray(spread.df, dtype=float), error.shape).copy()
    skewness = np.broadcast_to(np.asarray(spread.skewness, dtype=float), error.shape).copy()
    half = half_width(error, df, _LEVEL)
    far = half_widths(spread)
    for bar in bars:
        own_df = np.broadcast_to(np.asarray(bar.df, dtype=float), error.shape)
        own = half_width(bar.error, own_df, _LEVEL)
        wider = own > half
        half = np.where(wider, own, half)
        error, df = np.where(wider, bar.error, error), np.where(wider, own_df, df)
        skewness = np.where(own > far, 0.0, skewness)
    return replace(with_error(spread, error), df=df, skewness=skewness)


def with_error(found: Combined, error: FloatArray) -> Combined:
    """The same means with standard errors (m,) that are at least those of before."""
    missing = np.maximum(error**2 - found.variance, 0.0)
    more = missing if found.covariance.ndim == 1 else np.diag(missing)
    return replace(found, covariance=found.covariance + more)
