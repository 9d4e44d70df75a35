"""estimate_jointly(): cross-fit a vector-valued control, and never do worse than without it."""

from copy import copy
from dataclasses import replace
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
from mcvar.integrate.chains import chains_disagree
from mcvar.integrate.correct import Corrected, correct
from mcvar.integrate.diagnose import heavy_tails, one_row_rules
from mcvar.integrate.folding import fold_labels
from mcvar.joint.guard import error_bars, guard, jackknife
from mcvar.joint.result import JointEstimate
from mcvar.joint.tasks import Sheet, read_tasks

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
    sheets = read_tasks(tasks)
    if not isinstance(rng, np.random.Generator | None):
        rng = np.random.default_rng(root_entropy(rng))
    labels = [_labels(sheet.draws, folds, rng) for sheet in sheets]
    count = sum(len(sheet.places) for sheet in sheets)
    scalar = control.scalar()
    if isinstance(scalar, SteinPolynomial):
        scalar = scalar.for_draws(np.concatenate([sheet.draws.x for sheet in sheets]))
    if count == 1:
        fits = _alone(control, scalar, sheets[0], labels[0])
    else:
        fits = _out_of_fold(control, sheets, labels, folds)
    corrected = fits.by_folds
    spare: list[Corrected | None] = [None] * len(sheets)
    if fits.by_draws is not None:
        spare = list(corrected)
        corrected = [
            _towards(fits.means[list(sheet.places)], part)
            for sheet, part in zip(sheets, fits.by_draws, strict=True)
        ]

    by_joint, rows = np.zeros(count), [np.empty(0)] * count
    value, df, gain = np.empty(count), np.empty(count), np.empty(count)
    covariance, n = np.zeros((count, count)), np.empty(count, dtype=int)
    controls, reasons = [""] * count, [()] * count  # type: list[str], list[tuple[str, ...]]
    for sheet, label, joint, other in zip(sheets, labels, corrected, spare, strict=True):
        places, draws = np.array(sheet.places), sheet.draws
        chosen = guard(scalar if count > 1 else None, sheet, label, folds, joint, other)
        found, missing = error_bars(chosen, draws)
        by_joint[places] = missing * [name == joint.controls[0] for name in chosen.controls]
        value[places], df[places], n[places] = found.mean, found.df, draws.n
        covariance[np.ix_(places, places)] = found.covariance
        plain = sheet.values.var(axis=0, ddof=1) / draws.n
        gain[places] = np.divide(
            plain, found.variance, out=np.full(len(places), np.inf), where=found.variance > 0
        )
        gain[places[plain == 0]] = 1.0
        for j, place in enumerate(places):
            controls[place], rows[place] = chosen.controls[j], chosen.rows[:, j].copy()
            reasons[place] = _suspicions(draws, sheet.values[:, j], chosen.rows[:, j])
    covariance += _between(fits.expectations, by_joint)
    told = tuple(f"task {t}: {reason}" for t, found_ in enumerate(reasons) for reason in found_)
    return JointEstimate(
        value=value,
        standard_error=np.sqrt(np.maximum(np.diagonal(covariance), 0.0)),
        covariance=covariance,
        df=df,
        n=tuple(int(size) for size in n),
        variance_reduction=gain,
        control=tuple(controls),
        task_covariance=np.mean(fits.task_covariances, axis=0),
        model=fits.model,
        corrected=tuple(rows),
        expectations=fits.expectations,
        status="suspect" if told else "converged",
        reasons=told,
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
    """What fits without a draw leave of the values of each sheet.

    `by_folds` comes from fits without each fold, `task_covariances` are their B, `expectations`
    (folds, T) theirs, and `model` is the first of them. With few observations `by_draws` comes from
    fits to all draws but one, at what was learned without its fold, and `means` (T,) are the
    expectations of fits to all of them.
    """

    by_folds: list[Corrected]
    task_covariances: list[FloatArray]
    expectations: FloatArray
    model: JointControl
    by_draws: list[Corrected] | None
    means: FloatArray


def _alone(control: JointControl, scalar: Any, sheet: Sheet, labels: IntArray) -> _Fits:
    """Do with a single task, which has nothing to share, what `estimate` does with it."""
    corrected = correct(scalar, sheet.draws, sheet.values, labels)
    model = _fitted(control, *_by_task([sheet], [np.full(sheet.draws.n, True)]))
    b = np.eye(1)
    if isinstance(control, VectorSteinKernel) and not isinstance(control.task_covariance, str):
        b = checked_covariance(control.task_covariance, 1)
    return _Fits([corrected], [b], model.mean_[np.newaxis], model, None, model.mean_)


def _fitted(control: JointControl, *arrays: Any) -> JointControl:
    """Return a copy that is fitted: one that keeps what a warm start goes on from, or a clone."""
    found: JointControl = copy(control) if control.warm_start else clone(control)
    return found.fit(*arrays)


def _out_of_fold(
    control: JointControl, sheets: list[Sheet], labels: list[IntArray], folds: int
) -> _Fits:
    """Return values less prediction plus its expectation, from fits without the draw."""
    by_folds, by_draws = ([np.empty_like(sheet.values) for sheet in sheets] for _ in range(2))
    fits: list[JointControl] = []
    to_all, name = [], ""
    one_by_one = isinstance(control, VectorSteinKernel) and _can_leave_one_out(sheets)
    for fold in range(folds):
        held_out = [label == fold for label in labels]
        if not any(mask.any() for mask in held_out):
            continue
        fitted = _fitted(control, *_by_task(sheets, [~mask for mask in held_out]))
        fits.append(fitted)
        name = name or fitted.describe()
        for sheet, mask, out in zip(sheets, held_out, by_folds, strict=True):
            x, s = sheet.draws.x[mask], _scores(sheet)[mask]
            for j, place in enumerate(sheet.places if len(x) else ()):
                known = fitted.mean_[place] - fitted.predict(place, x, s)
                out[mask, j] = sheet.values[mask, j] + known
        if one_by_one and isinstance(fitted, VectorSteinKernel):
            left, mean = _left_out(fitted, sheets)
            to_all.append(mean)
            for sheet, mask, out in zip(sheets, held_out, by_draws, strict=True):
                for j, place in enumerate(sheet.places):
                    out[mask, j] = left[place][mask]
    expectations = np.array([fitted.mean_ for fitted in fits])
    spread = jackknife(expectations)
    found, alternative = (
        [
            Corrected(out, spread[list(sheet.places)], (name,) * out.shape[1], True)
            for sheet, out in zip(sheets, rows, strict=True)
        ]
        for rows in (by_folds, by_draws)
    )
    covariances = [fitted.task_covariance_ for fitted in fits]
    if not one_by_one:
        return _Fits(found, covariances, expectations, fits[0], None, expectations.mean(axis=0))
    # A fold without which something strange is learned has no say.
    return _Fits(found, covariances, expectations, fits[0], alternative, np.median(to_all, axis=0))


def _towards(means: FloatArray, corrected: Corrected) -> Corrected:
    """Move values to the expectations of fits to all draws, as far as they agree with them.

    Leaving out the draw furthest out asks a fit to extrapolate, and its noise is most of the
    error of an unbiased value. The fit to all draws has less, and a bias. Where the gap between
    them is within the standard error of the rows, nothing tells of a bias; where it is larger, all
    of it but error²/gap is taken to be one (as James and Stein shrink means). So no value is more
    than one standard error from an unbiased one.
    """
    rows = corrected.rows
    gap = means - rows.mean(axis=0)
    square = rows.var(axis=0, ddof=1) / len(rows)
    within = gap**2 <= square
    share = np.divide(square, gap**2, out=np.ones_like(gap), where=~within)
    return replace(corrected, rows=rows + gap * share)


def _can_leave_one_out(sheets: list[Sheet]) -> bool:
    """Say whether draws are few, independent and distinct."""
    if sum(sheet.values.size for sheet in sheets) > _FEW:
        return False
    return all(
        sheet.draws.chain is None and len(np.unique(sheet.draws.x, axis=0)) == sheet.draws.n
        for sheet in sheets
    )


def _left_out(
    fitted: VectorSteinKernel, sheets: list[Sheet]
) -> tuple[list[FloatArray], FloatArray]:
    """Return each task's values less prediction plus its expectation, draw by draw left out.

    And the expectations (T,) of a fit that leaves none out.
    """
    draw, count = {}, 0
    for sheet in sheets:
        for place in sheet.places:
            draw[place] = count + np.arange(sheet.draws.n)
        count += sheet.draws.n
    everything = _by_task(sheets, [np.full(sheet.draws.n, True) for sheet in sheets])
    left = fitted.leave_one_out(*everything, [draw[t] for t in range(len(draw))])
    return [r + m for r, m in zip(left.residual, left.mean, strict=True)], left.mean_of_all


def _by_task(
    sheets: list[Sheet], used: list[Any]
) -> tuple[list[FloatArray], list[FloatArray], list[FloatArray]]:
    """Return draws, values and scores of each task, where `used`."""
    x, y, s = {}, {}, {}
    for sheet, rows in zip(sheets, used, strict=True):
        for j, place in enumerate(sheet.places):
            x[place], s[place] = sheet.draws.x[rows], _scores(sheet)[rows]
            y[place] = sheet.values[rows, j]
    order = range(len(x))
    return [x[t] for t in order], [y[t] for t in order], [s[t] for t in order]


def _scores(sheet: Sheet) -> FloatArray:
    assert sheet.draws.grad_logpdf is not None
    return sheet.draws.grad_logpdf


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


def _suspicions(draws: Draws, values: FloatArray, row: FloatArray) -> tuple[str, ...]:
    reasons = heavy_tails(values) + one_row_rules(row)
    if draws.chain is not None:
        reasons += chains_disagree(row[:, np.newaxis], draws.chain)
    return tuple(reasons)
