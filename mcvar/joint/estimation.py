"""estimate_jointly(): cross-fit a vector-valued control, and never do worse than without it."""

from copy import copy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from mcvar._checks import as_count, root_entropy
from mcvar._typing import FloatArray, IntArray, Seed
from mcvar.control import (
    SteinPolynomial,
    VectorSteinKernel,
    VectorSteinPolynomial,
)
from mcvar.control.task_covariance import checked_covariance
from mcvar.draws import Draws
from mcvar.integrate.analyse import Analysis
from mcvar.integrate.crossfit import CrossFit, cross_fit, fold_labels, jackknife
from mcvar.integrate.values import Measure
from mcvar.joint.guard import analysed, guard
from mcvar.joint.result import JointEstimate
from mcvar.joint.tasks import TaskGroup, read_tasks

JointControl = VectorSteinKernel | VectorSteinPolynomial

_FEW = 2000  # observations up to which each draw is served by a fit on all others


def estimate_jointly(
    tasks: Any,
    control: JointControl | None = None,
    *,
    folds: int = 5,
    rng: Seed = None,
    warm_start: JointEstimate | None = None,
) -> JointEstimate:
    """Estimate related integrals with one control that they share.

    Fidelities of a simulator, posteriors of neighbouring data sets, temperatures of a ladder: what
    one integrand teaches about another spares evaluations of it. Length-scale, noises and
    covariance between tasks are learned without the fold of a draw. Of up to 2,000 independent
    observations each is then corrected by a fit to all draws but itself, in closed form; of more,
    by a fit to the other folds. With few observations the value is then moved, by one standard
    error at most, towards the expectation of a fit to all draws, which errs less and has a bias.

    A task for which this leaves clearly more variance than a scalar `SteinKernel`, a
    `SteinPolynomial` or no control gets one of those; a single task is what `estimate` makes of
    it with the scalar sibling of the control. Error bars are those of what is left out of fold,
    or the jackknife's over folds of the expectation itself where that is larger.

    Parameters
    ----------
    tasks : list of (values, Draws)
        One entry for each task: values (n_t,) at draws of its own target with ``grad_logpdf``;
        or values (n, T) of T tasks on the same draws. Entries with equal draws share folds.
    control : VectorSteinKernel or VectorSteinPolynomial, optional
        Default ``VectorSteinKernel()``, which learns the covariance between tasks.
    folds : int
        Parts of each task's draws; what corrects one of them is learned on the others.
    rng : int, Generator, SeedSequence or None
        Puts draws into folds at random. By default they take turns, which is as good where
        they are independent. Chains are cut into contiguous blocks in any case.
    warm_start : JointEstimate, optional
        A result whose tasks come first among `tasks`. What its control has learned is kept, and
        every fit learns of further tasks only how they covary with those and their noise: a task
        more costs solves and no search. Error bars of the first tasks know nothing of the choice
        of what is kept.

    Returns
    -------
    JointEstimate

    References
    ----------
    Sun, Barp & Briol, "Vector-valued control variates", ICML 2023.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(1)
    >>> crude, fine = rng.normal(size=(60, 1)), rng.normal(size=(20, 1))
    >>> tasks = [
    ...     (np.exp(crude[:, 0]), mcvar.Draws(crude, grad_logpdf=-crude)),
    ...     (1.1 * np.exp(fine[:, 0]) + 1, mcvar.Draws(fine, grad_logpdf=-fine)),
    ... ]
    >>> joint = mcvar.estimate_jointly(tasks)
    >>> bool(abs(joint.value[1] - 1.1 * np.exp(1 / 2) - 1) < 0.05)
    True
    """
    if warm_start is not None:
        control = _going_on(control, warm_start)
    elif control is None:
        control = VectorSteinKernel()
    if not isinstance(control, JointControl):
        raise TypeError(
            "control must be a mcvar.control.VectorSteinKernel or VectorSteinPolynomial, got "
            f"{control!r}."
        )
    folds = as_count("folds", folds, 2)
    groups = read_tasks(tasks)
    if not isinstance(rng, np.random.Generator | None):
        rng = np.random.default_rng(root_entropy(rng))
    labels = [_labels(group.draws, folds, rng) for group in groups]
    scalar = control.scalar()
    if isinstance(scalar, SteinPolynomial):
        scalar = scalar.for_draws(np.concatenate([group.draws.x for group in groups]))
    alone = sum(len(group.indices) for group in groups) == 1
    if alone:
        fits = _single_task(control, scalar, groups[0], labels[0])
    else:
        fits = _out_of_fold(control, groups, labels, folds)
    results = [
        _group_result(None if alone else scalar, group, label, folds, fits, number)
        for number, (group, label) in enumerate(zip(groups, labels, strict=True))
    ]
    return _stacked(results, fits)


@dataclass(frozen=True)
class _GroupResult:
    """Estimates of the tasks of a group, with what binds them to other groups.

    `shared_error` (m,) is what the joint control's expectation adds to the error of the rows.
    """

    indices: IntArray
    found: Analysis
    rows: FloatArray
    n: int
    shared_error: FloatArray


