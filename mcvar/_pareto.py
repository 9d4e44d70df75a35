"""The tail of weights or values: a generalised Pareto law fitted to the largest of them."""

from typing import NamedTuple

import numpy as np
from scipy import special

from mcvar._typing import FloatArray

_LEAST_ABOVE = 20
_HIGHEST_INDEX = 0.45  # at which a tail is extrapolated: the variance is infinite from 1/2 on


class ParetoTail(NamedTuple):
    """The `size` largest values exceed `start` by a generalised Pareto law.

    Attributes
    ----------
    shape : float
        Tail index k: moments of order 1/k and beyond are infinite. 0 where there were too few
        values for a fit, −inf where they repeat.
    scale, start : float
        NaN where nothing was fitted.
    size : int
        Number of values in the tail; 0 where nothing was fitted.
    """

    shape: float
    scale: float = np.nan
    start: float = np.nan
    size: int = 0

    def quantile(self, exceedance: FloatArray) -> FloatArray:
        """Return what a share `exceedance` (r,) in (0, 1] of the tail lies above."""
        grown = special.boxcox(exceedance, -self.shape)  # (p^-k - 1) / -k, the limit at k = 0 too
        return np.asarray(self.start - self.scale * grown)

    def beyond(self, share: float, n: int) -> "Beyond":
        """Law of the `share` of n values that lie furthest out, which may be less than 1/n.

        The index is taken to be at most 0.45, so that the law has a variance.
        """
        index = min(self.shape, _HIGHEST_INDEX)
        exceedance = min(share * n / self.size, 1.0)
        scale = self.scale * exceedance**-index
        level = self.start - self.scale * float(special.boxcox(exceedance, -index))
        return Beyond(level, scale, index)


class Beyond(NamedTuple):
    """Law of the values beyond a quantile: `level` plus a generalised Pareto excess."""

    level: float
    scale: float
    shape: float

    @property
    def mean_excess(self) -> float:
        """Mean distance of those values from the level."""
        return self.scale / (1 - self.shape)

    @property
    def square_excess(self) -> float:
        """Mean square of that distance."""
        return 2 * self.scale**2 / ((1 - self.shape) * (1 - 2 * self.shape))


def pareto_tail(values: FloatArray, n: int, centre: float | None = None) -> ParetoTail:
    """Upper tail of n values, of which the largest are given, shape (m,).

    Where a `centre` is given, only values above it belong to the tail, and fewer than 20 of them
    are no tail: a function that vanishes on most of its domain has few values of its own.

    References
    ----------
    Zhang & Stephens, "A new and efficient estimation method for the generalized Pareto
    distribution", Technometrics 51 (2009), eqs. 7-9, on the min(n/5, 3√n) largest weights, with
    the weak prior k ~ 1/2 of Vehtari, Simpson, Gelman, Yao & Gabry, "Pareto smoothed importance
    sampling", JMLR 25 (2024), appendix C.
    """
    m = min(len(values) - 1, n // 5, int(3 * np.sqrt(n)))
    if centre is not None:
        above = int(np.count_nonzero(values > centre))
        m = min(m, above - 1) if above >= _LEAST_ABOVE else 0
    if m < 10:
        return ParetoTail(0.0)
    ordered = np.sort(np.partition(values, -m - 1)[-m - 1 :])
    excess = ordered[1:] - ordered[0]
    # Values that repeat are those of a step function, and bounded.
    if (
        np.count_nonzero(np.diff(ordered)) < m // 2
        or excess[-1] <= 1e-12 * np.abs(ordered[[0, -1]]).max()
    ):
        return ParetoTail(-np.inf)
    excess = np.maximum(excess, np.finfo(float).tiny)
    grid = 30 + int(np.sqrt(m))
    quartile = excess[int(m / 4 + 0.5) - 1]
    steps = np.arange(1, grid + 1) - 0.5
    theta = 1 / excess[-1] + (1 - np.sqrt(grid / steps)) / (3 * max(quartile, 1e-300))
    shapes = np.log1p(-theta[:, np.newaxis] * excess).mean(axis=1)
    log_likelihood = m * (np.log(-theta / shapes) - shapes - 1)
    weight = special.softmax(log_likelihood)
    mean = float(theta @ weight)
    fitted = float(np.log1p(-mean * excess).mean())
    shape = (m * fitted + 10 * 0.5) / (m + 10)
    return ParetoTail(shape, -fitted / mean, float(ordered[0]), m)


def pareto_tail_index(values: FloatArray, n: int) -> float:
    """Tail index of n values; see `pareto_tail`."""
    return pareto_tail(values, n).shape
