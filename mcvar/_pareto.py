"""The tail of weights or values: a generalised Pareto law fitted to the largest of them."""

from typing import NamedTuple

import numpy as np
from scipy import special

from mcvar._typing import FloatArray


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


def pareto_tail(weights: FloatArray, n: int) -> ParetoTail:
    """Fit the tail of n weights, of which the largest are given, shape (m,).

    References
    ----------
    Zhang & Stephens, "A new and efficient estimation method for the generalized Pareto
    distribution", Technometrics 51 (2009), eqs. 7-9, on the min(n/5, 3√n) largest weights, with
    the weak prior k ~ 1/2 of Vehtari, Simpson, Gelman, Yao & Gabry, "Pareto smoothed importance
    sampling", JMLR 25 (2024), appendix C.
    """
    m = min(len(weights) - 1, n // 5, int(3 * np.sqrt(n)))
    if m < 10:
        return ParetoTail(0.0)
    ordered = np.sort(weights)[-m - 1 :]
    excess = ordered[1:] - ordered[0]
    # Weights that repeat are those of a step function, and bounded.
    if len(np.unique(ordered)) <= m // 2 or excess[-1] <= 1e-12 * ordered[-1]:
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


def pareto_tail_index(weights: FloatArray, n: int) -> float:
    """Return the tail index of n weights alone; see `pareto_tail`."""
    return pareto_tail(weights, n).shape
