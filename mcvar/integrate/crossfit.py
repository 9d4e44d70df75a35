"""Cross-fitting: each draw is corrected by a control that was fitted without it.

Features have expectation zero, so that for any coefficients β that do not depend on a fold's own
draws, the mean of (values − features β) over that fold is unbiased; the same holds for a regressor
less the known expectation of its prediction. Each fold has a model fitted on all other folds; draws
made later are corrected by the models of draws before them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from mcvar._typing import FloatArray, IntArray
from mcvar.draws import Draws
from mcvar.integrate.chains import moving_sums
from mcvar.integrate.diagnose import check_feature_means
from mcvar.integrate.features import ZeroMeanFeatures, is_linear
from mcvar.integrate.means import spread
from mcvar.integrate.values import Measure, repeated, weighted
from mcvar.moments import Moments, total

MOST_FOLDS = 16  # fits per estimate; replicates beyond it share them
_BLOCK = 2**14  # draws whose features are held at a time
_MOST_NUMBERS = 2**23  # of features that are all held


class Model(Protocol):
    """A fitted control, for draws that it was not fitted on."""

    def adjust(self, draws: Draws, values: FloatArray) -> FloatArray:
        """Control-adjusted rows (n, m), weighted; a last column w where means are ratios."""


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Control-adjusted rows at draws, and the models that made them.

    Attributes
    ----------
    rows : ndarray, shape (n, m) or (n, m + 1)
        Their means make the estimate; a last column holds weights where means are ratios.
    models : tuple of Model
        One for each fold.
    names : tuple of str, length m
        Which control served each value.
    mean_error : ndarray, shape (m,)
        Standard error of the control's own expectation.
    jackknife : ndarray, shape (m,)
        Jackknife error of the expectations of fitted regressors over the folds; 0 without.
    folds : int
        Fits behind the jackknife.
    uses_scores : bool
        Whether ∇ log π took part.
    """

    rows: FloatArray
    models: tuple[Model, ...]
    names: tuple[str, ...]
    mean_error: FloatArray
    jackknife: FloatArray
    folds: int = 1
    uses_scores: bool = False

    def of_columns(self, columns: Any) -> "CrossFit":
        """The same for some of the values, without models; for draws without weights."""
        return replace(
            self,
            rows=self.rows[:, columns],
            models=(),
            names=tuple(self.names[j] for j in columns),
            mean_error=self.mean_error[columns],
            jackknife=self.jackknife[columns],
        )

    def replaced(self, columns: Any, other: "CrossFit", theirs: Any) -> "CrossFit":
        """The same with some columns taken from another fit, without models."""
        found = replace(
            self,
            rows=self.rows.copy(),
            models=(),
            mean_error=self.mean_error.copy(),
            jackknife=self.jackknife.copy(),
        )
        names = list(self.names)
        for j, k in zip(columns, theirs, strict=True):
            found.rows[:, j], names[j] = other.rows[:, k], other.names[k]
            found.mean_error[j], found.jackknife[j] = other.mean_error[k], other.jackknife[k]
        return replace(found, names=tuple(names))


@dataclass(frozen=True, eq=False)
class LinearModel:
    """Weighted values less features times coefficients (k, m)."""

    features: ZeroMeanFeatures
    coefficients: FloatArray

    def adjust(self, draws: Draws, values: FloatArray) -> FloatArray:
        """As in `Model`."""
        rows = np.array(weighted(values, draws))
        if len(self.coefficients) and draws.n <= _BLOCK:
            rows -= self.features(draws) @ self.coefficients
        elif len(self.coefficients):
            for part in _blocks(np.arange(draws.n)):
                rows[part] -= self.features(draws.take(part)) @ self.coefficients
        return rows


@dataclass(frozen=True, eq=False)
class RegressorModel:
    """Weighted values less a regressor's prediction, plus the known expectation of that."""

    fitted: Any
    mean: FloatArray
    needs_scores: bool

    def adjust(self, draws: Draws, values: FloatArray) -> FloatArray:
        """As in `Model`."""
        scores = {"grad_logpdf": draws.grad_logpdf} if self.needs_scores else {}
        prediction = np.asarray(self.fitted.predict(draws.x, **scores), dtype=float)
        residual = values - prediction.reshape(values.shape)
        if draws.weights is None or draws.self_normalized:
            return weighted(residual + self.mean, draws)
        return weighted(residual, draws) + self.mean


@dataclass(frozen=True, eq=False)
class MixedModel:
    """A model for each of the m values; `chosen` (m,) are their numbers."""

    models: tuple[Model, ...]
    chosen: IntArray

    def adjust(self, draws: Draws, values: FloatArray) -> FloatArray:
        """As in `Model`."""
        out = np.array(weighted(values, draws))
        for number in np.unique(self.chosen):
            columns = np.flatnonzero(self.chosen == number)
            out[:, columns] = self.models[number].adjust(draws, values)[:, columns]
        return out


