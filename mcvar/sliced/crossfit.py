"""Values along directions to a mean with an error bar, controls chosen and fitted out of fold.

Each fold holds whole randomisations. Which controls a fold gets, and with which coefficients, is
decided on the other folds alone, by leave-one-out error (PRESS); the features have expectation
zero, so that whatever is decided, the estimate is unbiased. Doing nothing is among the choices.

Coefficients fitted on the other folds tie the folds' means together: with many features for the
directions, their spread understates the variance of the average by up to a half. The jackknife of
the whole fit (every fold left out of the average and of all fits) sees that; it overstates a
little (Efron & Stein 1981). The larger of the two is the error bar.
"""

from dataclasses import dataclass

import numpy as np

from mcvar._typing import FloatArray, IntArray
from mcvar.sliced.controls import Feature

_MOST_FOLDS = 8
_WORTHWHILE = 0.9  # a richer choice must lower the leave-one-out error by a tenth
_ROWS_PER_FEATURE = 2


@dataclass(frozen=True)
class Choice:
    """A set of feature groups; `fixed` enters with coefficient one instead of a fitted one."""

    fitted: tuple[Feature, ...] = ()
    fixed: Feature | None = None

    @property
    def name(self) -> str:
        """What the result calls this choice."""
        names = [feature.name for feature in self.fitted]
        if self.fixed is not None:
            names.append(f"{self.fixed.name} (coefficient 1)")
        return " + ".join(names) or "none"

    def with_coefficients(self, beta: FloatArray) -> list[tuple[Feature, FloatArray]]:
        """Return each feature group with its part of the fitted coefficients (k,)."""
        parts = np.split(beta, self._ends) if self.fitted else []
        used = list(zip(self.fitted, parts, strict=True))
        if self.fixed is not None:
            used.append((self.fixed, np.ones(1)))
        return used

    def variance_of_means(self, betas: FloatArray) -> FloatArray:
        """Variance that estimated expectations add, shape (folds,), for coefficients (folds, k)."""
        parts = np.split(betas, self._ends, axis=1) if self.fitted else []
        used = [*zip(self.fitted, parts, strict=True)]
        if self.fixed is not None:
            used.append((self.fixed, np.ones((len(betas), 1))))
        total = np.zeros(len(betas))
        for feature, part in used:
            if feature.covariance.any():
                total += np.einsum("fi,ij,fj->f", part, feature.covariance, part)
        return total

    @property
    def _ends(self) -> IntArray:
        return np.cumsum([len(feature.mean) for feature in self.fitted])[:-1]


@dataclass(frozen=True)
class Crossfit:
    """The outcome.

    Attributes
    ----------
    mean, variance, df : float
        The estimate, its variance, and the degrees of freedom of that.
    plain_variance : float
        Variance of f along one independent direction.
    names : tuple of str
        The choice made for each fold.
    """

    mean: float
    variance: float
    df: float
    plain_variance: float
    names: tuple[str, ...]


def crossfit(
    f: FloatArray, theta: FloatArray, sizes: tuple[int, ...], choices: tuple[Choice, ...]
) -> Crossfit:
    """Average f over directions, with the best of the controls.

    Parameters
    ----------
    f : ndarray, shape (n,)
        Costs along the directions, randomisation by randomisation.
    theta : ndarray, shape (n, d)
        The directions.
    sizes : tuple of int
        Directions of each randomisation.
    choices : tuple of Choice
        From the simplest to the richest.
    """
    replicates = len(sizes)
    columns = {
        id(feature): feature.centred(theta)
        for choice in choices
        for feature in (*choice.fitted, *((choice.fixed,) if choice.fixed else ()))
    }
    folds = min(replicates, _MOST_FOLDS)
    set_of = np.repeat(np.arange(replicates), sizes)
    fold_of = set_of % folds
    residual = f.copy()
    reference_variance = 0.0
    chosen: list[Choice] = []
    best = _choose(f, columns, fold_of, folds, choices) if replicates > 1 else [None]
    for fold in range(folds):
        held_out = fold_of == fold
        choice, beta = best[fold] or (Choice(), np.empty(0))
        chosen.append(choice)
        for feature, part in choice.with_coefficients(beta):
            residual[held_out] -= columns[id(feature)][held_out] @ part
            # The same error of the mean enters every fold: standard deviations add up.
            share = held_out.mean()
            reference_variance += share * float(part @ feature.covariance @ part)
    means = np.bincount(set_of, residual) / sizes
    mean = float(residual.mean())
    spread = np.nan
    if replicates > 1:
        # Each set counts by its size; with equal ones this is the variance of their mean.
        share_of = np.asarray(sizes) / len(f)
        spread = float(np.sum(share_of**2 / (1 - share_of) * (means - mean) ** 2))
    plain = float(f.var(ddof=1)) if len(f) > 1 else np.nan
    if any(choice.fitted for choice in chosen):
        spread = max(spread, _jackknife(f, columns, fold_of, chosen))
    names = tuple(choice.name for choice in chosen)
    return Crossfit(mean, spread + reference_variance, replicates - 1, plain, names)


