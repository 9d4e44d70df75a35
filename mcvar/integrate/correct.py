"""What a control leaves of the values at draws that exist, out of fold."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcvar._typing import FloatArray, IntArray
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.integrate.chains import moving_sums
from mcvar.integrate.crossfit import cross_fit
from mcvar.integrate.design import mean_by_design, weighted
from mcvar.integrate.diagnose import UNSEEN, check_feature_means
from mcvar.integrate.features import ZeroMeanFeatures, is_linear
from mcvar.moments import Moments, total
from mcvar.targets import Target

_BLOCK = 2**14  # draws whose features are held at a time


class LawOfDraws(Target):
    """Stands for the law that given draws came from: known by its draws alone."""

    def __init__(self, draws: Draws) -> None:
        self.ndim = draws.ndim
        self.self_normalized = draws.self_normalized

    def from_uniform(self, u: FloatArray) -> FloatArray:
        """Refuse."""
        raise TypeError("draws that exist cannot be drawn again.")


@dataclass(frozen=True)
class Corrected:
    """Rows (n, m), or (n, m + 1) with the weights last, whose means make the estimate.

    `mean_error` (m,) is the standard error of the control's own expectation, `controls` says
    which control served each of the m values, and `by_scores` whether scores came in.
    """

    rows: FloatArray
    mean_error: FloatArray
    controls: tuple[str, ...]
    by_scores: bool = False


def correct(
    control: Any,
    draws: Draws,
    values: FloatArray,
    labels: IntArray,
    window: int = 1,
    *,
    own: bool = True,
) -> Corrected:
    """Subtract what `control` explains of ``values (n, m)`` and add its known expectation.

    Parameters
    ----------
    control : None, LinearControl or regressor
    draws : Draws
    values : ndarray, shape (n, m)
        Unweighted.
    labels : ndarray of int, shape (n,)
        Fold of each draw; one fold fits the control on the draws it corrects.
    window : int
        Linear controls minimise the variance of sums over so many consecutive draws of a chain:
        1 for the variance of a draw, the length of the correlation for the asymptotic variance.
    own : bool
        Whether functions of mean zero that the draws bring along are controls too.
    """
    m = values.shape[1]
    if control is None or is_linear(control):
        features = ZeroMeanFeatures(control, LawOfDraws(draws), own=own)
        rows = _linear(features, draws, weighted(values, draws), labels, window)
        name = "none" if control is None else control.describe()
        by_scores = control is not None and control.needs_score
        return Corrected(rows, np.zeros(m), (name,) * m, by_scores)
    fit = cross_fit(control, draws.x, values, labels, draws.grad_logpdf, draws.weights)
    if draws.self_normalized or draws.weights is None:
        rows = weighted(fit.residual + fit.mean, draws)
    else:
        rows = weighted(fit.residual, draws) + fit.mean
    by_scores = getattr(control, "needs_score", False)
    return Corrected(rows, fit.mean_error, _described(fit.fitted, m), by_scores)


def _described(fitted: list[Any], m: int) -> tuple[str, ...]:
    describe = getattr(fitted[0], "describe", None)
    return (repr(fitted[0]) if describe is None else str(describe()),) * m


def _linear(
    features: ZeroMeanFeatures,
    draws: Draws,
    response: FloatArray,
    labels: IntArray,
    window: int,
) -> FloatArray:
    """Residuals from cross-fitted coefficients, in two passes over blocks of draws."""
    if features.is_empty(draws):
        return response
    if features.control is None or not features.control.needs_score:
        _check_means(features, draws)
    folds = np.unique(labels)
    parts = [
        total(list(_moments(features, draws, response, labels == fold, window))) for fold in folds
    ]
    residual = response.copy()
    for fold, beta in zip(folds, combine.coefficients(parts, features.coefficients), strict=True):
        for rows in _blocks(np.flatnonzero(labels == fold)):
            residual[rows] -= _features(features, draws, rows) @ beta
    return residual


def _moments(
    features: ZeroMeanFeatures, draws: Draws, response: FloatArray, chosen: Any, window: int
) -> Iterator[Moments]:
    if window == 1 or draws.chain is None:
        for rows in _blocks(np.flatnonzero(chosen)):
            yield Moments.of(response[rows], _features(features, draws, rows))
        return
    for chain in np.unique(draws.chain):
        rows = np.flatnonzero(chosen & (draws.chain == chain))
        if len(rows):
            z = _features(features, draws, rows)
            yield Moments.of(moving_sums(response[rows], window), moving_sums(z, window))


def _blocks(rows: IntArray) -> list[IntArray]:
    return np.array_split(rows, max(1, -(-len(rows) // _BLOCK)))


def _features(features: ZeroMeanFeatures, draws: Draws, rows: IntArray) -> FloatArray:
    z = features(draws.take(rows))
    assert z is not None
    return z


def _check_means(features: ZeroMeanFeatures, draws: Draws) -> None:
    """Test what somebody says of features' means by the means themselves."""
    z = features(draws)
    assert z is not None
    spread = mean_by_design(z, draws)
    check_feature_means(
        spread.mean,
        np.sqrt(spread.variance),
        np.abs(z).max(axis=0),
        spread.df,
        draws.n,
        unseen=UNSEEN / draws.n,
    )
