"""Penalised least squares from moments alone: ridge, lasso, elastic net, and that of groups.

The moments of a sample are all that these regressions need, so that folds come from subtracting
sums and the cost does not grow with the number of draws. Features are brought to unit variance;
their expectation is known to be zero, and the intercept is never penalised.
"""

import numpy as np
from scipy import linalg

from mcvar._typing import FloatArray
from mcvar.moments import Moments, total

_RIDGES = np.geomspace(1e-10, 1e2, 37)  # relative to the features' sums of squares
_LEAST_SPARE = 0.1  # share of the draws that a ridge fit must leave as degrees of freedom
_PATH_LENGTH = 60
_PATH_END = 1e-4  # last penalty of the path over the first
_WARM_STEPS = 10  # of the path to a penalty that is given
_TOLERANCE = 1e-7  # of a coordinate's decrease, relative to the variance of the values
_MOST_SWEEPS = 1000


def ridge(moments: Moments) -> FloatArray:
    """Return ridge coefficients (k, m), the penalty of each value by generalised cross-validation.

    References
    ----------
    Golub, Heath & Wahba, "Generalized cross-validation as a method for choosing a good ridge
    parameter", Technometrics 21 (1979), eq. 1.4.
    """
    correlation, cross, inverse = _standardised(moments, moments)
    eigenvalues, vectors = linalg.eigh(correlation)
    eigenvalues = np.maximum(eigenvalues, 0)
    rotated = vectors.T @ cross
    squares = _squares(moments)
    best = np.zeros_like(rotated)
    least = np.full(moments.m, np.inf)
    for penalty in _RIDGES * moments.n:
        shrunk = rotated / (eigenvalues + penalty)[:, np.newaxis]
        explained = np.einsum("km,km->m", shrunk, 2 * rotated - eigenvalues[:, None] * shrunk)
        # Rounding in the difference of sums must not look like a perfect fit.
        left = np.maximum(squares - explained, 1e-14 * squares)
        spare = moments.n - 1 - (eigenvalues / (eigenvalues + penalty)).sum()
        if spare < _LEAST_SPARE * moments.n:
            continue
        score = left / spare**2
        better = score < least
        best[:, better], least[better] = shrunk[:, better], score[better]
    return np.asarray(inverse[:, np.newaxis] * (vectors @ best))


def elastic_net(parts: list[Moments], l1_ratio: float) -> FloatArray:
    """Return elastic-net coefficients (k, m), penalties by cross-validation over `parts`.

    Parameters
    ----------
    parts : list of Moments
        At least two parts of the sample; each is left out once.
    l1_ratio : float
        Share of the absolute penalty: 1 is the lasso.

    References
    ----------
    Friedman, Hastie & Tibshirani, "Regularization paths for generalized linear models via
    coordinate descent", Journal of Statistical Software 33 (2010), section 2.
    """
    if len(parts) < 2:
        raise ValueError(
            "this penalty is chosen by cross-validation over the other folds, and needs at least "
            "two of them; expected folds >= 3."
        )
    whole = total(parts)
    largest = np.abs(_standardised(whole, whole)[1]).max(axis=0) / whole.n / l1_ratio
    strengths = np.geomspace(1, _PATH_END, _PATH_LENGTH)[:, np.newaxis] * largest
    errors = np.zeros_like(strengths)
    for left_out, part in enumerate(parts):
        for j, path in enumerate(_paths(_without(parts, left_out), whole, strengths, l1_ratio)):
            value = Moments(
                part.n,
                np.append(part.mean[j], part.feature_mean),
                part.values[j : j + 1] if part.values.ndim == 1 else part.values[j : j + 1, j],
                part.cross[:, j : j + 1],
                part.features,
            )
            errors[:, j] += _squares_left(value, path)
    chosen = errors.argmin(axis=0)
    paths = _paths(whole, whole, strengths, l1_ratio)
    return np.stack([path[:, i] for path, i in zip(paths, chosen, strict=True)], axis=1)