def _jackknife(
    f: FloatArray, columns: dict[int, FloatArray], fold_of: IntArray, chosen: list[Choice]
) -> float:
    """Jackknife variance of the cross-fitted mean, each fold keeping its choice of controls.

    Efron & Stein, "The jackknife estimate of variance", Annals of Statistics 9 (1981), eq. 1.1
    and theorem 1. Zero where the folds are too few to leave out two.
    """
    folds = len(chosen)
    if folds < 3:
        return 0.0
    left_out = np.full((folds, folds), np.nan)  # fold left out, fold averaged over
    sums: dict[int, _FoldSums] = {}
    for fold, choice in enumerate(chosen):
        if id(choice) not in sums:
            sums[id(choice)] = _FoldSums.of(f, columns, fold_of, folds, choice)
        means = sums[id(choice)].without(fold)
        if means is None:
            return 0.0
        left_out[:, fold] = means
    np.fill_diagonal(left_out, np.nan)
    averages = np.nanmean(left_out, axis=1)
    return float((folds - 1) * averages.var())


@dataclass(frozen=True)
class _FoldSums:
    """Sums over each fold of z z', z = (1, features, target) standardised: enough for any fit."""

    sums: FloatArray
    centre: float
    scale: float

    @classmethod
    def of(
        cls,
        f: FloatArray,
        columns: dict[int, FloatArray],
        fold_of: IntArray,
        folds: int,
        choice: Choice,
    ) -> "_FoldSums":
        target = f if choice.fixed is None else f - columns[id(choice.fixed)][:, 0]
        parts = [columns[id(feature)] for feature in choice.fitted]
        centre = float(target.mean())
        z = np.column_stack([np.ones(len(f)), *parts, target - centre])
        scale = np.sqrt((z**2).mean(axis=0))
        z /= np.where(scale > 0, scale, 1.0)
        sums = np.stack([z[fold_of == fold].T @ z[fold_of == fold] for fold in range(folds)])
        return cls(sums, centre, float(scale[-1]))

    def without(self, fold: int) -> FloatArray | None:
        """Means of one fold by fits without it and each other fold (itself for itself)."""
        kept = self.sums.sum(axis=0) - self.sums[fold] - self.sums
        kept[fold] += self.sums[fold]
        k = kept.shape[1] - 1
        if (kept[:, 0, 0].min() if k > 1 else np.inf) < _ROWS_PER_FEATURE * k:
            return None
        gram, moment = kept[:, :k, :k], kept[:, :k, k:]
        ridge = 1e-10 * np.trace(gram, axis1=1, axis2=2)[:, np.newaxis, np.newaxis] / k
        beta = np.linalg.solve(gram + ridge * np.eye(k), moment)[:, 1:, 0]
        own = self.sums[fold][0] / self.sums[fold][0, 0]
        return np.asarray(self.centre + self.scale * (own[k] - beta @ own[1:k]))


def _choose(
    f: FloatArray,
    columns: dict[int, FloatArray],
    fold_of: IntArray,
    folds: int,
    choices: tuple[Choice, ...],
) -> list[tuple[Choice, FloatArray] | None]:
    """Choose for each fold by the directions of the others."""
    best: list[tuple[Choice, FloatArray] | None] = [None] * folds
    least = np.full(folds, np.inf)
    rows = [np.flatnonzero(fold_of != fold) for fold in range(folds)]
    # Folds of one size are fitted in one call.
    groups = [
        [fold for fold in range(folds) if len(rows[fold]) == size]
        for size in sorted({len(of_fold) for of_fold in rows})
    ]
    for choice in choices:
        target = f if choice.fixed is None else f - columns[id(choice.fixed)][:, 0]
        parts = [columns[id(feature)] for feature in choice.fitted]
        features = np.concatenate(parts, axis=1) if parts else np.empty((len(f), 0))
        for group in groups:
            used = np.stack([rows[fold] for fold in group])
            if features.shape[1] * _ROWS_PER_FEATURE > used.shape[1] - 2:
                continue
            betas, errors = press(features[used], target[used])
            # An expectation known with an error costs it, however many directions there are.
            errors = errors / len(f) + choice.variance_of_means(betas)
            for fold, beta, error in zip(group, betas, errors, strict=True):
                if best[fold] is None or error < _WORTHWHILE * least[fold]:
                    best[fold], least[fold] = (choice, beta), error
    return best


def press(features: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Least squares with an intercept: coefficients (..., k), mean squared leave-one-out errors.

    Features (..., n, k) and targets (..., n). Allen, "The relationship between variable selection
    and data augmentation and a method for prediction", Technometrics 16 (1974), eq. 3. Columns that
    are constant up to rounding take no part, and collinear ones share the minimum-norm solution.
    """
    n, k = features.shape[-2:]
    residual = y - y.mean(axis=-1, keepdims=True)
    if k == 0:
        left = residual / (1 - 1 / n)
        return np.zeros((*y.shape[:-1], 0)), (left**2).mean(axis=-1)
    centred = features - features.mean(axis=-2, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=-2, keepdims=True))
    scale = np.where(scale > 0, scale, 1.0)
    u, s, vt = np.linalg.svd(centred / scale, full_matrices=False)
    kept = (s > 1e-8 * s[..., :1]) & (s > 0)
    u = u * kept[..., np.newaxis, :]
    projected = np.einsum("...nk,...n->...k", u, residual)
    weights = projected / np.where(kept, s, 1.0)
    beta = np.einsum("...jk,...j->...k", vt, weights) / scale[..., 0, :]
    residual = residual - np.einsum("...nk,...k->...n", u, projected)
    leverage = 1 / n + (u**2).sum(axis=-1)
    # Rows that decide their own fit have leverage one and leave nothing to judge by.
    left = residual / np.maximum(1 - leverage, 1e-3)
    return beta, (left**2).mean(axis=-1)
