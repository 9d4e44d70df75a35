"""Candidates for a control, and the choice among them on folds that the choice does not serve.

Every candidate is cross-fitted for all values at once. For each fold and each value the candidate
is taken whose residuals vary least in the *other* folds, so that no draw has a say in the choice
of the control that corrects it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._typing import FloatArray, IntArray
from mcvar.draws import Draws
from mcvar.integrate.crossfit import CrossFit, MixedModel, cross_fit, no_control
from mcvar.integrate.features import check_regressor, is_linear
from mcvar.integrate.means import group_sums, linear_rows
from mcvar.integrate.values import Measure
from mcvar.targets import Target
from mcvar.targets.basis import n_total_degree

if TYPE_CHECKING:
    from mcvar.control import Polynomial, SteinPolynomial

_WORTHWHILE = 0.95  # variance relative to no control below which a control is taken
_WORTHWHILE_REPLICATES = 0.5  # the same, from the spread of a few replicates
_ROUNDING = 1e-24  # variance relative to no control that is nothing but rounding
_DEGREES = (1, 2, 3, 4)
_DRAWS_PER_FEATURE = 8  # for a polynomial to be a candidate
_LEAST_SQUARES = 5  # draws a feature below which a ridge takes over
_MOST_RIDGE_FEATURES = 1500
_MOST_WORK = 4e11  # multiplications n k² beyond which a degree is not tried
_MOST_KERNEL_DRAWS = 20_000
_LEAST_KERNEL_DRAWS = 40
_ENOUGH = 2**14  # independent draws on which candidates are compared


def read_controls(control: Any, target: Target | None) -> Any:
    """ "auto", or a tuple of candidates in the target's terms; the empty one is no control."""
    if control is None:
        return ()
    if isinstance(control, str) and control == "auto":
        return control
    several = isinstance(control, list | tuple)
    if several and not control:
        raise ValueError("control is an empty list; give None for no control.")
    candidates = control if several else (control,)
    return tuple(bound(each, target) for each in candidates if each is not None)


def bound(control: Any, target: Target | None) -> Any:
    """A control in the target's terms; TypeError for anything that is none."""
    if is_linear(control):
        return control if target is None else control.for_target(target)
    check_regressor(control)
    if target is None:
        return control
    if hasattr(control, "for_target"):
        control = control.for_target(target)
    if not target.weights_average_one:
        raise TypeError(
            "a regressor's mean_ is an expectation, but a box with an infinite side is not a law; "
            "use KnownMean, or a distribution as the target."
        )
    return control


def fitting_draws(n: int, folds: int) -> int:
    """Number of draws that a control is fitted on."""
    return n if folds == 1 else n * (folds - 1) // folds


def polynomials(target: Target, n: int, folds: int) -> "list[Polynomial]":
    """Polynomial controls of a target that n independent draws can bear."""
    from mcvar.control import Polynomial

    made = []
    for degree in _DEGREES:
        if n_total_degree(target.ndim, degree) * _DRAWS_PER_FEATURE > fitting_draws(n, folds):
            break
        made.append(Polynomial(degree).for_target(target))
    return made


def stein_candidates(draws: Draws, folds: int) -> Iterator[Any]:
    """Controls worth trying on draws with gradients, from simple to rich."""
    from mcvar.control import SteinKernel, SteinPolynomial, kernels

    n, d = draws.x.shape
    most = min(_MOST_RIDGE_FEATURES, int(np.sqrt(_MOST_WORK / n)))
    yield from stein_polynomials(SteinPolynomial(), draws, folds, most)[:3]
    enough = fitting_draws(n, folds) > 2 * (d + 1)
    if _LEAST_KERNEL_DRAWS <= n <= _MOST_KERNEL_DRAWS and enough:
        # Of the kernels the one that copes best with tails, and loses little elsewhere.
        yield SteinKernel(kernels.InverseMultiquadric(), polynomial_degree=1)


def stein_polynomials(
    control: "SteinPolynomial", draws: Draws, folds: int, most_features: int
) -> "list[SteinPolynomial]":
    """Degrees 1, 2, ... of `control`; with a ridge where draws are few for the features."""
    n, d = draws.x.shape
    made = []
    for candidate in control.of_degrees(d, most_features):
        bound = candidate.for_draws(draws.x)
        if bound.penalty is None and bound.n_features * _LEAST_SQUARES > fitting_draws(n, folds):
            bound = candidate.set_params(penalty="ridge").for_draws(draws.x)
        made.append(bound)
    return made


