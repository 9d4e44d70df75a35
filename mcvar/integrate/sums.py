"""Sums over rows of control-adjusted values: all that an error bar needs, in memory that is fixed.

Rows are the values whose mean is the estimate: weighted, and less what a control explains of them.
Their sums are frozen and add, so that blocks, threads, processes and machines can make them in any
order and the driver adds them up in the order of the draws.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from mcvar._typing import FloatArray
from mcvar.integrate.combine import ratio_gradient
from mcvar.moments import Moments, added, total

_MOST_KEPT = 1024  # largest rows kept a column: enough for a Pareto fit of any number of rows
_KEPT_IN_ALL = 2**16  # over all columns, so that thousands of columns do not fill the memory
_LEAST_KEPT = 64
_SAMPLED = 2048  # first rows of a replicate, over all columns, in which gaps are looked for
_CENTRED = 256  # first independent rows, whose median is a centre


def n_kept(columns: int) -> int:
    """Number of largest and of smallest rows that are kept for each of so many columns."""
    return min(max(_KEPT_IN_ALL // max(columns, 1), _LEAST_KEPT), _MOST_KEPT)


def n_sampled(columns: int, replicated: bool) -> int:
    """Number of first rows of each group that are kept, to look for gaps in and for a centre."""
    return max(_LEAST_KEPT, _SAMPLED // columns) if replicated else _CENTRED


@dataclass(frozen=True, eq=False)
class Top:
    """The largest rows of each of p columns.

    Attributes
    ----------
    values : ndarray, shape (k, p)
        In no order; −inf where a column has fewer than another.
    weights : ndarray, shape (k, p), or None
        Weights of the draws that they belong to.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.arange(3000.0)[:, np.newaxis]
    >>> top = Top.of(rows[:1500]) + Top.of(rows[1500:])
    >>> top.values.shape, float(top.threshold[0])
    ((1024, 1), 1976.0)
    """

    values: FloatArray
    weights: FloatArray | None = None

    @classmethod
    def of(
        cls,
        rows: FloatArray,
        weights: FloatArray | None = None,
        threshold: FloatArray | None = None,
    ) -> Self:
        """Largest of rows (n, p); those at most `threshold` (p,) are known not to be wanted."""
        n, p = rows.shape
        if p == 1 and weights is None and threshold is not None and np.isfinite(threshold[0]):
            column = rows[:, 0]
            return cls(column[column > threshold[0]][:, np.newaxis])._largest()
        if threshold is not None and np.isfinite(threshold).any():
            above = rows > threshold
            n = int(np.count_nonzero(above, axis=0).max())
            values = np.full((n, p), -np.inf)
            own = None if weights is None else np.ones((n, p))
            for j in range(p):
                chosen = np.flatnonzero(above[:, j])
                values[: len(chosen), j] = rows[chosen, j]
                if own is not None and weights is not None:
                    own[: len(chosen), j] = weights[chosen]
            return cls(values, own)._largest()
        if weights is not None:
            return cls(rows, np.broadcast_to(weights[:, np.newaxis], rows.shape))._largest()
        return cls(rows)._largest()

    def _largest(self) -> Self:
        n, p = self.values.shape
        keep = n_kept(p)
        if n <= keep:
            return self
        if self.weights is None:
            return replace(self, values=np.partition(self.values, n - keep, axis=0)[n - keep :])
        order = np.argpartition(self.values, n - keep, axis=0)[n - keep :]
        return replace(
            self,
            values=np.take_along_axis(self.values, order, axis=0),
            weights=np.take_along_axis(self.weights, order, axis=0),
        )

    @property
    def threshold(self) -> FloatArray:
        """Least value that is kept, shape (p,); −inf where nothing has been left out."""
        n, p = self.values.shape
        return self.values.min(axis=0) if n == n_kept(p) else np.full(p, -np.inf)

    def __add__(self, other: "Top") -> "Top":
        weights = None
        if self.weights is not None and other.weights is not None:
            weights = np.concatenate([self.weights, other.weights])
        return Top(np.concatenate([self.values, other.values]), weights)._largest()


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over rows (n, p).

    Attributes
    ----------
    groups : tuple of Moments or None
        Moments of each replicate; of all rows, where rows are independent.
    cubes : ndarray, shape (p,), or None
        Centred sums of cubes, for the skewness of independent rows.
    upper, lower : Top
        The largest rows, and the largest of −rows.
    sample : ndarray, shape (s, p)
        The first rows of each group, in which gaps are looked for.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(1).exponential(size=(1000, 1))
    >>> whole, parts = Sums.of(rows), Sums.of(rows[:300]) + Sums.of(rows[300:])
    >>> np.allclose(whole.cubes, parts.cubes), whole.n == parts.n
    (True, True)
    """

    groups: tuple[Moments | None, ...]
    cubes: FloatArray | None
    upper: Top
    lower: Top
    sample: FloatArray

    @classmethod
    def of(
        cls,
        rows: FloatArray,
        group: int = 0,
        *,
        weights: FloatArray | None = None,
        covariance: bool = False,
        skewness: bool = True,
        sample: int = 0,
        thresholds: tuple[FloatArray, FloatArray] | None = None,
    ) -> "Sums":
        """Sums over rows of one group; the first `sample` of them are kept."""
        above, below = (None, None) if thresholds is None else thresholds
        moments, cubes = _moments(rows, covariance, skewness)
        return cls(
            (None,) * group + (moments,),
            cubes,
            Top.of(rows, weights, above),
            Top.of(-rows, weights, below),
            rows[:sample].copy(),
        )

    @property
    def parts(self) -> list[Moments]:
        """Moments of the groups that have rows."""
        return [part for part in self.groups if part is not None]

    @property
    def n(self) -> int:
        """Number of rows."""
        return sum(part.n for part in self.parts)

    @property
    def thresholds(self) -> tuple[FloatArray, FloatArray]:
        """Values beyond which rows, and −rows, belong to the largest so far."""
        return self.upper.threshold, self.lower.threshold

    def __add__(self, other: "Sums") -> "Sums":
        groups = [
            added(mine, its)
            for mine, its in zip(_padded(self, other), _padded(other, self), strict=True)
        ]
        cubes = None
        if self.cubes is not None and other.cubes is not None:
            cubes = self.cubes + other.cubes + _between(total(self.parts), total(other.parts))
        return Sums(
            tuple(groups),
            cubes,
            self.upper + other.upper,
            self.lower + other.lower,
            np.concatenate([self.sample, other.sample]) if len(other.sample) else self.sample,
        )