def no_control(values: FloatArray, draws: Draws, folds: int = 1) -> CrossFit:
    """Weighted values as they are."""
    m = values.shape[1]
    model = LinearModel(ZeroMeanFeatures(None, Measure(), own=False), np.empty((0, m)))
    rows = weighted(values, draws)
    return CrossFit(rows, (model,) * folds, ("none",) * m, np.zeros(m), np.zeros(m))


def cross_fit(
    control: Any,
    draws: Draws,
    values: FloatArray,
    labels: IntArray,
    measure: Measure,
    *,
    window: int = 1,
) -> CrossFit:
    """Cross-fitted residuals of a control at draws, plus its expectation.

    Parameters
    ----------
    control : None, LinearControl or regressor
        None: functions of mean zero that the draws bring along.
    draws : Draws
    values : ndarray, shape (n, m)
        Unweighted.
    labels : ndarray of int, shape (n,)
        Fold of each draw, 0 to F − 1; one fold fits the control on the draws it corrects.
    measure : Measure
    window : int
        Linear controls minimise the variance of sums over so many consecutive draws of a chain:
        1 for the variance of a draw, the length of the correlation for the asymptotic variance.
    """
    if control is not None and not is_linear(control):
        return _regressors(control, draws, values, labels)
    features = ZeroMeanFeatures(control, measure)
    if features.is_empty(draws):
        return no_control(values, draws, int(labels.max()) + 1)
    return _linear(features, draws, values, labels, window)


def _linear(
    features: ZeroMeanFeatures, draws: Draws, values: FloatArray, labels: IntArray, window: int
) -> CrossFit:
    response = weighted(values, draws)
    folds, m = int(labels.max()) + 1, values.shape[1]
    z = _Matrix(features, draws)
    if features.checks_means:
        _check_means(features, draws, z)
    parts = [
        total(list(_moments(z, draws, response, labels == fold, window))) for fold in range(folds)
    ]
    covariance = features.mean_covariance
    net_spread = 1.0
    if draws.replicate is not None and covariance is not None:
        net_spread = _net_spread(z(np.arange(draws.n)), draws)
    models, expectations = [], np.empty((folds, m))
    rows = np.array(response)
    for fold in range(folds):
        others = parts if folds == 1 else [part for i, part in enumerate(parts) if i != fold]
        beta = features.coefficients(others, draws.n, net_spread)
        models.append(LinearModel(features, beta))
        means = total(others).residual(beta)[0]
        expectations[fold] = means[:m] / means[m] if draws.self_normalized else means
        for part in _blocks(np.flatnonzero(labels == fold)):
            rows[part] -= z(part) @ beta
    control = features.control
    error = np.zeros(m)
    if covariance is not None:
        shares = np.bincount(labels) / draws.n
        average = np.einsum("f,fkm->km", shares, [model.coefficients for model in models])
        average = average[: len(covariance), :m]
        error = np.sqrt(np.einsum("km,kl,lm->m", average, covariance, average))
    return CrossFit(
        rows,
        tuple(models),
        ("none" if control is None else control.describe(),) * m,
        error,
        jackknife(expectations) if window == 1 else np.zeros(m),
        folds,
        control is not None and control.needs_score,
    )


class _Matrix:
    """Features at draws (n, k) by rows; kept where they are not too many."""

    def __init__(self, features: ZeroMeanFeatures, draws: Draws) -> None:
        self._features, self._draws = features, draws
        first = features(draws.take(slice(0, 1)))
        self._all = features(draws) if draws.n * first.shape[1] <= _MOST_NUMBERS else None

    def __call__(self, rows: IntArray) -> FloatArray:
        """Features at some of the draws."""
        return self._features(self._draws.take(rows)) if self._all is None else self._all[rows]


