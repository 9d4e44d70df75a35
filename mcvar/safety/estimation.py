"""From weighted scenarios to a crash rate: cross-fitted controls, chosen where they help."""

from dataclasses import dataclass, replace

import numpy as np

from mcvar._checks import as_number, known_name
from mcvar._pareto import pareto_tail_index
from mcvar._typing import FloatArray
from mcvar.integrate import combine
from mcvar.moments import Moments
from mcvar.safety.controls import (
    CONTROLS,
    Columns,
    InitialCriticality,
    columns,
    no_columns,
    stratum_labels,
)
from mcvar.safety.flags import few_crashes, flags_of
from mcvar.safety.interval import relative_skewness
from mcvar.safety.rate import CrashRate, Stratum
from mcvar.safety.weights import WeightedScenarios

FOLDS = 5
_LEAST = 2 * FOLDS  # scenarios below which nothing is cross-fitted
# What `auto` tries, from what promises most to what promises least.
_CANDIDATES = ("value", "ordinal", "stratified", "global")
_WORTH = 0.98  # share of the raw variance at which a control is worth its coefficients


@dataclass(frozen=True, eq=False)
class _Fit:
    """Responses less controls, row by row, and what their mean is uncertain by."""

    name: str
    residual: FloatArray
    upper: FloatArray
    extra_variance: float
    largest: float

    @property
    def variance(self) -> float:
        """Variance of the mean, no less than rounding leaves of it."""
        n = len(self.residual)
        rounding = np.finfo(float).eps * self.largest
        return float(max(self.residual.var(ddof=1) / n + self.extra_variance, rounding**2))


def estimate_rate(
    sample: WeightedScenarios,
    control: str = "auto",
    *,
    confidence: float = 0.90,
    initial: InitialCriticality | None = None,
    strata: str = "first",
    spent: int = 0,
) -> CrashRate:
    """Estimate the crash rate from weighted scenarios.

    Parameters
    ----------
    sample : WeightedScenarios
    control : {"none", "global", "stratified", "ordinal", "value", "auto"}
        "auto" chooses for each fold on the other folds. Where a control would leave more than the
        raw variance, none is used, and the answer's `control` says so.
    confidence : float
        Level of the relative half-width.
    initial : InitialCriticality, optional
        V_j at the first state, from free draws; adds initial-state controls to "value".
    strata : {"first", "critical steps"}
        Of the control "stratified": by what the first state says, or (as the papers have it, and
        biased, which a flag says) by the number of critical steps.
    spent : int
        Scenarios spent on adapting the proposal, for the count.

    Returns
    -------
    CrashRate
    """
    known_name("control", control, (*CONTROLS, "auto"))
    known_name("strata", strata, ("first", "critical steps"))
    if not 0 < as_number("confidence", confidence) < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence!r}.")
    if sample.n < 2:
        raise ValueError(f"{sample.n} scenario(s) in the log; an estimate needs at least 2.")
    raw = _Fit("none", sample.response, sample.upper_response, 0.0, sample.response.max())
    crude = len(sample.shares) == 1
    fit = raw
    if not crude and sample.n >= _LEAST and sample.crash.any():
        if control == "auto":
            fit = _auto(sample, raw, initial)
        elif strata == "critical steps" and control == "stratified":
            fit = _naive_strata(sample)
        elif control != "none":
            fit = _fit(control, sample, columns(control, sample, initial, strata))
            if fit.variance > raw.variance:
                fit = replace(raw, name=f"none ({control} was worse)")
    value = float(fit.residual.mean())
    variance = fit.variance
    explained = 0.0
    if not crude and sample.n >= _LEAST and raw.variance > 0:
        by_value = _fit("value", sample, columns("value", sample, initial))
        explained = max(1 - by_value.variance / raw.variance, 0.0)
    weights = sample.weight[sample.crash]
    total, squares = weights.sum(), float(weights @ weights)
    n = sample.n
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = float(np.divide(raw.variance, variance)) if raw.variance > 0 else 1.0
        equivalent = float(np.divide(value * (1 - value), variance))
    rate = CrashRate(
        value=value,
        standard_error=float(np.sqrt(variance)),
        scenarios=n + spent,
        used=n,
        crashes=int(sample.crash.sum()),
        failures=int(sample.unknown.sum()),
        confidence=confidence,
        variance_reduction=gain,
        naturalistic_equivalent=float(n) if crude else equivalent,
        control=fit.name,
        strata=strata_table(sample, strata),
        largest_share=float(weights.max() / total) if total > 0 else np.nan,
        ess=float(total**2 / squares) if squares > 0 else 0.0,
        pareto_k=_crash_tail(sample),
        crude=crude,
        greatest_weight=1 / sample.shares[0] if sample.shares[0] > 0 else np.inf,
        dominance=float(weights.max() ** 2 / squares) if squares > 0 else np.nan,
        explained=explained,
        skewness=relative_skewness(fit.residual),
        upper_value=float(fit.upper.mean()),
        upper_standard_error=float(np.sqrt(fit.upper.var(ddof=1) / n + fit.extra_variance)),
        upper_skewness=relative_skewness(fit.upper),
    )
    return replace(rate, flags=flags_of(sample, rate))


