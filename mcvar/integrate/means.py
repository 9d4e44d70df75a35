"""Means of rows with the spread that the design of the draws gives them."""

from dataclasses import replace

import numpy as np

from mcvar._typing import FloatArray, IntArray
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.integrate.chains import batch_means, batches, by_label, lag_window
from mcvar.integrate.combine import Combined, ratio_gradient
from mcvar.integrate.values import weighted
from mcvar.moments import Moments


def linear_rows(rows: FloatArray, draws: Draws) -> tuple[FloatArray, FloatArray | float]:
    """Rows whose mean has the error of the estimate, and what to add to that mean.

    Where the last column holds weights, the estimate is a ratio of means θ, and the rows are
    w (f − θ)/E w, of mean zero.
    """
    if not draws.self_normalized:
        return rows, 0.0
    ratio, gradient = ratio_gradient(rows.mean(axis=0))
    return rows @ gradient.T, ratio


def mean_by_design(values: FloatArray, draws: Draws) -> Combined:
    """Weighted means of values (n, m) and their spread by the design of the draws."""
    rows, offset = linear_rows(weighted(values, draws), draws)
    found = spread(rows, draws)
    return replace(found, mean=found.mean + offset)


def spread(rows: FloatArray, draws: Draws, covariance: bool = False) -> Combined:
    """Means of rows (n, m), their covariance (or variances) and degrees of freedom."""
    if draws.strata is not None:
        return _stratified(rows, draws.strata, covariance)
    if draws.replicate is not None:
        return batch_means(by_label(rows, draws.replicate), covariance, "replicates")
    if draws.chain is not None:
        return _along_chains(rows, draws.chain, covariance)
    if draws.cluster is not None:
        rows = cluster_rows(rows, draws.cluster)
    return combine.independent([Moments.of(rows, covariance=covariance)])


def cluster_rows(rows: FloatArray, cluster: IntArray) -> FloatArray:
    """Rows (clusters, m) of the same mean as rows (n, m), independent where clusters are.

    Clusters count by their sums about the mean, so that large ones weigh more.
    """
    mean = rows.mean(axis=0)
    sums = group_sums(rows - mean, cluster)
    if len(sums) < 2:
        raise ValueError("all draws are of one cluster; expected at least 2, for an error bar.")
    return np.asarray(mean + sums * (len(sums) / len(rows)))


def group_sums(rows: FloatArray, labels: IntArray) -> FloatArray:
    """Sums of rows (n, m) over each group, in the order of labels: (groups, m)."""
    group = np.unique(labels, return_inverse=True)[1]
    count = int(group.max()) + 1
    return np.stack([np.bincount(group, column, count) for column in rows.T], axis=1)


def _along_chains(rows: FloatArray, chain: IntArray, covariance: bool) -> Combined:
    combined = lag_window(rows, chain)
    if not covariance:
        return combined
    # Variances by lag windows; batch means give the correlations, which stay definite.
    matrix = batch_means(batches(rows, chain), True, "batches").covariance
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
    single = [int(h) for h, part in zip(np.unique(strata), parts, strict=True) if part.n < 2]
    if single:
        raise ValueError(
            f"stratum {single[0]} has a single draw; expected at least 2 in each, for its "
            "variance. Draw more, or give it the label of another."
        )
    spreads = [part.values * part.n / (part.n - 1) for part in parts]
    squares = np.sum(spreads, axis=0)
    # Satterthwaite: few strata, where a jump is, may hold all of the variance.
    diagonals = np.stack([v if v.ndim == 1 else np.diagonal(v) for v in spreads])
    free = np.array([part.n - 1 for part in parts])[:, np.newaxis]
    total, mixed = diagonals.sum(axis=0), (diagonals**2 / free).sum(axis=0)
    df = np.divide(total**2, mixed, out=np.full(len(total), n - len(parts), float), where=mixed > 0)
    return Combined(rows.mean(axis=0), squares / n**2, np.maximum(df, 1.0))