def _group_result(
    scalar: Any, group: TaskGroup, labels: IntArray, folds: int, fits: "_Fits", number: int
) -> _GroupResult:
    joint, fallback = fits.by_folds[number], None
    if fits.by_draws is not None:
        fallback = joint
        joint = _shrunken(fits.means[list(group.indices)], fits.by_draws[number])
    alone = scalar is None
    chosen = joint if alone else guard(scalar, group, labels, folds, joint, fallback)
    found = analysed(chosen, group, may_drop=alone)
    of_rows = analysed(replace(chosen, jackknife=np.zeros_like(chosen.jackknife)), group)
    missing = np.maximum(found.combined.variance - of_rows.combined.variance, 0.0)
    is_joint = np.array([name == joint.names[0] for name in chosen.names])
    return _GroupResult(
        np.array(group.indices), found, chosen.rows, group.draws.n, np.sqrt(missing) * is_joint
    )


def _stacked(results: list[_GroupResult], fits: "_Fits") -> JointEstimate:
    """The estimates of all tasks in their order."""
    count = sum(len(result.indices) for result in results)
    covariance, shared = np.zeros((count, count)), np.zeros(count)
    value, df, skewness, gain = (np.empty(count) for _ in range(4))
    n = [0] * count
    controls, rows = [""] * count, [np.empty(0)] * count
    reasons: list[tuple[str, ...]] = [()] * count
    for result in results:
        at, found = result.indices, result.found
        combined, plain = found.combined, found.independent_variance
        value[at], df[at], skewness[at] = combined.mean, combined.df, combined.skewness
        covariance[np.ix_(at, at)] = combined.covariance
        shared[at] = result.shared_error
        variance = combined.variance
        gain[at] = np.divide(plain, variance, out=np.full(len(at), np.inf), where=variance > 0)
        gain[at[plain == 0]] = 1.0
        for j, t in enumerate(at):
            n[t], controls[t], reasons[t] = result.n, found.controls[j], found.reasons[j]
            rows[t] = result.rows[:, j].copy()
    covariance += _between(fits.expectations, shared)
    named = tuple(f"task {t}: {reason}" for t, of_task in enumerate(reasons) for reason in of_task)
    return JointEstimate(
        value=value,
        standard_error=np.sqrt(np.maximum(np.diagonal(covariance), 0.0)),
        covariance=covariance,
        df=df,
        skewness=skewness,
        n=tuple(n),
        variance_reduction=gain,
        control=tuple(controls),
        task_covariance=np.mean(fits.task_covariances, axis=0),
        model=fits.model,
        corrected=tuple(rows),
        expectations=fits.expectations,
        status="suspect" if named else "completed",
        reasons=named,
    )


def _going_on(control: JointControl | None, before: JointEstimate) -> JointControl:
    """Return the control of an earlier result, ready to be fitted on more tasks."""
    if not isinstance(before, JointEstimate):
        raise TypeError(f"warm_start must be a JointEstimate, got {before!r}.")
    if control is not None:
        raise ValueError("give control or warm_start: an earlier result brings its own control.")
    found: JointControl = copy(before.model)
    found.set_params(warm_start=True)
    return found


def _labels(draws: Draws, folds: int, rng: np.random.Generator | None) -> IntArray:
    """Return the fold of each draw; a task of few draws is missing from some folds."""
    few = draws.n < 2 * folds and draws.chain is None
    labels = np.arange(draws.n) % folds if few else fold_labels(draws, folds)
    return labels if rng is None or draws.chain is not None else rng.permutation(labels)


class _Fits(NamedTuple):
    """Cross-fitted residuals of the joint control, plus its expectation, for each group.

    `by_folds` comes from fits without each fold, `task_covariances` are their B, `expectations`
    (folds, T) theirs, and `model` is the first of them. With few observations `by_draws` comes from
    fits to all draws but one, at the hyper-parameters learned without its fold, and `means` (T,)
    are the expectations of fits to all of them.
    """

    by_folds: list[CrossFit]
    task_covariances: list[FloatArray]
    expectations: FloatArray
    model: JointControl
    by_draws: list[CrossFit] | None
    means: FloatArray


def _single_task(control: JointControl, scalar: Any, group: TaskGroup, labels: IntArray) -> _Fits:
    """Fall back to the scalar control for a single task, which has nothing to share."""
    fit = cross_fit(scalar, group.draws, group.values, labels, Measure())
    model = _fitted(control, *_by_task([group], [np.full(group.draws.n, True)]))
    b = np.eye(1)
    if isinstance(control, VectorSteinKernel) and not isinstance(control.task_covariance, str):
        b = checked_covariance(control.task_covariance, 1)
    return _Fits([fit], [b], model.mean_[np.newaxis], model, None, model.mean_)


def _fitted(control: JointControl, *arrays: Any) -> JointControl:
    """A fitted clone, or a fitted copy with its state where there is a warm start."""
    found: JointControl = copy(control) if control.warm_start else clone(control)
    return found.fit(*arrays)


