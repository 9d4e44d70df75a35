"""From draws, or sums over them, to means with an error bar: the one way for every use."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mcvar._checks import as_count, check_magnitude, known_name
from mcvar._typing import BoolArray, FloatArray, IntArray
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.integrate.adjust import Criterion, adjust
from mcvar.integrate.chains import mixing, part_means
from mcvar.integrate.combine import Combined
from mcvar.integrate.crossfit import CrossFit
from mcvar.integrate.diagnose import heavy_tail, suspect_weights, suspicions, weight_index
from mcvar.integrate.error_bar import (
    Bar,
    Tails,
    half_widths,
    independent_bar,
    jackknife_bar,
    longest,
    replicated_bar,
    stratified_bar,
    with_error,
)
from mcvar.integrate.means import cluster_rows, linear_rows, spread
from mcvar.integrate.sums import Sums, column, linearised, n_sampled
from mcvar.integrate.values import (
    BlockSums,
    Layout,
    Measure,
    merge_repeats,
    repeated,
    scaled_weights,
    weighted,
)
from mcvar.moments import Moments, total

_PRICE = 1.25  # half-width, relative to that without control, beyond which a control is dropped
_HEAVY_WEIGHTS = 0.0  # tail index of weights from which a heavy tail needs no second look
_ROUNDING = 4 * np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class Analysis:
    """Means of m values with and without a control.

    Attributes
    ----------
    combined, plain : Combined
        With the control; and of the values alone, by the same design.
    independent_variance : ndarray, shape (m,)
        Variance of a mean over as many independent draws of the target.
    controls : tuple of str, length m
        Which control served each value.
    reasons : tuple of tuples of str, length m
        What makes each value's error bar suspect.
    ess : float
        Kish's effective sample size of the weights.
    log_weight : Combined or None
        Log of the mean weight, where means are ratios; `weight_reasons` make it suspect.
    """

    combined: Combined
    plain: Combined
    independent_variance: FloatArray
    controls: tuple[str, ...]
    reasons: tuple[tuple[str, ...], ...]
    ess: float
    log_weight: Combined | None = None
    weight_reasons: tuple[str, ...] = ()


def analyse(
    values: FloatArray,
    draws: Draws,
    control: Any,
    folds: int,
    criterion: Criterion = "variance",
    *,
    covariance: bool = False,
) -> Analysis:
    """Means of ``values (n, m)`` over existing draws: what `estimate` and `summary` share.

    `control` is "auto" or a tuple of candidates. Error bars follow the labels of the draws.
    """
    if draws.n < 2:
        raise ValueError("1 draw is too few for an error bar; expected at least 2.")
    known_name("criterion", criterion, ("variance", "asymptotic"))
    folds = as_count("folds", folds)
    check_magnitude("values", values)
    values, draws = merge_repeats(values, scaled_weights(draws))
    measure = Measure.of(draws)
    pivot: FloatArray | float = 0.0
    if draws.weights is not None:
        # Weighted squares about a value near the mean keep the digits that it would cost.
        pivot = draws.weights @ values / draws.weights.sum()
    about = values - pivot if measure.self_normalized else values
    fit = adjust(control, draws, about, folds, criterion, measure)
    return analyse_fit(fit, draws, values, pivot, measure, covariance=covariance)


def analyse_fit(
    fit: CrossFit,
    draws: Draws,
    values: FloatArray,
    pivot: FloatArray | float,
    measure: Measure,
    *,
    grows: bool = False,
    covariance: bool = False,
    may_drop: bool = True,
) -> Analysis:
    """Means with an error bar from control-adjusted rows at draws with labels.

    `grows` says that the first halves of replicates are replicates themselves; `may_drop` that a
    value does without its control where that has the longer error bar.
    """
    about = values - pivot if measure.self_normalized else values
    controlled = any(name != "none" for name in fit.names) or fit.mean_error.any()
    rows = fit.rows if controlled or draws.zero_mean is not None else None
    if draws.chain is None and draws.strata is None and draws.cluster is None:
        sums, halves = _summed(about, draws, rows, measure, pivot, grows, covariance)
        return conclude(
            sums,
            measure,
            fit,
            halves=halves,
            replicated=draws.replicate is not None,
            grows=grows and draws.replicate is not None,
            pivot=pivot,
            covariance=covariance,
            size=np.abs(values).max(axis=0),
            may_drop=may_drop,
        )
    size = np.abs(values).max(axis=0)
    return _labelled(fit, about, draws, pivot, measure, covariance, size, may_drop)


def _summed(
    values: FloatArray,
    draws: Draws,
    rows: FloatArray | None,
    measure: Measure,
    pivot: FloatArray | float,
    grows: bool,
    covariance: bool,
) -> tuple[BlockSums, FloatArray | None]:
    """Sums over all draws; and the means of the first halves of replicates, where these grow."""
    if draws.replicate is None:
        return BlockSums.of(
            values, draws, measure, Layout(), adjusted=rows, pivot=pivot, covariance=covariance
        ), None
    layout, sums, halves = Layout(replicated=True, grows=grows), None, []
    for group, label in enumerate(np.unique(draws.replicate)):
        at = np.flatnonzero(draws.replicate == label)
        part = draws.take(at)
        own = None if rows is None else rows[at]
        block = BlockSums.of(
            values[at],
            part,
            measure,
            layout,
            adjusted=own,
            group=group,
            pivot=pivot,
            covariance=covariance,
        )
        sums = block if sums is None else sums + block
        used = weighted(values[at], part) if own is None else own
        halves.append(used[: len(at) // 2].mean(axis=0) if len(at) > 1 else used[0])
    assert sums is not None
    if len(sums.rows.parts) < 2:
        raise ValueError("one replicate is not enough for an error bar; expected at least 2.")
    return sums, np.stack(halves) if grows else None


def conclude(
    sums: BlockSums,
    measure: Measure,
    fit: CrossFit,
    *,
    halves: FloatArray | None,
    replicated: bool,
    grows: bool,
    pivot: FloatArray | float,
    covariance: bool,
    size: FloatArray | None = None,
    may_drop: bool = True,
) -> Analysis:
    """Means with an error bar from sums over independent draws or replicates.

    Parameters
    ----------
    sums : BlockSums
    measure : Measure
    fit : CrossFit
        Of the control; its rows are not used.
    halves : ndarray, shape (R, p), or None
        Means of rows over the first halves of replicates.
    replicated : bool
    grows : bool
        Whether replicates are nets that grow.
    pivot : float or ndarray, shape (m,)
        About which the values of ratios are.
    covariance : bool
    size : ndarray, shape (m,), optional
        Largest |f|, where a control may leave nothing but rounding.
    may_drop : bool
        Whether a value does without a control that has the longer error bar.
    """
    m = len(fit.names)
    rows, plain, log_weight = sums.rows, sums.plain, None
    offset = plain_offset = np.zeros(m)
    if measure.self_normalized:
        mean = total(rows.parts).value_mean
        ratio, gradient = combine.ratio_gradient(mean)
        offset = ratio + pivot
        plain_offset = combine.ratio_gradient(total(plain.parts).value_mean)[0] + pivot
        of_weights = None if halves is None else halves[:, -1:] / mean[m]
        found = _bar(column(plain, m, 1 / mean[m]), of_weights, replicated, False)[0]
        log_weight = replace(found, mean=np.log(mean[m:]))
        halves = None if halves is None else halves @ gradient.T
        same = rows is plain
        rows = linearised(rows)
        plain = rows if same else linearised(plain)
    found, tails = _bar(rows, halves, replicated, covariance)
    without, plain_tails = (found, tails) if plain is rows else _bar(plain, None, replicated, False)
    analysis = _judged(
        _scaled(_with_control(found, fit, tails, plain_tails), measure.mass, offset),
        _scaled(without, measure.mass, plain_offset),
        plain,
        plain_tails,
        sums,
        measure,
        fit.names,
        grows=grows,
        size=size,
        may_drop=may_drop,
    )
    return replace(analysis, log_weight=log_weight)


def _bar(
    sums: Sums, halves: FloatArray | None, replicated: bool, covariance: bool
) -> tuple[Combined, Tails]:
    """Error bar of independent rows, or of replicates."""
    tails = Tails.of(sums)
    if replicated:
        return replicated_bar(sums, tails, halves, covariance=covariance), tails
    moments = total(sums.parts)
    if not covariance and moments.values.ndim == 2:
        moments = replace(moments, values=np.diagonal(moments.values).copy())
    return independent_bar(combine.independent([moments]), sums, tails), tails


def _with_control(found: Combined, fit: CrossFit, tails: Tails, plain: Tails) -> Combined:
    """Add the errors that a control brings: of its stated means, and of its fitted expectation."""
    if fit.mean_error.any():
        found = with_error(found, np.hypot(np.sqrt(found.variance), fit.mean_error))
    if not fit.jackknife.any():
        return found
    return longest(found, [jackknife_bar(fit.jackknife, fit.folds, tails, plain)])


def _judged(
    found: Combined,
    without: Combined,
    plain: Sums,
    plain_tails: Tails,
    sums: BlockSums,
    measure: Measure,
    names: tuple[str, ...],
    *,
    grows: bool,
    size: FloatArray | None,
    may_drop: bool = True,
) -> Analysis:
    """The analysis: which error bar is reported, and what makes it suspect.

    A value whose control has the longer error bar does without, where it `may_drop` the control.
    """
    m = len(names)
    reasons = suspicions(sums, measure, m)
    # By chance the index of independent draws may be overrated, that of nets hardly; and a proposal
    # that is too light shows late.
    doubt = 0.0 if grows or measure.self_normalized else 1.0
    of_weights = suspect_weights(sums, doubt) if measure.self_normalized else []
    index = plain_tails.index
    light = not measure.self_normalized or weight_index(sums) < _HEAVY_WEIGHTS
    if light and not grows and (index > 0.5).any():
        # Of a heavy tail the outer half is heavy too; a cluster with a few rows beyond it is not.
        index = np.minimum(index, Tails.of(plain, share=4).index)
    for j in range(m):
        reasons[j] += of_weights or heavy_tail(float(index[j]), plain_tails.n, doubt)
    if may_drop:
        worse = half_widths(found) > _PRICE * half_widths(without)
        found = _exchanged(found, without, worse)
        names = tuple(
            f"none ({name} has the longer error bar)" if drop and name != "none" else name
            for name, drop in zip(names, worse, strict=True)
        )
    variance = sums.plain_variance(measure)
    return Analysis(
        _with_rounding(found, variance * sums.n, sums.largest(m) * measure.mass, size),
        without,
        variance,
        names,
        tuple(map(tuple, reasons)),
        sums.ess(measure),
        weight_reasons=tuple(of_weights),
    )


def _labelled(
    fit: CrossFit,
    values: FloatArray,
    draws: Draws,
    pivot: FloatArray | float,
    measure: Measure,
    covariance: bool,
    size: FloatArray,
    may_drop: bool,
) -> Analysis:
    """As `conclude`, for draws along chains, in strata or in clusters."""
    rows, offset = linear_rows(fit.rows, draws)
    found, _, tails = labelled_bar(rows, draws, covariance)
    plain_rows, plain_offset = linear_rows(weighted(values, draws), draws)
    without, plain, plain_tails = labelled_bar(plain_rows, draws, False)
    about = pivot if measure.self_normalized else 0.0
    analysis = _judged(
        _scaled(_with_control(found, fit, tails, plain_tails), measure.mass, offset + about),
        _scaled(without, measure.mass, plain_offset + about),
        plain,
        plain_tails,
        BlockSums.of(values, draws, measure, Layout(), pivot=pivot),
        measure,
        fit.names,
        grows=False,
        size=size,
        may_drop=may_drop,
    )
    if draws.chain is None:
        return analysis
    # The values themselves: what a control leaves has a mean of its own in each fold.
    mixed = mixing(plain_rows, draws.chain)
    reasons = zip(analysis.reasons, mixed, strict=True)
    return replace(analysis, reasons=tuple((*of_tails, *own) for of_tails, own in reasons))


def labelled_bar(
    rows: FloatArray, draws: Draws, covariance: bool = False
) -> tuple[Combined, Sums, Tails]:
    """Error bar of linear rows along chains, in strata or in clusters; their sums and tails."""
    by_design = spread(rows, draws, covariance)
    own = rows if draws.cluster is None else cluster_rows(rows, draws.cluster)
    kept = n_sampled(rows.shape[1], replicated=False)
    sums = Sums.of(own, skewness=draws.chain is None, sample=kept)
    tails = Tails.of(sums)
    if draws.strata is not None:
        return stratified_bar(by_design, rows, tails, len(np.unique(draws.strata))), sums, tails
    if draws.chain is None:
        return independent_bar(by_design, sums, tails), sums, tails
    variance = rows.var(axis=0)
    inefficiency = np.divide(
        by_design.variance * (len(rows) - 1),
        variance,
        out=np.ones_like(variance),
        where=variance > 0,
    )
    effective = len(rows) / np.maximum(inefficiency, 1.0)
    found = independent_bar(by_design, sums, tails, n=effective)
    means = part_means(rows, draws.chain)
    bars = [Bar(np.sqrt(means.variance), means.df)]
    group = _scattered(draws)
    if group is not None:
        clustered = combine.independent([Moments.of(cluster_rows(rows, group))])
        bars.append(Bar(np.sqrt(clustered.variance), clustered.df))
    return longest(found, bars), sums, tails


def error_of_rows(rows: FloatArray, draws: Draws) -> Combined:
    """Means of rows (n, m) at independent draws or along chains, with their error bar."""
    if draws.chain is None and draws.strata is None and draws.cluster is None:
        kept = n_sampled(rows.shape[1], replicated=False)
        return _bar(Sums.of(rows, sample=kept), None, False, False)[0]
    return labelled_bar(rows, draws)[0]


def _scattered(draws: Draws) -> IntArray | None:
    """Distinct point of each draw, where draws coincide that are no neighbours in a chain.

    A Metropolis chain repeats a point when it rejects; elsewhere repeats are resampled draws.
    """
    group = repeated(draws)
    if group is None or draws.chain is None:
        return None
    new = (np.diff(group) != 0) | (np.diff(draws.chain) != 0)
    runs = 1 + int(new.sum())
    return np.asarray(group) if runs > len(np.unique(group)) else None


def _exchanged(found: Combined, other: Combined, columns: BoolArray) -> Combined:
    """Some of the means with their error bars from another estimate, correlations as they were."""
    if not columns.any():
        return found

    def taken(mine: Any, its: Any) -> FloatArray:
        return np.asarray(np.where(columns, its, mine))

    scale = np.sqrt(
        np.divide(
            other.variance,
            found.variance,
            out=np.ones_like(found.variance),
            where=columns & (found.variance > 0),
        )
    )
    matrix = found.covariance
    return Combined(
        taken(found.mean, other.mean),
        matrix * (scale**2 if matrix.ndim == 1 else np.outer(scale, scale)),
        taken(found.df, other.df),
        taken(found.skewness, other.skewness),
    )


def _scaled(found: Combined, mass: float, offset: FloatArray | float) -> Combined:
    return replace(found, mean=found.mean * mass + offset, covariance=found.covariance * mass**2)


def _with_rounding(
    found: Combined, variance: FloatArray, largest: FloatArray, size: FloatArray | None
) -> Combined:
    """Count rounding, which is all that is left where a net or a control is exact.

    A spread of some units in the last place is that of a constant.
    """
    least = np.finfo(float).eps * np.sqrt(variance + found.mean**2)
    if size is not None:
        least = np.maximum(least, _ROUNDING * size)
    varies = variance > (1e-14 * largest) ** 2
    return with_error(found, np.where(varies, least, 0.0))