def crude_rate(crashes: int, n: int, confidence: float = 0.90) -> CrashRate:
    """Return the rate of `crashes` in `n` naturalistic scenarios.

    Examples
    --------
    >>> rate = crude_rate(5, 1_000_000)
    >>> rate.value, rate.flags[0][:11]
    (5e-06, 'few-crashes')
    """
    p = crashes / n
    rate = CrashRate(
        value=p,
        standard_error=float(np.sqrt(p * (1 - p) / max(n - 1, 1))),
        scenarios=n,
        used=n,
        crashes=crashes,
        confidence=confidence,
        naturalistic_equivalent=float(n),
        crude=True,
    )
    return replace(rate, flags=few_crashes(rate))


def _crash_tail(sample: WeightedScenarios) -> float:
    weights = sample.weight[sample.crash]
    return pareto_tail_index(weights, len(weights)) if len(weights) > 1 else np.nan


def _parts(sample: WeightedScenarios, z: FloatArray) -> list[Moments]:
    """Moments of every fifth scenario, from the first on, from the second on, ..."""
    y = sample.response[:, np.newaxis]
    return [
        Moments.of(np.ascontiguousarray(y[f::FOLDS]), np.ascontiguousarray(z[f::FOLDS]))
        for f in range(FOLDS)
    ]


def _fit(name: str, sample: WeightedScenarios, found: Columns) -> _Fit:
    """Subtract control `name`, each fold with coefficients from the others."""
    beta = combine.coefficients(_parts(sample, found.z), found.solve)
    return _subtract(name, sample, [found] * FOLDS, beta)


def _subtract(
    name: str, sample: WeightedScenarios, found: list[Columns], beta: list[FloatArray]
) -> _Fit:
    explained, extra = np.zeros(sample.n), 0.0
    for f in range(FOLDS):
        rows = slice(f, None, FOLDS)
        explained[rows] = np.ascontiguousarray(found[f].z[rows]) @ beta[f][:, 0]
        # The stated means are common to all folds, and so is their error.
        extra += float(np.sqrt(beta[f][:, 0] @ found[f].mean_covariance @ beta[f][:, 0])) / FOLDS
    return _Fit(
        name,
        sample.response - explained,
        sample.upper_response - explained,
        extra**2,
        sample.response.max(),
    )


def _auto(sample: WeightedScenarios, raw: _Fit, initial: InitialCriticality | None) -> _Fit:
    """Choose a control for each fold by its cross-fitted variance over the other folds."""
    none = no_columns(sample.n)
    plain = _parts(sample, none.z)
    # Columns of one control at a time are kept: with millions of scenarios they are large.
    parts, solvers = {"none": plain}, {"none": none}
    for name in _CANDIDATES:
        own = columns(name, sample, initial)
        if own.z.shape[1] > 0:
            parts[name], solvers[name] = _parts(sample, own.z), own._replace(z=none.z)
    chosen: list[str] = []
    for f in range(FOLDS):
        best, least = "none", _WORTH * _others_variance(plain, f, none)
        for name in list(parts)[1:]:
            variance = _others_variance(parts[name], f, solvers[name])
            if variance < least:
                best, least = name, variance
        chosen.append(best)
    used = {"none": none} | {
        name: columns(name, sample, initial) for name in set(chosen) - {"none"}
    }
    found = [used[name] for name in chosen]
    beta = [
        combine.coefficients(parts[name], solvers[name].solve)[f] for f, name in enumerate(chosen)
    ]
    name = ", ".join(sorted(set(chosen), key=chosen.index))
    fit = _subtract(name, sample, found, beta)
    return fit if fit.variance <= raw.variance else raw


def _others_variance(parts: list[Moments], fold: int, found: Columns) -> float:
    others = [part for f, part in enumerate(parts) if f != fold]
    return float(combine.independent(others, found.solve).variance[0])


def _naive_strata(sample: WeightedScenarios) -> _Fit:
    """Regress per number of critical steps, as if ratios had mean zero in each: they have not."""
    found = columns("stratified", sample, None, "critical steps")
    return replace(_fit("stratified", sample, found), name="stratified by critical steps (biased)")


def strata_table(sample: WeightedScenarios, strata: str) -> tuple[Stratum, ...]:
    """Scenarios, crashes and contributions by number of critical steps, or by first state."""
    if strata == "critical steps" or len(sample.shares) == 1:
        label = stratum_labels(sample, "critical steps")
        names = {h: f"{h} critical steps" for h in np.unique(label)}
    else:
        label = stratum_labels(sample, "first")
        first = sample.criticality.max(axis=1, initial=0.0)
        names = {
            h: f"first criticality {first[label == h].min():.3g} to {first[label == h].max():.3g}"
            for h in np.unique(label)
        }
    return tuple(
        Stratum(
            names[h],
            int((label == h).sum()),
            int(sample.crash[label == h].sum()),
            float(sample.weight[label == h].mean()),
            float(sample.response[label == h].sum() / sample.n),
        )
        for h in np.unique(label)
    )
