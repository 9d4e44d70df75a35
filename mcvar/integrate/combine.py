"""From moments per fold or replicate to a value with an error bar.

This is where a control variate acts. Features have expectation zero, so for any coefficients
β that do not depend on a fold's own draws, the mean of (values − features β) over that fold is
unbiased. Cross-fitting takes β for each fold from all the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mcvar._typing import FloatArray
from mcvar.moments import Moments, total

MOST_FOLDS = 16  # fits per estimate; replicates beyond it share them

#: From the moments of parts of a sample to coefficients (k, m); how a control is fitted.
Solver: TypeAlias = Callable[[list[Moments]], FloatArray]


def least_squares(parts: list[Moments]) -> FloatArray:
    """Fit by least squares on all parts together."""
    return total(parts).coefficients()


@dataclass(frozen=True)
class Combined:
    """Means, their covariance (its diagonal unless asked for) and degrees of freedom.

    `df` and `skewness` (of the mean, which intervals allow for) are one number, or one for every
    mean.
    """

    mean: FloatArray
    covariance: FloatArray
    df: Any
    skewness: Any = 0.0

    @property
    def variance(self) -> FloatArray:
        """Variance of each mean, shape (p,)."""
        variance = self.covariance if self.covariance.ndim == 1 else np.diagonal(self.covariance)
        # Where a control explains everything, rounding may leave less than nothing.
        return np.maximum(variance, 0)


def independent(
    folds: list[Moments], solve: Solver = least_squares, *, after: Moments | None = None
) -> Combined:
    """Combine folds of independent draws.

    With one fold the coefficients come from the draws themselves, and the degrees of freedom
    pay for them as in ordinary regression; with more they are cross-fitted. `after` are moments of
    residuals of further draws, from coefficients that those draws had no part in.
    """
    residuals = [
        (fold.n, *fold.residual(beta))
        for fold, beta in zip(folds, coefficients(folds, solve), strict=True)
    ]
    if after is not None:
        residuals.append((after.n, after.value_mean, after.values))
    n = sum(count for count, _, _ in residuals)
    mean = np.sum([count / n * part for count, part, _ in residuals], axis=0)
    squares = np.sum([part for _, _, part in residuals], axis=0)
    fitted = folds[0].k if len(folds) == 1 else 0
    # Each part was centred at its own mean, which takes one degree of freedom.
    spare = max(n - len(residuals) - fitted, 1)
    return Combined(mean, squares / spare / n, max(n - 1 - fitted, 1))


def replicates(
    parts: list[Moments],
    solve: Solver = least_squares,
    *,
    folds: int = MOST_FOLDS,
    covariance: bool = False,
) -> Combined:
    """Combine independent randomisations: the error bar is the spread of their means."""
    k_folds = min(folds, len(parts), MOST_FOLDS)
    beta = coefficients([total(parts[i::k_folds]) for i in range(k_folds)], solve)
    means = np.stack([part.residual(beta[i % k_folds])[0] for i, part in enumerate(parts)])
    centred = means - means.mean(axis=0)
    scale = 1 / (len(parts) * (len(parts) - 1))
    spread = centred.T @ centred if covariance else np.einsum("ij,ij->j", centred, centred)
    return Combined(means.mean(axis=0), spread * scale, len(parts) - 1)


def ratio_gradient(means: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ratios (m,) of means to the last of them, and their gradient (m, m + 1) by the means.

    The gradient turns rows (w f, w) into rows w (f − θ)/E w (Owen 2013, eq. 9.8).
    """
    ratio, last = means[:-1] / means[-1], means[-1]
    return ratio, np.concatenate([np.eye(len(ratio)), -ratio[:, np.newaxis]], axis=1) / last


def coefficients(folds: list[Moments], solve: Solver) -> list[FloatArray]:
    """Coefficients for each fold from the other folds; from itself where it is the only one."""
    if folds[0].k == 0:
        return [np.zeros((0, folds[0].m))] * len(folds)
    if len(folds) == 1:
        return [solve(folds)]
    return [solve([other for j, other in enumerate(folds) if j != i]) for i in range(len(folds))]
