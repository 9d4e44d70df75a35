"""estimate_jointly(): cross-fit a vector-valued control, and never do worse than without it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import clone

from mcvar._checks import as_count, root_entropy
from mcvar._typing import FloatArray, IntArray, Seed
from mcvar.control import SteinKernel, VectorSteinKernel
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.integrate.chains import chains_disagree, correlation_length
from mcvar.integrate.choice import choose, stein_candidates
from mcvar.integrate.combine import Combined
from mcvar.integrate.correct import Corrected
from mcvar.integrate.crossfit import cross_fit
from mcvar.integrate.design import allow_for_extremes, by_design
from mcvar.integrate.diagnose import heavy_tails, one_row_rules
from mcvar.integrate.folding import fold_labels
from mcvar.joint.result import JointEstimate
from mcvar.joint.tasks import Sheet, read_tasks


def estimate_jointly(
    tasks: Any, control: VectorSteinKernel | None = None, *, folds: int = 5, rng: Seed = None
) -> JointEstimate:
    """Estimate related integrals with one control that they share.

    Fidelities of a simulator, posteriors of neighbouring data sets, temperatures of a ladder: what
    one integrand teaches about another spares evaluations of it. The control is cross-fitted, and
    a task that it does not serve gets a scalar `SteinKernel`, a `SteinPolynomial` or no control,
    whichever leaves the least variance out of fold. Error bars are those of what is left out of
    fold, or the jackknife's over folds of the expectation itself where that is larger.

    Parameters
    ----------
    tasks : list of (values, Draws)
        One entry for each task: values (n_t,) at draws of its own target with ``grad_logpdf``;
        or values (n, T) of T tasks on the same draws. Entries with equal draws share folds.
    control : VectorSteinKernel, optional
        Default ``VectorSteinKernel()``, which learns the covariance between tasks.
    folds : int
        Parts of each task's draws; each is corrected by a control that was fitted on the others.
    rng : int, Generator, SeedSequence or None
        Puts draws into folds at random. By default they take turns, which is as good where
        they are independent. Chains are cut into contiguous blocks in any case.

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
    if control is None:
        control = VectorSteinKernel()
    if not isinstance(control, VectorSteinKernel):
        raise TypeError(f"control must be a mcvar.control.VectorSteinKernel, got {control!r}.")
    folds = as_count("folds", folds, 2)
    sheets = read_tasks(tasks)
    if not isinstance(rng, np.random.Generator | None):
        rng = np.random.default_rng(root_entropy(rng))
    labels = [_labels(sheet.draws, folds, rng) for sheet in sheets]
    whole = _fit(control, sheets, [np.full(sheet.draws.n, True) for sheet in sheets])
    corrected = _out_of_fold(control, sheets, labels, folds)

    count = sum(len(sheet.places) for sheet in sheets)
    value, df, gain = np.empty(count), np.empty(count), np.empty(count)
    covariance, n = np.zeros((count, count)), np.empty(count, dtype=int)
    controls, reasons = [""] * count, [()] * count  # type: list[str], list[tuple[str, ...]]
    for sheet, label, joint in zip(sheets, labels, corrected, strict=True):
        places, draws = np.array(sheet.places), sheet.draws
        chosen = _guard(control, sheet, label, folds, joint)
        found = by_design(chosen.rows, draws, covariance=True)
        found = allow_for_extremes(found, chosen.rows, draws)
        found = _no_less(found, chosen.mean_error)
        value[places], df[places], n[places] = found.mean, found.df, draws.n
        covariance[np.ix_(places, places)] = found.covariance
        plain = sheet.values.var(axis=0, ddof=1) / draws.n
        gain[places] = np.divide(
            plain, found.variance, out=np.full(len(places), np.inf), where=found.variance > 0
        )
        gain[places[plain == 0]] = 1.0
        for j, place in enumerate(places):
            controls[place] = chosen.controls[j]
            reasons[place] = _suspicions(draws, sheet.values[:, j], chosen.rows[:, j])
    told = tuple(f"task {t}: {reason}" for t, found_ in enumerate(reasons) for reason in found_)
    return JointEstimate(
        value=value,
        standard_error=np.sqrt(np.maximum(np.diagonal(covariance), 0.0)),
        covariance=covariance,
        df=df,
        n=tuple(int(size) for size in n),
        variance_reduction=gain,
        control=tuple(controls),
        task_covariance=whole.task_covariance_.copy(),
        status="suspect" if told else "converged",
        reasons=told,
    )


