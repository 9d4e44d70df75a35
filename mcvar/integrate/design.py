"""Means of rows with an error bar, by how the draws were made."""

from dataclasses import replace

import numpy as np

from mcvar._pareto import pareto_tail_index
from mcvar._typing import FloatArray, IntArray
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.integrate.chains import batch_means, batches, by_label, lag_window
from mcvar.integrate.combine import Combined
from mcvar.moments import Moments

_FURTHER = 5  # times as many draws, to which tails are extrapolated
_HIGHEST_INDEX = 3.0  # of a Pareto tail that is extrapolated


def weighted(values: FloatArray, draws: Draws) -> FloatArray:
    """Return w f, and w as a last column where means are ratios."""
    if draws.weights is None:
        return values
    rows = draws.weights[:, np.newaxis] * values
    return np.column_stack([rows, draws.weights]) if draws.self_normalized else rows


def linearised(rows: FloatArray, draws: Draws) -> tuple[FloatArray, FloatArray | float]:
    """Return rows whose mean has the error of the estimate, and what to add to that mean.

    Where the last column holds weights, the estimate is a ratio of means θ, and the rows are
    w (f − θ) / E w (Owen 2013, eq. 9.8); their mean is zero.
    """
    if not draws.self_normalized:
        return rows, 0.0
    means = rows.mean(axis=0)
    value = means[:-1] / means[-1]
    return (rows[:, :-1] - rows[:, -1:] * value) / means[-1], value


def by_design(rows: FloatArray, draws: Draws, covariance: bool = False) -> Combined:
    """Return the estimate from `weighted` rows: spread over independent draws, within strata,
    over replicates, or by the autocovariances of chains.
    """
    rows, offset = linearised(rows, draws)
    combined = mean_by_design(rows, draws, covariance)
    return replace(combined, mean=combined.mean + offset)


def allow_for_extremes(combined: Combined, rows: FloatArray, draws: Draws) -> Combined:
    """Widen the error bar where a few rows carry it: what a close fit leaves behind.

    A control that explains the bulk of the draws errs far out, and the next draw may lie further
    out than all before. The squares of the rows get a Pareto tail of index k, and what five times
    as many draws would add beyond the largest square q, q (5^(k−1) − 1)/(k − 1), is counted.
    There are as many degrees of freedom as rows that carry the squares, (Σq)²/Σq² − 1.
    """
    centred = linearised(rows, draws)[0]
    squares = (centred - centred.mean(axis=0)) ** 2
    n = len(squares)
    index = np.array([pareto_tail_index(column, n) for column in squares.T])
    beyond = np.clip(index, 0, _HIGHEST_INDEX) - 1
    beyond = np.where(np.abs(beyond) < 1e-6, 1e-6, beyond)
    unseen = squares.max(axis=0) * np.expm1(beyond * np.log(_FURTHER)) / beyond
    widened = combine.with_mean_error(combined, np.sqrt(unseen) / n)
    # In units of the largest, whose square neither overflows nor vanishes.
    largest = squares.max(axis=0)
    share = np.divide(squares, largest, out=np.zeros_like(squares), where=largest > 0)
    carrying = np.divide(
        share.sum(axis=0) ** 2,
        (share**2).sum(axis=0),
        out=np.full_like(largest, n),
        where=largest > 0,
    )
    return replace(widened, df=np.clip(carrying - 1, 1.0, combined.df))


def mean_by_design(rows: FloatArray, draws: Draws, covariance: bool = False) -> Combined:
    """Return the mean of rows (n, p), its covariance (or variances) and degrees of freedom."""
    if draws.strata is not None:
        return _stratified(rows, draws.strata, covariance)
    if draws.replicate is not None:
        return batch_means(by_label(rows, draws.replicate), covariance, "replicates")
    if draws.chain is None:
        return combine.independent([Moments.of(rows, covariance=covariance)])
    combined = lag_window(rows, draws.chain)
    if not covariance:
        return combined
    # Variances by lag windows; batch means give the correlations, which stay definite.
    matrix = batch_means(batches(rows, draws.chain), True, "batches").covariance
    batch_spread = np.sqrt(np.diagonal(matrix))
    scale = np.divide(
        np.sqrt(combined.variance),
        batch_spread,
        out=np.zeros_like(batch_spread),
        where=batch_spread > 0,
    )
    return replace(combined, covariance=matrix * np.outer(scale, scale))


def _stratified(rows: FloatArray, strata: IntArray, covariance: bool) -> Combined:
    n = len(rows)
    parts = [Moments.of(part, covariance=covariance) for part in by_label(rows, strata)]
    lonely = [int(h) for h, part in zip(np.unique(strata), parts, strict=True) if part.n < 2]
    if lonely:
        raise ValueError(
            f"stratum {lonely[0]} has a single draw; expected at least 2 in each, for its "
            "variance. Draw more, or give it the label of another."
        )
    squares = np.sum([part.values * part.n / (part.n - 1) for part in parts], axis=0)
    return Combined(rows.mean(axis=0), squares / n**2, n - len(parts))
