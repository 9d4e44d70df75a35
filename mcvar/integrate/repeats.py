"""Draws that repeat one another: resampled ones, or rejected proposals without their chain."""

import numpy as np

from mcvar._typing import FloatArray
from mcvar.draws import Draws


def merge_repeats(values: FloatArray, draws: Draws) -> tuple[FloatArray, Draws]:
    """Return distinct draws with their multiplicity as weight, and the means of their values.

    Draws with a score have a density: where they coincide they are one draw, counted several
    times. Apart they would serve in a fold and in its fit, and look like so many independent ones.
    Chains keep their repeats, which are neighbours, and their error bars know them.
    """
    grouped = any(labels is not None for labels in (draws.chain, draws.strata, draws.replicate))
    if draws.grad_logpdf is None or grouped:
        return values, draws
    # Draws with a density rarely agree in one coordinate: a sort of it settles most cases.
    if len(np.unique(draws.x[:, 0])) == draws.n:
        return values, draws
    _, first, group = np.unique(draws.x, axis=0, return_index=True, return_inverse=True)
    m = len(first)
    if m == draws.n:
        return values, draws
    group = group.ravel()
    weights = np.ones(draws.n) if draws.weights is None else draws.weights
    totals = np.bincount(group, weights, m)
    share = weights / np.where(totals > 0, totals, 1.0)[group]

    def averaged(rows: FloatArray) -> FloatArray:
        columns = rows.reshape(draws.n, -1)
        return np.stack([np.bincount(group, share * column, m) for column in columns.T], axis=1)

    zero_mean = None if draws.zero_mean is None else averaged(draws.zero_mean)
    counted = draws.weights is None
    return averaged(values), Draws.unchecked(
        x=draws.x[first],
        grad_logpdf=draws.grad_logpdf[first],
        zero_mean=zero_mean,
        weights=totals if counted or draws.self_normalized else totals * m / draws.n,
        self_normalized=counted or draws.self_normalized,
    )