def _moments(
    rows: FloatArray, covariance: bool, skewness: bool
) -> tuple[Moments, FloatArray | None]:
    """Moments of rows (n, p), and their centred sums of cubes (p,) where these are wanted."""
    if rows.shape[1] == 1 and len(rows) > 1:
        # A single column, and most runs have one, is summed by dot products.
        mean = float(rows.sum()) / len(rows)
        centred = rows[:, 0] - mean
        squares = centred * centred
        spread = float(squares.sum())
        if np.isfinite(spread):
            shape = (1, 1) if covariance else (1,)
            empty = np.empty((0, 1)), np.empty((0, 0))
            moments = Moments(len(rows), np.array([mean]), np.full(shape, spread), *empty)
            return moments, np.array([squares @ centred]) if skewness else None
    moments = Moments.of(rows, covariance=covariance)
    if not skewness:
        return moments, None
    columns = rows - moments.value_mean
    return moments, np.einsum("ij,ij,ij->j", columns, columns, columns)


def _padded(sums: Sums, other: Sums) -> tuple[Moments | None, ...]:
    return sums.groups + (None,) * (len(other.groups) - len(sums.groups))


def _between(a: Moments, b: Moments) -> FloatArray:
    """Add to the cubes of two samples what their different means make of them (Pébay 2008, 2.6)."""
    n = a.n + b.n
    shift = b.value_mean - a.value_mean
    own = [part.values if part.values.ndim == 1 else np.diagonal(part.values) for part in (a, b)]
    cubic = shift**3 * (a.n * b.n * (a.n - b.n) / n**2)
    return np.asarray(cubic + 3 * shift * (a.n * own[1] - b.n * own[0]) / n)


def linearised(sums: Sums) -> Sums:
    """Sums over rows w (f − θ)/E w of ratios θ, from rows whose last column is w.

    Their means are zero; cubes are those about the pivot of f, which is near θ.
    """
    mean = total(sums.parts).value_mean
    ratio, gradient = ratio_gradient(mean)
    weight = mean[-1]

    def moments(part: Moments | None) -> Moments | None:
        if part is None:
            return None
        empty = np.empty((0, len(ratio))), np.empty((0, 0))
        return Moments(part.n, gradient @ part.mean, gradient @ part.values @ gradient.T, *empty)

    def top(of: Top, sign: float) -> Top:
        assert of.weights is not None
        values = of.values[:, :-1] - sign * ratio * of.weights[:, :-1]
        return Top(values / weight)

    return Sums(
        tuple(moments(part) for part in sums.groups),
        None if sums.cubes is None else sums.cubes[:-1] / weight**3,
        top(sums.upper, 1.0),
        top(sums.lower, -1.0),
        sums.sample @ gradient.T,
    )


def column(sums: Sums, j: int, scale: float = 1.0) -> Sums:
    """Sums over one column of the rows, times a positive scale."""
    at = slice(j, j + 1)

    def moments(part: Moments | None) -> Moments | None:
        if part is None:
            return None
        squares = part.values if part.values.ndim == 1 else np.diagonal(part.values)
        empty = np.empty((0, 1)), np.empty((0, 0))
        return Moments(part.n, part.value_mean[at] * scale, squares[at] * scale**2, *empty)

    return Sums(
        tuple(moments(part) for part in sums.groups),
        None if sums.cubes is None else sums.cubes[at] * scale**3,
        Top(sums.upper.values[:, at] * scale),
        Top(sums.lower.values[:, at] * scale),
        sums.sample[:, at] * scale,
    )