def choose(
    candidates: Iterable[Any],
    draws: Draws,
    values: FloatArray,
    labels: IntArray,
    measure: Measure,
    window: int = 1,
    *,
    length: int = 1,
) -> CrossFit:
    """Adjust every value by the candidate that does best on the folds it does not serve.

    Parameters
    ----------
    candidates : iterable of controls
        Or of a `CrossFit` by one.
    draws, values, labels, measure, window
        As in `cross_fit`.
    length : int
        Consecutive draws of a chain whose sums are compared: its correlation length.
    """
    folds, m = int(labels.max()) + 1, values.shape[1]
    at = _compared(draws)
    few, few_values, few_labels = draws.take(at), values[at], labels[at]
    plain = no_control(few_values, few, folds)
    sizes = np.bincount(few_labels, minlength=folds)
    elsewhere = few.n - sizes if folds > 1 else sizes
    worthwhile = _WORTHWHILE if draws.replicate is None else _WORTHWHILE_REPLICATES
    best = worthwhile * _spread_elsewhere(plain.rows, few, few_labels, length)
    exact = _ROUNDING * best
    tried: list[tuple[Any, CrossFit]] = [((), plain)]
    chosen = np.zeros((folds, m), dtype=np.int64)
    uses_scores = False
    for control in candidates:
        if (best <= exact).all():
            break
        fit = (
            control
            if isinstance(control, CrossFit)
            else cross_fit(control, few, few_values, few_labels, measure, window=window)
        )
        uses_scores |= fit.uses_scores
        if measure.self_normalized and few.weights is not None:
            fit = _with_plain_weights(fit, few.weights)
        spread = _spread_elsewhere(fit.rows, few, few_labels, length)
        # As sums of squares of rows that would make the error of the expectation.
        error = np.hypot(fit.mean_error, fit.jackknife)
        spread = np.maximum(spread, np.outer(elsewhere, few.n * error**2))
        better = (spread < best) & (best > exact)
        best = np.where(better, spread, best)
        chosen[better] = len(tried)
        tried.append((control, fit))
    if few.n == draws.n:
        fits = [fit for _, fit in tried]
    else:
        fits = [no_control(values, draws, folds)] * len(tried)
        for i in np.unique(chosen[chosen > 0]):
            fits[i] = cross_fit(tried[i][0], draws, values, labels, measure, window=window)
            if measure.self_normalized and draws.weights is not None:
                fits[i] = _with_plain_weights(fits[i], draws.weights)
    return replace(_mixed(fits, chosen, labels), uses_scores=uses_scores)


def _with_plain_weights(fit: CrossFit, weights: FloatArray) -> CrossFit:
    """The same ratios from rows whose last column is the weights themselves.

    A control adjusts the weights too; values with different controls then share one column.
    """
    own = fit.rows[:, -1:]
    ratio = fit.rows[:, :-1].mean(axis=0) / own.mean()
    plain = weights[:, np.newaxis]
    return replace(fit, rows=np.hstack([fit.rows[:, :-1] - ratio * (own - plain), plain]))


def _compared(draws: Draws) -> IntArray:
    """Draws on which candidates are compared: all, or enough of many independent ones."""
    labelled = (draws.chain, draws.strata, draws.replicate, draws.cluster)
    if draws.n <= _ENOUGH or any(labels is not None for labels in labelled):
        return np.arange(draws.n)
    return np.linspace(0, draws.n - 1, _ENOUGH).astype(np.int64)


def _mixed(fits: list[CrossFit], chosen: IntArray, labels: IntArray) -> CrossFit:
    """For each fold and each value the fit of its chosen number, `chosen` (folds, m)."""
    folds, m = chosen.shape
    rows = np.array(fits[0].rows)
    for j in range(m):
        for i in np.unique(chosen[:, j]):
            served = (chosen[:, j] == i)[labels]
            rows[served, j] = fits[i].rows[served, j]
    used = [np.unique(column) for column in chosen.T]
    most = [Counter(column.tolist()).most_common(1)[0][0] for column in chosen.T]
    return CrossFit(
        rows,
        tuple(
            MixedModel(tuple(fit.models[fold] for fit in fits), chosen[fold])
            for fold in range(folds)
            if all(fit.models for fit in fits)
        ),
        tuple(fits[i].names[j] for j, i in enumerate(most)),
        np.array([max(fits[i].mean_error[j] for i in used[j]) for j in range(m)]),
        np.array([max(fits[i].jackknife[j] for i in used[j]) for j in range(m)]),
        folds,
    )


def _spread_elsewhere(rows: FloatArray, draws: Draws, labels: IntArray, length: int) -> FloatArray:
    """Sums of squares of independent sums of rows in all folds but each, shape (folds, m)."""
    centred = linear_rows(rows, draws)[0]
    centred = centred - centred.mean(axis=0)
    folds = int(labels.max()) + 1
    squares = np.empty((folds, centred.shape[1]))
    for fold in range(folds):
        inside = np.flatnonzero(labels == fold)
        part = centred[inside]
        if length > 1 and draws.chain is not None:
            # Batches do not cross from one chain to the next.
            within = draws.chain[inside]
            starts = np.flatnonzero(np.append(True, within[1:] != within[:-1]))
            ends = np.append(starts[1:], len(part))
            edges = np.concatenate(
                [np.arange(a, b, length) for a, b in zip(starts, ends, strict=True)]
            )
            part = np.add.reduceat(part, edges, axis=0)
        group = draws.replicate if draws.cluster is None else draws.cluster
        if group is not None:
            part = group_sums(part, group[inside])
        squares[fold] = np.einsum("ij,ij->j", part, part)
    total = squares.sum(axis=0)
    return total - squares if folds > 1 else squares