def _out_of_fold(
    control: JointControl, groups: list[TaskGroup], labels: list[IntArray], folds: int
) -> _Fits:
    """Out-of-fold residuals plus expectations for every group of tasks."""
    by_folds, by_draws = ([np.empty_like(group.values) for group in groups] for _ in range(2))
    fits: list[JointControl] = []
    to_all, name = [], ""
    one_by_one = isinstance(control, VectorSteinKernel) and _can_leave_one_out(groups)
    for fold in range(folds):
        held_out = [label == fold for label in labels]
        if not any(mask.any() for mask in held_out):
            continue
        fitted = _fitted(control, *_by_task(groups, [~mask for mask in held_out]))
        fits.append(fitted)
        name = name or fitted.describe()
        for group, mask, out in zip(groups, held_out, by_folds, strict=True):
            x, s = group.draws.x[mask], _scores(group)[mask]
            for j, task in enumerate(group.indices if len(x) else ()):
                known = fitted.mean_[task] - fitted.predict(task, x, s)
                out[mask, j] = group.values[mask, j] + known
        if one_by_one and isinstance(fitted, VectorSteinKernel):
            left, mean = _left_out(fitted, groups)
            to_all.append(mean)
            for group, mask, out in zip(groups, held_out, by_draws, strict=True):
                for j, task in enumerate(group.indices):
                    out[mask, j] = left[task][mask]
    expectations = np.array([fitted.mean_ for fitted in fits])
    spread = jackknife(expectations)
    found, alternative = (
        [
            CrossFit(
                out,
                (),
                (name,) * out.shape[1],
                np.zeros(out.shape[1]),
                spread[list(group.indices)],
                len(fits),
                True,
            )
            for group, out in zip(groups, rows, strict=True)
        ]
        for rows in (by_folds, by_draws)
    )
    covariances = [fitted.task_covariance_ for fitted in fits]
    if not one_by_one:
        return _Fits(found, covariances, expectations, fits[0], None, expectations.mean(axis=0))
    # Median over folds: robust to a fold whose hyper-parameters are outliers.
    return _Fits(found, covariances, expectations, fits[0], alternative, np.median(to_all, axis=0))


def _shrunken(means: FloatArray, fit: CrossFit) -> CrossFit:
    """Estimates moved to the expectations of fits to all draws, as far as they agree with them.

    Leaving out the draw furthest out asks a fit to extrapolate, and its noise is most of the
    error of an unbiased value. The fit to all draws has less, and a bias. Where the gap between
    them is within the standard error of the rows, nothing tells of a bias; where it is larger, all
    of it but error²/gap is taken to be one (as James and Stein shrink means). So no value is more
    than one standard error from an unbiased one.
    """
    rows = fit.rows
    gap = means - rows.mean(axis=0)
    square = rows.var(axis=0, ddof=1) / len(rows)
    within = gap**2 <= square
    share = np.divide(square, gap**2, out=np.ones_like(gap), where=~within)
    return replace(fit, rows=rows + gap * share)


def _can_leave_one_out(groups: list[TaskGroup]) -> bool:
    """Say whether draws are few, independent and distinct."""
    if sum(group.values.size for group in groups) > _FEW:
        return False
    return all(
        group.draws.chain is None and len(np.unique(group.draws.x, axis=0)) == group.draws.n
        for group in groups
    )


def _left_out(
    fitted: VectorSteinKernel, groups: list[TaskGroup]
) -> tuple[list[FloatArray], FloatArray]:
    """Return each task's values less prediction plus its expectation, draw by draw left out.

    And the expectations (T,) of a fit that leaves none out.
    """
    draw, count = {}, 0
    for group in groups:
        for task in group.indices:
            draw[task] = count + np.arange(group.draws.n)
        count += group.draws.n
    everything = _by_task(groups, [np.full(group.draws.n, True) for group in groups])
    left = fitted.leave_one_out(*everything, [draw[t] for t in range(len(draw))])
    return [r + m for r, m in zip(left.residual, left.mean, strict=True)], left.mean_of_all


def _by_task(
    groups: list[TaskGroup], used: list[Any]
) -> tuple[list[FloatArray], list[FloatArray], list[FloatArray]]:
    """Return draws, values and scores of each task, where `used`."""
    x, y, s = {}, {}, {}
    for group, rows in zip(groups, used, strict=True):
        for j, task in enumerate(group.indices):
            x[task], s[task] = group.draws.x[rows], _scores(group)[rows]
            y[task] = group.values[rows, j]
    order = range(len(x))
    return [x[t] for t in order], [y[t] for t in order], [s[t] for t in order]


def _scores(group: TaskGroup) -> FloatArray:
    assert group.draws.grad_logpdf is not None
    return group.draws.grad_logpdf


def _between(means: FloatArray, error: FloatArray) -> FloatArray:
    """Return covariances (T, T) of errors (T,) of expectations (folds, T) that share their fits.

    They move together when draws are left out as the expectations do. Zeros on the diagonal.
    """
    moves = means - means.mean(axis=0)
    size = np.linalg.norm(moves, axis=0)
    moves *= np.divide(error, size, out=np.zeros_like(size), where=size > 0)
    together = moves.T @ moves
    np.fill_diagonal(together, 0.0)
    return np.asarray(together)
