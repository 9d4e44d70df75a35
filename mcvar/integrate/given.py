"""Estimates from draws that already exist: data, MCMC output, simulator logs."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mcvar._checks import as_count, as_finite_array, check_magnitude, known_name
from mcvar._typing import FloatArray
from mcvar.control.standardise import Coordinates
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.integrate.chains import chains_disagree, correlation_length
from mcvar.integrate.choice import choose, polynomials_of, stein_candidates
from mcvar.integrate.combine import Combined
from mcvar.integrate.correct import Corrected, LawOfDraws, correct
from mcvar.integrate.crossfit import check_regressor
from mcvar.integrate.design import allow_for_extremes, by_design, weighted
from mcvar.integrate.diagnose import heavy_tails, one_row_rules, reasons_to_suspect
from mcvar.integrate.features import ZeroMeanFeatures, is_linear
from mcvar.integrate.folding import fold_labels
from mcvar.integrate.integrand import Integrand
from mcvar.integrate.moment_tally import MomentTally
from mcvar.integrate.repeats import merge_repeats
from mcvar.integrate.score import check_scores
from mcvar.result import Estimate, Look

_ROUNDING = 4 * np.finfo(float).eps
_TESTED = 2**16  # draws, evenly spread, whose scores are tested

Criterion = Literal["variance", "asymptotic"]


@dataclass(frozen=True)
class Analysis:
    """Means of ``values (n, m)`` with and without a control.

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
    """

    combined: Combined
    plain: Combined
    independent_variance: FloatArray
    controls: tuple[str, ...]
    reasons: tuple[tuple[str, ...], ...]
    ess: float


def analyse(
    values: FloatArray,
    draws: Draws,
    control: Any,
    folds: int,
    criterion: Criterion = "variance",
    *,
    covariance: bool = False,
) -> Analysis:
    """Estimate the means of ``values (n, m)`` over `draws`: what `estimate` and `summary` share.

    Error bars follow the labels of the draws: spread over independent draws, within strata,
    over replicates, or by the autocovariances of chains.
    """
    if draws.n < 2:
        raise ValueError("1 draw is too few for an error bar; expected at least 2.")
    known_name("criterion", criterion, ("variance", "asymptotic"))
    folds = as_count("folds", folds)
    check_magnitude("values", values)
    if draws.weights is not None and draws.self_normalized:
        # Any scale will do for them, and this one neither overflows nor vanishes.
        draws = replace(draws, weights=draws.weights / draws.weights.max())
    values, draws = merge_repeats(values, draws)
    pivot: FloatArray | float = 0.0
    if draws.weights is not None and draws.self_normalized:
        # Ratios of weighted means about a value near the mean keep the digits it would cost.
        pivot = draws.weights @ values / draws.weights.sum()
    corrected = _corrected(control, draws, values - pivot, folds, criterion)
    combined = by_design(corrected.rows, draws, covariance)
    combined = combine.with_mean_error(combined, corrected.mean_error)
    if corrected.by_scores:
        combined = allow_for_extremes(combined, corrected.rows, draws)
        # No sum of floating-point numbers is exact, however well a control fits.
        combined = combine.with_mean_error(combined, _ROUNDING * np.abs(values).max(axis=0))
    combined = replace(combined, mean=combined.mean + pivot)
    plain = by_design(weighted(values - pivot, draws), draws)
    plain = replace(plain, mean=plain.mean + pivot)
    tally = _tally(draws, values)
    return Analysis(
        combined,
        plain,
        tally.plain_variance(),
        corrected.controls,
        tuple(
            _suspicions(draws, values[:, j : j + 1], corrected, j) for j in range(values.shape[1])
        ),
        tally.ess,
    )


def estimate_given(
    integrand: Any,
    draws: Draws,
    control: Any,
    folds: int,
    criterion: Criterion,
    *,
    covariance: bool,
    vectorized: bool | None,
) -> Estimate:
    """Estimate an expectation from `draws`: see `estimate`."""
    values, returns_scalar = _values(integrand, draws, vectorized)
    found = analyse(values, draws, control, folds, criterion, covariance=covariance)
    error = np.sqrt(found.combined.variance)
    plain = found.independent_variance
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = plain / found.combined.variance
        ess = found.ess
        if draws.chain is not None:
            independent = plain * draws.n / found.plain.variance
            ess = float(np.min(np.where(plain > 0, independent, draws.n)))
    gain = np.where(np.isnan(gain), 1.0, gain)

    df = found.combined.df
    if returns_scalar and np.ndim(df):
        df = float(df[0])

    def shaped(array: FloatArray) -> Any:
        return float(array[0]) if returns_scalar else array

    reasons = _together(found.reasons)
    return Estimate(
        value=shaped(found.combined.mean),
        standard_error=shaped(error),
        n=draws.n,
        df=df,
        ess=ess,
        variance_reduction=shaped(gain),
        status="suspect" if reasons else "converged",
        reasons=reasons,
        control=_describe(found.controls, folds),
        covariance=found.combined.covariance if covariance else None,
        history=(Look(draws.n, found.combined.mean, error, found.combined.df),),
    )


def _corrected(
    control: Any, draws: Draws, values: FloatArray, folds: int, criterion: Criterion
) -> Corrected:
    """Read what the user passes as a control, and correct the values by it."""
    automatic = isinstance(control, str)
    if control is not None and not (automatic and control == "auto") and not is_linear(control):
        check_regressor(control)
    uses_scores = automatic and draws.grad_logpdf is not None
    if control is None or (automatic and not uses_scores and draws.zero_mean is None):
        return correct(None, draws, values, np.zeros(draws.n, dtype=np.int64), own=False)
    labels = fold_labels(draws, folds)
    length = 1
    if draws.chain is not None:
        length = correlation_length(weighted(values, draws)[:, : values.shape[1]], draws.chain)
    window = length if criterion == "asymptotic" else 1
    if automatic and not uses_scores and draws.chain is None:
        return correct(None, draws, values, labels)
    if (automatic and uses_scores) or getattr(control, "needs_score", False):
        _check_has_scores(draws)
        tested = draws
        if draws.n > _TESTED:
            tested = draws.take(np.linspace(0, draws.n - 1, _TESTED).astype(np.int64))
        # Draws that do not vary, or depend on one another, are told before their scores are.
        Coordinates.of(tested.x, tested.weights, "cholesky")
        check_scores(tested)
    if automatic:
        # Along a chain, what explains single draws may still harm their mean: hence a choice.
        candidates = stein_candidates(draws, folds) if uses_scores else iter([None])
    elif str(getattr(control, "degree", None)) == "auto":
        candidates = iter(polynomials_of(control, draws, folds, _most_features(draws, folds)))
    else:
        bound = control.for_draws(draws.x) if is_linear(control) else control
        _check_enough(bound, draws, folds)
        return correct(bound, draws, values, labels, window)
    return choose(candidates, draws, values, labels, window, length=length)


def _check_has_scores(draws: Draws) -> None:
    if draws.grad_logpdf is None:
        raise ValueError(
            "this control needs the score ∇ log π at the draws; pass "
            "mcvar.Draws(x, grad_logpdf=...)."
        )


def _most_features(draws: Draws, folds: int) -> int:
    return draws.n * max(folds - 1, 1) // max(folds, 2)


def _check_enough(control: Any, draws: Draws, folds: int) -> None:
    """Refuse least squares on fewer draws than features; a penalty copes."""
    if getattr(control, "penalty", None) is not None:
        return
    fitting = draws.n if folds == 1 else draws.n * (folds - 1) // folds
    k = getattr(control, "n_features", 0)
    if k >= fitting - 1:
        raise ValueError(
            f"{control.describe()} has {k} features, and only {fitting} draws to fit them on; "
            "lower the degree, draw more, or use penalty='ridge' or 'lasso'."
        )


def _tally(draws: Draws, values: FloatArray) -> MomentTally:
    law = LawOfDraws(draws)
    tally = MomentTally(
        ZeroMeanFeatures(None, law, own=False),
        law,
        replicated=False,
        unit=1,
        folds=1,
        covariance=False,
    )
    tally.add(0, draws, values)
    return tally


def _suspicions(
    draws: Draws, value: FloatArray, corrected: Corrected, component: int
) -> tuple[str, ...]:
    """Return what makes the error bar of one value (n, 1) suspect."""
    reasons = reasons_to_suspect(_tally(draws, value), weights_matter=True)
    reasons += heavy_tails(weighted(value, draws)[:, 0])
    row = corrected.rows[:, component]
    if corrected.by_scores:
        reasons += one_row_rules(row)
    if draws.chain is not None:
        reasons += chains_disagree(row[:, np.newaxis], draws.chain)
    return tuple(reasons)


def _together(reasons: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Return each reason once, naming the components it holds for where there are several."""
    found: dict[str, list[int]] = {}
    for j, of_component in enumerate(reasons):
        for reason in of_component:
            found.setdefault(reason, []).append(j)
    if len(reasons) == 1:
        return tuple(found)
    return tuple(
        f"{'component' if len(where) == 1 else 'components'} "
        f"{', '.join(map(str, where[:5]))}{', ...' if len(where) > 5 else ''}: {reason}"
        for reason, where in found.items()
    )


def _describe(controls: tuple[str, ...], folds: int) -> str:
    """Name the control, or how many components each of several served."""
    counts = Counter(controls)
    if len(counts) == 1:
        text = controls[0]
    else:
        text = "; ".join(f"{name} for {count}" for name, count in counts.most_common())
    fitted = folds == 1 and text != "none"
    return f"{text}, fitted on the draws it corrects (folds=1)" if fitted else text


def _values(integrand: Any, draws: Draws, vectorized: bool | None) -> tuple[FloatArray, bool]:
    if callable(integrand):
        function = Integrand(integrand, vectorized, 0)
        return function(draws, "the given draws"), function.returns_scalar
    values = as_finite_array("values", integrand)
    if values.ndim not in (1, 2) or len(values) != draws.n or 0 in values.shape:
        raise ValueError(
            f"values have shape {values.shape} for {draws.n} draws; "
            f"expected ({draws.n},) or ({draws.n}, m)."
        )
    return values.reshape(draws.n, -1), values.ndim == 1