def _labels(draws: Draws, folds: int, rng: np.random.Generator | None) -> IntArray:
    """Return the fold of each draw; a task of few draws is missing from some folds."""
    few = draws.n < 2 * folds and draws.chain is None
    labels = np.arange(draws.n) % folds if few else fold_labels(draws, folds)
    return labels if rng is None or draws.chain is not None else rng.permutation(labels)


def _fit(control: VectorSteinKernel, sheets: list[Sheet], used: list[Any]) -> VectorSteinKernel:
    """Fit on the draws of each sheet that are `used`."""
    x, y, s = {}, {}, {}
    for sheet, rows in zip(sheets, used, strict=True):
        assert sheet.draws.grad_logpdf is not None
        for j, place in enumerate(sheet.places):
            x[place], s[place] = sheet.draws.x[rows], sheet.draws.grad_logpdf[rows]
            y[place] = sheet.values[rows, j]
    order = range(len(x))
    fitted: VectorSteinKernel = clone(control)
    return fitted.fit([x[t] for t in order], [y[t] for t in order], [s[t] for t in order])


def _out_of_fold(
    control: VectorSteinKernel, sheets: list[Sheet], labels: list[IntArray], folds: int
) -> list[Corrected]:
    """Return values less prediction plus its expectation, from fits without the draw's fold."""
    rows = [np.empty_like(sheet.values) for sheet in sheets]
    means, name = [], ""
    for fold in range(folds):
        if not any((label == fold).any() for label in labels):
            continue
        fitted = _fit(control, sheets, [label != fold for label in labels])
        means.append(fitted.mean_)
        name = name or fitted.describe()
        for sheet, label, out in zip(sheets, labels, rows, strict=True):
            held_out = label == fold
            if not held_out.any():
                continue
            assert sheet.draws.grad_logpdf is not None
            x, s = sheet.draws.x[held_out], sheet.draws.grad_logpdf[held_out]
            for j, place in enumerate(sheet.places):
                known = fitted.mean_[place] - fitted.predict(place, x, s)
                out[held_out, j] = sheet.values[held_out, j] + known
    spread = _jackknife(np.array(means))
    return [
        Corrected(out, spread[list(sheet.places)], (name,) * out.shape[1], True)
        for sheet, out in zip(sheets, rows, strict=True)
    ]


def _jackknife(means: FloatArray) -> FloatArray:
    """Return the spread (m,) of expectations (folds, m) from fits without one fold each."""
    folds = len(means)
    squares = ((means - means.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(np.sqrt((folds - 1) / folds * squares))


def _no_less(found: Combined, spread: FloatArray) -> Combined:
    """Widen error bars to `spread` where they are less.

    A kernel that all but interpolates leaves next to nothing at the draws it was not fitted on,
    save far out, where there may be none: how its expectation moves when draws are left out shows
    what it does there.
    """
    missing = np.sqrt(np.maximum(spread**2 - found.variance, 0.0))
    return combine.with_mean_error(found, missing)


def _guard(
    control: VectorSteinKernel, sheet: Sheet, labels: IntArray, folds: int, joint: Corrected
) -> Corrected:
    """Take for each task what leaves least variance: joint, scalar, polynomial or no control."""
    draws, length = sheet.draws, 1
    if draws.chain is not None:
        length = correlation_length(sheet.values, draws.chain)

    def candidates() -> Iterator[Any]:
        # With few draws a fit on a task's own draws says nothing; that of others may.
        if draws.n >= 2 * folds:
            for candidate in stein_candidates(draws, folds):
                is_kernel = isinstance(candidate, SteinKernel)
                yield _scalar(candidate, sheet, labels) if is_kernel else candidate
            scalar = SteinKernel(
                control.kernel, control.order, control.polynomial_degree, ridge=control.ridge
            )
            yield _scalar(scalar, sheet, labels)
        yield joint

    return choose(candidates(), draws, sheet.values, labels, 1, length=length)


def _scalar(control: SteinKernel, sheet: Sheet, labels: IntArray) -> Corrected:
    """Cross-fit a scalar kernel, and say how its expectations spread over the folds."""
    fit = cross_fit(control, sheet.draws.x, sheet.values, labels, sheet.draws.grad_logpdf)
    first = np.unique(labels, return_index=True)[1]
    names = (fit.fitted[0].describe(),) * sheet.values.shape[1]
    return Corrected(fit.residual + fit.mean, _jackknife(fit.mean[first]), names, True)


def _suspicions(draws: Draws, values: FloatArray, row: FloatArray) -> tuple[str, ...]:
    reasons = heavy_tails(values) + one_row_rules(row)
    if draws.chain is not None:
        reasons += chains_disagree(row[:, np.newaxis], draws.chain)
    return tuple(reasons)