def _regressors(control: Any, draws: Draws, values: FloatArray, labels: IntArray) -> CrossFit:
    from sklearn.base import clone

    folds, m = int(labels.max()) + 1, values.shape[1]
    scores = bool(getattr(control, "needs_score", False))
    models, mean_error, expectations = [], np.zeros(m), np.empty((folds, m))
    for fold in range(folds):
        others = np.flatnonzero((labels != fold) | (folds == 1))
        fitted = clone(control)
        options = {}
        if scores:
            assert draws.grad_logpdf is not None
            options["grad_logpdf"] = draws.grad_logpdf[others]
            if draws.weights is not None:
                options["sample_weight"] = draws.weights[others]
        # Regressors of scikit-learn expect one value a row as a vector.
        fitted.fit(draws.x[others], values[others, 0] if m == 1 else values[others], **options)
        known = getattr(fitted, "mean_", None)
        if known is None:
            inside = "; give its best_estimator_" if hasattr(fitted, "best_estimator_") else ""
            raise TypeError(
                f"{type(control).__name__} has no `mean_` after fit; a control must know the "
                f"exact expectation of its prediction under the target{inside}."
            )
        expectations[fold] = np.asarray(known, dtype=float).ravel()
        models.append(RegressorModel(fitted, expectations[fold].copy(), scores))
        mean_error = np.maximum(mean_error, getattr(fitted, "mean_error_", 0.0))
    describe = getattr(models[0].fitted, "describe", None)
    name = repr(models[0].fitted) if describe is None else str(describe())
    return CrossFit(
        _by_fold(models, draws, values, labels),
        tuple(models),
        (name,) * m,
        mean_error,
        jackknife(expectations),
        folds,
        scores,
    )


def jackknife(means: FloatArray) -> FloatArray:
    """Jackknife standard error (m,) of expectations (folds, m) from fits without one fold each."""
    folds = len(means)
    squares = ((means - means.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(np.sqrt((folds - 1) / folds * squares))


def fold_labels(draws: Draws, folds: int) -> IntArray:
    """Fold of each draw: replicates and clusters whole, chains in blocks, others in turn.

    Draws that coincide are in one fold, so that no fit knows the draw that it corrects.
    """
    if folds == 1:
        return np.zeros(draws.n, dtype=np.int64)
    if draws.n < 2 * folds:
        raise ValueError(
            f"{draws.n} draws are too few for {folds} folds; expected at least {2 * folds}, or "
            f"folds of at most {draws.n // 2}."
        )
    if draws.replicate is not None:
        return np.unique(draws.replicate, return_inverse=True)[1] % MOST_FOLDS
    # In turn rather than in blocks: draws that were sorted stay comparable across folds.
    labels = np.arange(draws.n) % folds
    if draws.chain is not None:
        for chain in np.unique(draws.chain):
            rows = np.flatnonzero(draws.chain == chain)
            labels[rows] = np.arange(len(rows)) * folds // len(rows)
    group = draws.cluster if draws.cluster is not None else repeated(draws)
    if group is None:
        return labels
    first, place = np.unique(group, return_index=True, return_inverse=True)[1:]
    if len(first) < 2 * folds:
        if draws.cluster is None:
            return labels  # a discrete law of a few points, whose draws coincide by chance
        raise ValueError(
            f"{len(first)} clusters are too few for {folds} folds; expected at least {2 * folds}."
        )
    if draws.chain is None:
        order = np.argsort(np.argsort(first))
        return np.asarray(order % folds)[place.ravel()]
    return np.asarray(labels[first])[place.ravel()]


def _by_fold(
    models: Sequence[Model], draws: Draws, values: FloatArray, labels: IntArray
) -> FloatArray:
    if len(models) == 1:
        return models[0].adjust(draws, values)
    out: FloatArray | None = None
    for fold, model in enumerate(models):
        rows = np.flatnonzero(labels == fold)
        adjusted = model.adjust(draws.take(rows), values[rows])
        if out is None:
            out = np.empty((draws.n, adjusted.shape[1]))
        out[rows] = adjusted
    assert out is not None
    return out


def _moments(
    z: _Matrix, draws: Draws, response: FloatArray, chosen: Any, window: int
) -> Iterator[Moments]:
    if window == 1 or draws.chain is None:
        for rows in _blocks(np.flatnonzero(chosen)):
            yield Moments.of(response[rows], z(rows))
        return
    for chain in np.unique(draws.chain):
        rows = np.flatnonzero(chosen & (draws.chain == chain))
        if len(rows):
            yield Moments.of(moving_sums(response[rows], window), moving_sums(z(rows), window))


def _blocks(rows: IntArray) -> list[IntArray]:
    return np.array_split(rows, max(1, -(-len(rows) // _BLOCK)))


def _net_spread(z: FloatArray, draws: Draws) -> float:
    """Variance of the means of features (n, k) over nets, in units of that of independent draws."""
    independent = z.var(axis=0).sum() / draws.n
    return float(spread(z, draws).variance.sum() / independent) if independent > 0 else 1.0


def _check_means(features: ZeroMeanFeatures, draws: Draws, z: _Matrix) -> None:
    """Test user-stated feature means against their sample means."""
    assert features.control is not None
    stated = z(np.arange(draws.n))[:, : features.control.n_features]
    covariance = features.mean_covariance
    error = None if covariance is None else np.sqrt(np.diagonal(covariance))
    check_feature_means(
        stated, spread(stated, draws), error, replicated=draws.replicate is not None
    )
