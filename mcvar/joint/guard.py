"""Error bars of joint estimates, and a guard that gives a task up to a control of its own."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mcvar._typing import FloatArray, IntArray
from mcvar.control import SteinKernel, SteinPolynomial
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.integrate.chains import correlation_length
from mcvar.integrate.choice import choose, stein_candidates
from mcvar.integrate.combine import Combined
from mcvar.integrate.correct import Corrected, correct
from mcvar.integrate.crossfit import cross_fit
from mcvar.integrate.design import allow_for_extremes, by_design
from mcvar.integrate.features import is_linear
from mcvar.joint.tasks import Sheet

_ENOUGH = 1000.0  # times less variance than without control, at which no other is tried
_CLEARLY = 4.0  # times the variance of another control, at which the joint one is given up


def jackknife(means: FloatArray) -> FloatArray:
    """Return the spread (m,) of expectations (folds, m) from fits without one fold each."""
    folds = len(means)
    squares = ((means - means.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(np.sqrt((folds - 1) / folds * squares))


def error_bars(corrected: Corrected, draws: Draws) -> tuple[Combined, FloatArray]:
    """Return means with the error bar of the rows, or that of the expectations where it is larger.

    And what the latter has beyond the former, (m,).

    A kernel that all but interpolates leaves next to nothing at the draws it was not fitted on,
    save far out, where there may be none: how its expectation moves when draws are left out shows
    what it does there.
    """
    found = by_design(corrected.rows, draws, covariance=True)
    found = allow_for_extremes(found, corrected.rows, draws)
    missing = np.sqrt(np.maximum(corrected.mean_error**2 - found.variance, 0.0))
    return combine.with_mean_error(found, missing), missing


def guard(
    control: SteinKernel | SteinPolynomial | None,
    sheet: Sheet,
    labels: IntArray,
    folds: int,
    joint: Corrected,
    spare: Corrected | None,
) -> Corrected:
    """Give tasks of a sheet another control where the joint one is clearly worse for them.

    The others are polynomials, a scalar kernel, `spare` (the joint control fitted on other folds,
    where a draw that contradicts what was learned without it does no harm), and none. They are
    tried where the joint control leaves something to gain. Clearly worse are error bars twice as
    long: no better are those of few draws known, and that of the joint control is long for a value
    that has been moved.
    """
    draws = sheet.draws
    plain = correct(None, draws, sheet.values, labels, own=False)
    of_joint, of_plain = (error_bars(each, draws)[0].variance for each in (joint, plain))
    columns = np.flatnonzero(_ENOUGH * of_joint > of_plain)
    if not len(columns):
        return joint
    values = sheet.values[:, columns]

    def candidates() -> Iterator[Any]:
        # With few draws a fit on a task's own draws says nothing; that of others may.
        if draws.n >= 2 * folds:
            yield from (each for each in stein_candidates(draws, folds) if is_linear(each))
            if isinstance(control, SteinKernel):
                yield _scalar(control, draws, values, labels)
            elif control is not None and folds > 2:  # its penalty needs two folds to choose by
                yield control
        if spare is not None:
            names = tuple(spare.controls[j] for j in columns)
            yield Corrected(spare.rows[:, columns], spare.mean_error[columns], names, True)

    length = 1 if draws.chain is None else correlation_length(values, draws.chain)
    other = choose(candidates(), draws, values, labels, 1, length=length)
    of_other = error_bars(other, draws)[0].variance
    worse = of_joint[columns] > np.minimum(_CLEARLY * of_other, of_plain[columns])
    rows, errors, names = joint.rows.copy(), joint.mean_error.copy(), list(joint.controls)
    for k in np.flatnonzero(worse):
        j = columns[k]
        rows[:, j], errors[j], names[j] = other.rows[:, k], other.mean_error[k], other.controls[k]
    return Corrected(rows, errors, tuple(names), True)


def _scalar(control: SteinKernel, draws: Draws, values: FloatArray, labels: IntArray) -> Corrected:
    """Cross-fit a scalar kernel, and say how its expectations spread over the folds."""
    fit = cross_fit(control, draws.x, values, labels, draws.grad_logpdf)
    first = np.unique(labels, return_index=True)[1]
    names = (fit.fitted[0].describe(),) * values.shape[1]
    return Corrected(fit.residual + fit.mean, jackknife(fit.mean[first]), names, True)