def group_elastic_net(
    tasks: list[list[Moments]], l1_ratio: float, strength: float | None = None
) -> tuple[FloatArray, float]:
    """Return elastic-net coefficients (k, T) of tasks that take or leave each feature together.

    Minimises ½ Σ_t |y_t − Z_t b_t|²/N + λ(r Σ_j |b_j·| + (1 − r) |b|²/2) over features of unit
    variance in every task and N draws of all tasks. With one task it is `elastic_net`; where tasks
    share their draws it is scikit-learn's ``MultiTaskElasticNet``.

    Parameters
    ----------
    tasks : list of T lists of Moments
        Parts of each task's sample, of one value. Where there are several each is left out once,
        together with those of the other tasks.
    l1_ratio : float
        Share r of the absolute penalty.
    strength : float, optional
        The penalty λ; by default the one that leaves least out of the parts.

    Returns
    -------
    coefficients : ndarray, shape (k, T)
    strength : float
        The penalty λ.

    References
    ----------
    Obozinski, Taskar & Jordan, "Joint covariate selection and joint subspace selection for multiple
    classification problems", Statistics and Computing 20 (2010), eq. 2.
    """
    wholes = [total(parts) for parts in tasks]
    draws = sum(whole.n for whole in wholes)
    pulls = np.stack([_standardised(whole, whole)[1][:, 0] for whole in wholes]) / draws
    largest = float(np.linalg.norm(pulls, axis=0).max()) / l1_ratio
    if strength is not None:
        # Down the path from the largest penalty: every one starts from the one before.
        steps = np.geomspace(max(largest, strength), strength, _WARM_STEPS) if strength else [0.0]
        path = _group_path(wholes, wholes, np.asarray(steps), l1_ratio)
        return path[-1], strength
    folds = max(len(parts) for parts in tasks)
    if folds < 2:
        raise ValueError(
            "this penalty is chosen by cross-validation; expected a task with at least 10 draws."
        )
    strengths = np.geomspace(1, _PATH_END, _PATH_LENGTH) * largest
    errors = np.zeros(_PATH_LENGTH)
    for left_out in range(folds):
        # A task of few draws has but one part, and keeps it.
        rest = [_without(parts, left_out) if len(parts) > 1 else parts[0] for parts in tasks]
        path = _group_path(rest, wholes, strengths, l1_ratio)
        for t, parts in enumerate(tasks):
            if len(parts) > 1:
                errors += _squares_left(parts[left_out], np.ascontiguousarray(path[:, :, t].T))
    best = int(errors.argmin())
    chosen = _group_path(wholes, wholes, strengths[: best + 1], l1_ratio)[-1]
    return chosen, float(strengths[best])


def _group_path(
    moments: list[Moments], scales: list[Moments], strengths: FloatArray, l1_ratio: float
) -> FloatArray:
    """Coefficients (path, k, T) of all tasks, for decreasing penalties."""
    from mcvar._jit.group_descent import group_elastic_net_path

    made = [_standardised(own, scale) for own, scale in zip(moments, scales, strict=True)]
    draws = sum(own.n for own in moments)
    spread = sum(float(_squares(own)[0]) for own in moments) / draws
    path = group_elastic_net_path(
        np.stack([correlation for correlation, *_ in made]) / draws,
        np.stack([cross[:, 0] for _, cross, _ in made]) / draws,
        strengths,
        l1_ratio,
        _TOLERANCE * spread,
        _MOST_SWEEPS,
    )
    scaled = path * np.stack([inverse for *_, inverse in made])
    return np.ascontiguousarray(scaled.transpose(0, 2, 1))


def _without(parts: list[Moments], left_out: int) -> Moments:
    return total([part for i, part in enumerate(parts) if i != left_out])


def _paths(
    moments: Moments, scale: Moments, strengths: FloatArray, l1_ratio: float
) -> list[FloatArray]:
    """Coefficients (k, path) of every value, for decreasing penalties."""
    from mcvar._jit.coordinate_descent import elastic_net_path

    correlation, cross, inverse = _standardised(moments, scale)
    gram, pull = correlation / moments.n, cross / moments.n
    spread = _squares(moments) / moments.n
    return [
        inverse[:, np.newaxis]
        * elastic_net_path(
            gram,
            np.ascontiguousarray(pull[:, j]),
            np.ascontiguousarray(strengths[:, j]),
            l1_ratio,
            _TOLERANCE * spread[j],
            _MOST_SWEEPS,
        ).T
        for j in range(moments.m)
    ]


def _standardised(moments: Moments, scale: Moments) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Products of features, and with the values, for features of unit spread under `scale`."""
    spread = np.sqrt(np.diagonal(scale.features) / scale.n)
    # A feature that does not vary explains nothing: its coefficient stays zero.
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    correlation = moments.features * np.outer(inverse, inverse)
    return correlation, moments.cross * inverse[:, np.newaxis], inverse


def _squares(moments: Moments) -> FloatArray:
    return moments.values if moments.values.ndim == 1 else np.diagonal(moments.values)


def _squares_left(value: Moments, path: FloatArray) -> FloatArray:
    """Centred sum of squares that each coefficient vector of a path leaves of one value."""
    explained = np.einsum("kp,kp->p", path, 2 * value.cross - value.features @ path)
    return np.asarray(value.values - explained)
