"""A guard that gives a task up to a control of its own where the joint one is worse for it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mcvar._typing import IntArray
from mcvar.control import SteinKernel, SteinPolynomial
from mcvar.integrate.analyse import Analysis, analyse_fit
from mcvar.integrate.chains import correlation_length
from mcvar.integrate.crossfit import CrossFit
from mcvar.integrate.features import is_linear
from mcvar.integrate.select import choose, stein_candidates
from mcvar.integrate.values import Measure
from mcvar.joint.tasks import TaskGroup

_ENOUGH = 1000.0  # times less variance than without control, at which no other is tried
_CLEARLY = 4.0  # times the variance of another control, at which the joint one is given up


def analysed(fit: CrossFit, group: TaskGroup, *, may_drop: bool = False) -> Analysis:
    """Means of a group's tasks with their error bars, by the rules of every estimate."""
    return analyse_fit(
        fit, group.draws, group.values, 0.0, Measure(), covariance=True, may_drop=may_drop
    )


def guard(
    control: SteinKernel | SteinPolynomial | None,
    group: TaskGroup,
    labels: IntArray,
    folds: int,
    joint: CrossFit,
    fallback: CrossFit | None,
) -> CrossFit:
    """Joint control, or another for the tasks of a group where it is clearly worse for them.

    The others are polynomials, a scalar kernel, `fallback` (the joint control fitted on other
    folds, where a draw that contradicts what was learned without it does no harm), and none. They
    are tried where the joint control leaves something to gain. Clearly worse are error bars twice
    as long: those of few draws are known no better, and that of the joint control is long for a
    value that has been moved.
    """
    draws = group.draws
    of_joint = analysed(joint, group)
    of_plain = of_joint.plain.variance
    columns = np.flatnonzero(_ENOUGH * of_joint.combined.variance > of_plain)
    if not len(columns):
        return joint
    part = group.of_columns(columns)

    def candidates() -> Iterator[Any]:
        # With few draws a fit on a task's own draws says nothing; that of others may.
        if draws.n >= 2 * folds:
            yield from (each for each in stein_candidates(draws, folds) if is_linear(each))
            # A polynomial's penalty needs two folds to be chosen by.
            if isinstance(control, SteinKernel) or (control is not None and folds > 2):
                yield control
        if fallback is not None:
            yield fallback.of_columns(columns)

    length = 1 if draws.chain is None else correlation_length(part.values, draws.chain)
    other = choose(candidates(), draws, part.values, labels, Measure(), length=length)
    of_other = analysed(other, part).combined.variance
    worse = of_joint.combined.variance[columns] > np.minimum(_CLEARLY * of_other, of_plain[columns])
    return joint.replaced(columns[worse], other, np.flatnonzero(worse))
