"""Penalised least squares from moments alone: ridge, lasso and elastic net.

The moments of a sample are all that these regressions need, so that folds come from subtracting
sums and the cost does not grow with the number of draws. Features are brought to unit variance;
their expectation is known to be zero, and the intercept is never penalised.
"""

import numpy as np
from scipy import linalg

from mcvar._jit.coordinate_descent import elastic_net_path
from mcvar._typing import FloatArray
from mcvar.moments import Moments, total

_RIDGES = np.geomspace(1e-10, 1e2, 37)  # relative to the features' sums of squares
_LEAST_SPARE = 0.1  # share of the draws that a ridge fit must leave as degrees of freedom
_PATH_LENGTH = 60
_PATH_END = 1e-4  # last penalty of the path over the first
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
        rest = total([other for i, other in enumerate(parts) if i != left_out])
        for j, path in enumerate(_paths(rest, whole, strengths, l1_ratio)):
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


def _paths(
    moments: Moments, scale: Moments, strengths: FloatArray, l1_ratio: float
) -> list[FloatArray]:
    """Coefficients (k, path) of every value, for decreasing penalties."""
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
