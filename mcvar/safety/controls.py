"""The controls: functions of a scenario's actions whose expectation is zero, as columns.

| name | columns | expectation zero because |
|---|---|---|
| "global" | C_j = Π q_j / q − 1 | likelihood ratios have mean 1 |
| "ordinal" | increments of C_j at the k-th critical step | they are martingale differences |
| "stratified" | C_j within strata of the first state | given that state, C_j has mean 0 |
| "value" | E_j = Σ W₋ (ρ Q_j − V_j), and V_j(s₀) − E V_j(s₀) | so for any function Q |
"""

from typing import NamedTuple

import numpy as np

from mcvar._typing import FloatArray, IntArray
from mcvar.control.stratified_regression import in_strata, shrunken_coefficients
from mcvar.integrate.combine import Solver, least_squares
from mcvar.moments import Moments, total
from mcvar.safety.weights import WeightedScenarios

CONTROLS = ("none", "global", "stratified", "ordinal", "value")
_DRAWS_PER_COLUMN = 20
_LEAST_NONZERO = 20  # entries of a column, of which cross-fitting takes some away
_RIDGE = 1e-3  # of a column's sum of squares; value controls may be exact and take none
_PRIOR = 10.0  # draws by which strata lean on one another
_MOST_STEPS = 12  # critical steps beyond it are pooled
_STRATA = 4


class InitialCriticality(NamedTuple):
    """V_j at the first state, averaged over free draws of it: mean (J,), covariance of the mean."""

    mean: FloatArray
    covariance: FloatArray


class Columns(NamedTuple):
    """Controls as columns, and what the error of their stated means adds.

    Attributes
    ----------
    z : ndarray, shape (n, k)
    solve : callable
        From moments of parts of a sample to coefficients.
    mean_covariance : ndarray, shape (k, k)
        Covariance of the stated means, zero for theorems.
    """

    z: FloatArray
    solve: Solver
    mean_covariance: FloatArray


def columns(
    name: str, sample: WeightedScenarios, initial: InitialCriticality | None, strata: str = "first"
) -> Columns:
    """Return the columns of control `name`, scaled, without those that cannot be fitted.

    There are at most n/20 of them, and each has entries enough for its coefficient to mean
    something: tens of nearly empty columns once led to a negative crash rate.
    """
    n, n_surrogates = sample.n, len(sample.shares) - 1
    if name == "none" or n_surrogates == 0:
        return no_columns(n)
    most = max(n // _DRAWS_PER_COLUMN, 1)
    if name == "global":
        return _fitted(sample.ratio, most, _ridge)
    if name == "stratified":
        return _stratified(sample, most, strata)
    if name == "ordinal":
        kept = int(np.clip(most // n_surrogates, 1, sample.ordinal.shape[2]))
        pooled = np.concatenate(
            [
                sample.ordinal[:, :, : kept - 1],
                sample.ordinal[:, :, kept - 1 :].sum(axis=2, keepdims=True),
            ],
            axis=2,
        )
        return _fitted(pooled.reshape(n, -1), most, _ridge)
    if initial is None:
        return _fitted(sample.value, most, least_squares)
    z = np.column_stack([sample.value, sample.criticality - initial.mean])
    covariance = np.zeros((2 * n_surrogates, 2 * n_surrogates))
    covariance[n_surrogates:, n_surrogates:] = initial.covariance
    return _fitted(z, most, least_squares, covariance)


def no_columns(n: int) -> Columns:
    """Return no controls for `n` scenarios."""
    return Columns(np.empty((n, 0)), least_squares, np.empty((0, 0)))


def _ridge(parts: list[Moments]) -> FloatArray:
    """Least squares with a light ridge: ratios of similar surrogates are nearly collinear."""
    merged = total(parts)
    return merged.coefficients(_RIDGE * merged.n)


def _fitted(
    z: FloatArray, most: int, solve: Solver, covariance: FloatArray | None = None
) -> Columns:
    filled = np.count_nonzero(z, axis=0)
    usable = np.flatnonzero(filled >= min(_LEAST_NONZERO, len(z)))
    keep = np.sort(usable[np.argsort(-filled[usable], kind="stable")][:most])
    z, scale = _scaled(z[:, keep])
    if covariance is None:
        return Columns(z, solve, np.zeros((len(keep), len(keep))))
    return Columns(z, solve, covariance[np.ix_(keep, keep)] * np.outer(scale, scale))


def _scaled(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Divide columns by their root mean square; return the factors as well."""
    size = np.sqrt(np.einsum("ij,ij->j", z, z) / len(z))
    scale = np.divide(1.0, size, where=size > 0, out=np.zeros(z.shape[1]))
    return z * scale, scale


def _stratified(sample: WeightedScenarios, most: int, strata: str) -> Columns:
    """Ratios with coefficients per stratum (`mcvar.control.StratifiedRegression`)."""
    ratio = _scaled(sample.ratio)[0]
    label = stratum_labels(sample, strata, int(np.clip(most // ratio.shape[1], 1, _STRATA)))
    names, label = np.unique(label, return_inverse=True)

    def solve(parts: list[Moments]) -> FloatArray:
        return shrunken_coefficients(total(parts), len(names), _PRIOR)

    z = in_strata(ratio, label, len(names))
    return Columns(z, solve, np.zeros((z.shape[1], z.shape[1])))


def stratum_labels(sample: WeightedScenarios, strata: str, most: int = _STRATA) -> IntArray:
    """Label scenarios by stratum.

    "first": by the criticality of the first state, which no sampled action can change. "critical
    steps": by the number of critical steps, as the papers have it, which they do change.
    """
    if strata == "critical steps":
        return np.asarray(np.minimum(sample.critical_steps, _MOST_STEPS), dtype=np.int64)
    first = sample.criticality.max(axis=1, initial=0.0)
    cuts = np.unique(np.quantile(first, np.arange(1, most) / most))
    return np.asarray(np.searchsorted(cuts, first, side="right"), dtype=np.int64)
