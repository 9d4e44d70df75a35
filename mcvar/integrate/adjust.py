"""Values adjusted by a control: that of the user, or the best of several candidates."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.integrate.chains import correlation_length
from mcvar.integrate.crossfit import CrossFit, cross_fit, fold_labels, no_control
from mcvar.integrate.features import is_linear
from mcvar.integrate.select import choose, fitting_draws, stein_candidates, stein_polynomials
from mcvar.integrate.stein_identities import check_scores
from mcvar.integrate.values import Measure, weighted

_TESTED = 2**16  # draws, evenly spread, whose scores are tested

_LEAST_FITTED = 20  # draws from which "auto" fits a control

Criterion = Literal["variance", "asymptotic"]


def adjust(
    control: Any,
    draws: Draws,
    values: FloatArray,
    folds: int,
    criterion: Criterion,
    measure: Measure,
    candidates: Iterable[Any] = (),
) -> CrossFit:
    """Values adjusted by the control, or by the best of several: see `analyse`.

    `candidates` are what "auto" tries on draws without gradients.
    """
    automatic = isinstance(control, str)
    uses_scores = automatic and draws.grad_logpdf is not None and draws.n >= _LEAST_FITTED
    if automatic and not uses_scores:
        candidates = tuple(candidates)
        if not candidates and draws.zero_mean is None:
            return no_control(values, draws)
    elif not control:
        return no_control(values, draws)
    labels = fold_labels(draws, folds)
    length = 1
    if draws.chain is not None:
        length = correlation_length(weighted(values, draws)[:, : values.shape[1]], draws.chain)
    window = length if criterion == "asymptotic" else 1
    if uses_scores or any(getattr(each, "needs_score", False) for each in control):
        _check_gradients(draws)
    if automatic:
        # Along a chain, what explains single draws may still harm their mean: hence a choice.
        tried = stein_candidates(draws, folds) if uses_scores else iter((None, *candidates))
        if uses_scores or candidates or draws.chain is not None:
            return choose(tried, draws, values, labels, measure, window, length=length)
        return cross_fit(None, draws, values, labels, measure)
    bound = [one for each in control for one in _bound(each, draws, folds)]
    if len(bound) == 1:
        return cross_fit(bound[0], draws, values, labels, measure, window=window)
    return choose(bound, draws, values, labels, measure, window, length=length)


def _bound(control: Any, draws: Draws, folds: int) -> list[Any]:
    """The control scaled to the draws; several, where its degree is to be chosen."""
    if str(getattr(control, "degree", None)) == "auto":
        most = draws.n * max(folds - 1, 1) // max(folds, 2)
        return list(stein_polynomials(control, draws, folds, most))
    bound = control.for_draws(draws.x) if is_linear(control) else control
    if getattr(bound, "penalty", None) is None:  # a penalty copes with few draws
        k, fitting = getattr(bound, "n_features", 0), fitting_draws(draws.n, folds)
        if k >= fitting - 1:
            raise ValueError(
                f"{bound.describe()} has {k} features, and only {fitting} draws to fit them on; "
                "lower the degree, draw more, or use penalty='ridge' or 'lasso'."
            )
    return [bound]


def _check_gradients(draws: Draws) -> None:
    if draws.grad_logpdf is None:
        raise ValueError(
            "this control needs the score ∇ log π at the draws; pass "
            "mcvar.Draws(x, grad_logpdf=...)."
        )
    from mcvar.control.standardise import Coordinates  # scikit-learn: only where it is needed

    tested = draws
    if draws.n > _TESTED:
        tested = draws.take(np.linspace(0, draws.n - 1, _TESTED).astype(np.int64))
    # Draws that do not vary, or depend on one another, are reported before their scores are.
    Coordinates.of(tested.x, tested.weights, "cholesky")
    check_scores(tested)
