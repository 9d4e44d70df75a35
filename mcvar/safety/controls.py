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
from mcvar.safety.weights import WeightedScenarios

CONTROLS = ("none", "global", "stratified", "ordinal", "value")
_DRAWS_PER_COLUMN = 20
_LEAST_NONZERO = 20  # entries of a column, of which cross-fitting takes some away
_RIDGE = 1e-3  # of a column's sum of squares; value controls may be exact and take none
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
    ridge : float
        Penalty, in units of the sum of squares of a column.
    mean_covariance : ndarray, shape (k, k)
        Covariance of the stated means, zero for theorems.
    """

    z: FloatArray
    ridge: float
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
        return Columns(np.empty((n, 0)), 0.0, np.empty((0, 0)))
    most = max(n // _DRAWS_PER_COLUMN, 1)
    if name == "global":
        return _fitted(sample.ratio, most, _RIDGE)
    if name == "stratified":
        return _fitted(_stratified(sample, most, strata), most, _RIDGE)
    if name == "ordinal":
        kept = int(np.clip(most // n_surrogates, 1, sample.ordinal.shape[2]))
        pooled = np.concatenate(
            [
                sample.ordinal[:, :, : kept - 1],
                sample.ordinal[:, :, kept - 1 :].sum(axis=2, keepdims=True),
            ],
            axis=2,
        )
        return _fitted(pooled.reshape(n, -1), most, _RIDGE)
    if initial is None:
        return _fitted(sample.value, most, 0.0)
    z = np.column_stack([sample.value, sample.criticality - initial.mean])
    covariance = np.zeros((2 * n_surrogates, 2 * n_surrogates))
    covariance[n_surrogates:, n_surrogates:] = initial.covariance
    return _fitted(z, most, 0.0, covariance)


def _fitted(
    z: FloatArray, most: int, ridge: float, covariance: FloatArray | None = None
) -> Columns:
    filled = np.count_nonzero(z, axis=0)
    usable = np.flatnonzero(filled >= min(_LEAST_NONZERO, len(z)))
    keep = np.sort(usable[np.argsort(-filled[usable], kind="stable")][:most])
    z = z[:, keep]
    size = np.sqrt(np.einsum("ij,ij->j", z, z) / len(z)) if len(keep) else np.empty(0)
    scale = np.divide(1.0, size, where=size > 0, out=np.zeros(len(keep)))
    covariance = (
        np.zeros((len(keep), len(keep)))
        if covariance is None
        else covariance[np.ix_(keep, keep)] * np.outer(scale, scale)
    )
    return Columns(z * scale, ridge, covariance)


def stratum_labels(sample: WeightedScenarios, strata: str, most: int = _STRATA) -> IntArray:
    """Label scenarios by stratum.

    "first": by the criticality of the first state, which no sampled action can change. "critical
    steps": by the number of critical steps, as the papers have it, which they do change.
    """
    if strata == "critical steps":
        return np.asarray(np.minimum(sample.critical_steps, _MOST_STEPS))
    first = sample.criticality.max(axis=1, initial=0.0)
    cuts = np.unique(np.quantile(first, np.arange(1, most) / most))
    return np.searchsorted(cuts, first, side="right").astype(np.int64)


_MOST_STEPS = 12  # critical steps beyond it are pooled


def _stratified(sample: WeightedScenarios, most: int, strata: str) -> FloatArray:
    n_columns = sample.ratio.shape[1]
    label = stratum_labels(sample, strata, int(np.clip(most // n_columns, 1, _STRATA)))
    return np.concatenate(
        [sample.ratio * (label == h)[:, np.newaxis] for h in np.unique(label)], axis=1
    )
