"""Choosing among controls for draws that exist, on folds that the choice does not serve.

Every candidate is cross-fitted for all values at once. For each fold and each value the candidate
is taken whose residuals vary least in the *other* folds, so that no draw has a say in the choice
of the control that corrects it.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._typing import FloatArray, IntArray
from mcvar.draws import Draws
from mcvar.integrate.correct import Corrected, correct
from mcvar.integrate.design import linearised

if TYPE_CHECKING:
    from mcvar.control import SteinPolynomial

_WORTHWHILE = 0.95  # variance relative to no control below which a control is taken
_ROUNDING = 1e-24  # variance relative to no control that is nothing but rounding
_LEAST_SQUARES = 5  # draws a feature below which a ridge takes over
_MOST_RIDGE_FEATURES = 1500
_MOST_WORK = 4e11  # multiplications n k² beyond which a degree is not tried
_MOST_KERNEL_DRAWS = 20_000
_LEAST_KERNEL_DRAWS = 40


def stein_candidates(draws: Draws, folds: int) -> Iterator[Any]:
    """Yield controls worth trying on draws with scores, from simple to rich."""
    from mcvar.control import SteinKernel, SteinPolynomial, kernels

    n, d = draws.x.shape
    fitting = n if folds == 1 else n * (folds - 1) // folds
    most = min(_MOST_RIDGE_FEATURES, int(np.sqrt(_MOST_WORK / n)))
    polynomials = polynomials_of(SteinPolynomial(), draws, folds, most)[:3]
    yield from polynomials
    if _LEAST_KERNEL_DRAWS <= n <= _MOST_KERNEL_DRAWS and fitting > 2 * (d + 1):
        # Of the kernels the one that copes best with tails, and loses little elsewhere.
        yield SteinKernel(kernels.InverseMultiquadric(), polynomial_degree=1)


def polynomials_of(
    control: "SteinPolynomial", draws: Draws, folds: int, most_features: int
) -> "list[SteinPolynomial]":
    """Return degrees 1, 2, ... of `control`; with a ridge where draws are few for the features."""
    n, d = draws.x.shape
    fitting = n if folds == 1 else n * (folds - 1) // folds
    made = []
    for candidate in control.of_degrees(d, most_features):
        bound = candidate.for_draws(draws.x)
        if bound.penalty is None and bound.n_features * _LEAST_SQUARES > fitting:
            bound = candidate.set_params(penalty="ridge").for_draws(draws.x)
        made.append(bound)
    return made


def choose(
    candidates: Iterator[Any],
    draws: Draws,
    values: FloatArray,
    labels: IntArray,
    window: int,
    *,
    length: int,
) -> Corrected:
    """Correct every value by the candidate that does best on the folds it does not serve.

    Parameters
    ----------
    candidates : iterable of controls
        Or of what one has left of the values already, as `Corrected`.
    draws, values, labels, window
        As in `correct`.
    length : int
        Consecutive draws of a chain whose sums are compared: its correlation length.
    """
    plain = correct(None, draws, values, labels, own=False)
    m = values.shape[1]
    folds, fold_of, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    elsewhere = draws.n - sizes if len(folds) > 1 else sizes
    best_rows = plain.rows.copy()
    best = _WORTHWHILE * _spread_elsewhere(plain.rows, draws, fold_of, length)
    exact = _ROUNDING * best
    names = np.full((len(folds), m), "none", dtype=object)
    mean_error, by_scores = np.zeros(m), False
    for control in candidates:
        if (best <= exact).all():
            break
        done = isinstance(control, Corrected)
        tried = control if done else correct(control, draws, values, labels, window)
        by_scores |= tried.by_scores
        spread = _spread_elsewhere(tried.rows, draws, fold_of, length)
        # As sums of squares of rows that would make the error of the expectation.
        spread = np.maximum(spread, np.outer(elsewhere, draws.n * tried.mean_error**2))
        better = (spread < best) & (best > exact)
        best = np.where(better, spread, best)
        for j in range(m):
            served = better[:, j][fold_of]
            best_rows[served, j] = tried.rows[served, j]
            names[better[:, j], j] = tried.controls[j]
            if better[:, j].any():
                mean_error[j] = max(mean_error[j], tried.mean_error[j])
    controls = tuple(str(Counter(column).most_common(1)[0][0]) for column in names.T)
    return Corrected(best_rows, mean_error, controls, by_scores)


def _spread_elsewhere(rows: FloatArray, draws: Draws, fold_of: IntArray, length: int) -> FloatArray:
    """Variance of sums over `length` draws in all folds but each, shape (folds, m)."""
    centred = linearised(rows, draws)[0]
    centred = centred - centred.mean(axis=0)
    folds = int(fold_of.max()) + 1
    squares = np.empty((folds, centred.shape[1]))
    for fold in range(folds):
        inside = np.flatnonzero(fold_of == fold)
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
        squares[fold] = np.einsum("ij,ij->j", part, part)
    total = squares.sum(axis=0)
    return total - squares if folds > 1 else squares
