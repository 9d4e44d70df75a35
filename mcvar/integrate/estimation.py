"""estimate(): draw, fit a control on some of the draws, average what it leaves on the others."""

from typing import Any

import numpy as np

from mcvar._checks import as_count, root_entropy
from mcvar._typing import FloatArray, Seed
from mcvar.draws import Draws
from mcvar.integrate.combine import Combined
from mcvar.integrate.diagnose import (
    check_control_means,
    disagreement,
    reasons_to_suspect,
)
from mcvar.integrate.features import ZeroMeanFeatures, is_linear
from mcvar.integrate.given import Criterion, estimate_given
from mcvar.integrate.integrand import Integrand
from mcvar.integrate.run import Run, progress_bar
from mcvar.integrate.selection import Pilot, check_enough, describe, read_control, train_control
from mcvar.integrate.tally import MomentTally, StoredTally, Tally
from mcvar.integrate.tolerance import DEFAULT_MAX_N, DEFAULT_N, Tolerance, schedule
from mcvar.result import Estimate, Look, Status
from mcvar.samplers import Sampler, as_sampler, stream_seed
from mcvar.targets import Target, as_target

_TRAINING_WITH_TOLERANCE = 2**14  # evaluations that training may reckon with, if n is open
_TRAINING, _PILOT = 1, 2  # places among a run's streams; 0 is the estimate's own


def estimate(
    integrand: Any,
    target: Any,
    *,
    n: int | None = None,
    rtol: Any = None,
    atol: Any = None,
    max_n: int | None = None,
    sampler: Any = "auto",
    control: Any = "auto",
    folds: int = 5,
    criterion: Criterion = "variance",
    rng: Seed = None,
    vectorized: bool | None = None,
    covariance: bool = False,
    progress: bool = False,
) -> Estimate:
    """Estimate an integral or expectation, with an error bar.

    Parameters
    ----------
    integrand : callable or array_like
        ``f(x: (n, d)) -> (n,)``, or ``(n, m)`` for m integrals on the same points; a Numba-jitted
        ``f(x: (d,)) -> float``; a Python function of one point with ``vectorized=False``; or,
        where `target` is `Draws`, the values there, (n,) or (n, m).
    target : target
        A box ``[(low, high), ...]``, sides possibly infinite (the integral over it); a frozen
        ``scipy.stats`` distribution or a list of independent ones (the expectation); an
        `Unnormalized` density; a `Target` of your own; or `Draws` that already exist.
    n : int, optional
        Evaluations of the integrand to make, pilots and training included; 65,536 by default.
        With a tolerance, the most that may be made.
    rtol, atol : float or array_like, shape (m,), optional
        Stop once the error is within ``max(atol, rtol |value|)`` with confidence 95 %, in every
        component; the confidence holds although the estimate is looked at repeatedly.
    max_n : int, optional
        With a tolerance, the most evaluations to make; 2**24 by default.
    sampler : str or Sampler
        "auto", "montecarlo", "antithetic", "latin", "sobol", "halton", "lattice", "stratified",
        "importance", "vegas", or an object of `mcvar.samplers`.
    control : "auto", None or control
        "auto": for independent draws, the polynomial control with the least error on a pilot
        that the estimate does not use, if it beats none; for draws with scores, the best of
        polynomial and kernel Stein controls, chosen out of fold. None: no control. Otherwise an
        object of `mcvar.control`, or any scikit-learn regressor that sets `mean_`, the
        expectation of its prediction.
    folds : int
        Folds for cross-fitting the control. 1 fits it on the draws it corrects, which flatters
        the error bar; the result says so.
    criterion : {"variance", "asymptotic"}
        For chains: whether linear controls minimise the variance of a draw, or the asymptotic
        variance of the mean, autocorrelation included (Bartlett's lag window).
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7).
    vectorized : bool, optional
        False for a Python function of one point ``x: (d,)``. By default jitted functions take
        one point and all others many.
    covariance : bool
        Whether to compute the covariance across components.
    progress : bool
        Whether to show a progress bar (extra ``progress``).

    Returns
    -------
    Estimate
        ``value``, ``standard_error``, ``confidence_interval(level)``, ``variance_reduction``,
        ``status``, ``reasons``.

    Raises
    ------
    NonFiniteError
        NaN or infinity from the integrand; the message names the point, block and seed.
    ControlMeanError
        A control whose stated mean contradicts its sample mean.
    ValueError, TypeError
        Any other input that cannot be used, with what was seen and what was expected.

    Notes
    -----
    E f = E[f − h] + E h for any h whose expectation is known. h is fitted on some of the draws
    and corrects the others (cross-fitting), so the estimate is unbiased and its error bar
    honest. Quasi-Monte Carlo draws come in independent randomisations whose spread gives the
    error bar, by Student's t.

    An interrupted run (Ctrl-C) returns what it has, with status "budget".

    References
    ----------
    Owen, *Monte Carlo theory, methods and examples* (2013), chapters 8, 9 and 17.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> est = mcvar.estimate(lambda x: np.exp(-(x**2).sum(axis=1)), [(-np.inf, np.inf)] * 2,
    ...                      n=2**14, rng=1)
    >>> abs(est.value - np.pi) < 1e-3
    True
    """
    seed = root_entropy(rng)
    if as_count("folds", folds) > 50:
        raise ValueError(f"folds must be at most 50, got {folds}.")
    if isinstance(target, Draws):
        _refuse_for_draws(n=n, max_n=max_n, rtol=rtol, atol=atol)
        if sampler != "auto":
            raise ValueError(f"draws that exist have no sampler; got sampler={sampler!r}.")
        return estimate_given(
            integrand,
            target,
            control,
            folds,
            criterion,
            covariance=covariance,
            vectorized=vectorized,
        )
    if criterion != "variance":
        raise ValueError(f"criterion={criterion!r} is for chains: draws that exist.")
    goal, recipe = as_target(target), as_sampler(sampler)
    tolerance = Tolerance.read(rtol, atol)
    budget = _budget(n, max_n, tolerance)
    function = Integrand(integrand, vectorized, seed)
    control = read_control(control, goal)

    prepared = recipe.prepare(
        goal,
        lambda draws: function(draws, "training draws"),
        budget if tolerance is None else min(budget, _TRAINING_WITH_TOLERANCE),
        stream_seed(seed, _TRAINING),
    )
    recipe, goal = prepared.sampler, prepared.target
    chosen, pilot = train_control(
        control, recipe, goal, function, budget - prepared.spent, stream_seed(seed, _PILOT, 0)
    )
    tally = _tally(chosen, control is None, goal, recipe, folds, covariance)
    remaining = budget - function.n_evaluations
    plans = schedule(recipe, remaining, tolerance=tolerance is not None)
    check_enough(chosen, plans[-1].n, recipe, folds)

    spent_before = function.n_evaluations
    update, close = progress_bar(progress, plans[-1].n)
    run = Run(function, recipe, goal, tally, seed, n=plans[-1].n, on_progress=update)
    history: list[Look] = []
    status: Status = "converged" if tolerance is None else "budget"
    reasons: list[str] = []
    result: tuple[Combined, Combined | None] | None = None
    try:
        for plan in plans:
            run.advance(plan)
            check_control_means(tally)
            result = tally.estimate()
            combined = result[0]
            error = np.sqrt(combined.variance)
            history.append(Look(spent_before + plan.n, combined.mean, error, combined.df))
            if tolerance is None:
                continue
            varies = tally.plain_variance() > 0
            shortfall = tolerance.shortfall(combined.mean, error, combined.df, len(plans), varies)
            if (shortfall <= 1).all():
                status = "converged"
                break
    except KeyboardInterrupt:
        if result is None:
            raise
        status = "budget"
        reasons.append(
            f"interrupted after {function.n_evaluations} of {budget} evaluations; "
            f"the estimate is that of the first {history[-1].n}."
        )
    finally:
        close()
    assert result is not None
    if tolerance is not None and status == "budget" and not reasons:
        reasons.append(_exhausted(shortfall, function.n_evaluations))
    suspicions = [
        *prepared.warnings,
        *reasons_to_suspect(tally, weights_matter=goal.self_normalized),
    ]
    if pilot is not None:
        suspicions += _pilot_disagrees(pilot, goal, recipe, result[0])
    return _assemble(
        result,
        function,
        goal,
        tally,
        status="suspect" if suspicions else status,
        reasons=tuple(suspicions + reasons),
        sampler=prepared.description or recipe.name,
        control=describe(chosen, folds),
        seed=seed,
        history=tuple(history),
        with_covariance=covariance,
    )


def _refuse_for_draws(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"draws that exist cannot be added to; got {name}={value!r}.")


def _budget(n: int | None, max_n: int | None, tolerance: Tolerance | None) -> int:
    if n is not None and max_n is not None:
        raise ValueError(f"give n or max_n, not both (got n={n}, max_n={max_n}).")
    if tolerance is None and max_n is not None:
        raise ValueError("max_n goes with rtol or atol; give n for a fixed number of draws.")
    wanted = n if n is not None else max_n
    if wanted is None:
        return DEFAULT_N if tolerance is None else DEFAULT_MAX_N
    return as_count("n" if n is not None else "max_n", wanted)


def _tally(
    chosen: Any,
    without: bool,
    target: Target,
    sampler: Sampler,
    folds: int,
    covariance: bool,
) -> Tally:
    layout = {
        "replicated": sampler.replicated,
        "unit": sampler.unit,
        "folds": folds,
        "covariance": covariance,
    }
    if chosen is None or is_linear(chosen):
        return MomentTally(ZeroMeanFeatures(chosen, target, own=not without), target, **layout)
    return StoredTally(chosen, target, **layout)


def _pilot_disagrees(
    pilot: Pilot, target: Target, sampler: Sampler, combined: Combined
) -> list[str]:
    if sampler.replicated:
        return []
    tally = _tally(None, True, target, sampler, 1, False)
    tally.add(0, pilot.draws, pilot.values)
    before = tally.estimate()[0]
    if not (before.variance > 0).all():
        return []
    return disagreement(
        "the pilot",
        (before.mean, np.sqrt(before.variance)),
        (combined.mean, np.sqrt(combined.variance)),
    )


def _exhausted(shortfall: FloatArray, n: int) -> str:
    worst = int(np.argmax(shortfall))
    ratio = float(np.ravel(shortfall)[worst])
    which = "" if np.size(shortfall) == 1 else f" in component {worst}"
    if not np.isfinite(ratio):
        return f"no spread was seen{which} in {n} evaluations, so no error can be vouched for."
    return (
        f"after {n} evaluations the error is {ratio:.3g} times the tolerance{which}; raise max_n."
    )


def _assemble(
    result: tuple[Combined, Combined | None],
    function: Integrand,
    target: Target,
    tally: Tally,
    *,
    with_covariance: bool,
    **fields: Any,
) -> Estimate:
    combined, weight = result
    error = np.sqrt(combined.variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        # The pilot's evaluations count too: plain Monte Carlo would have used them.
        gain = tally.plain_variance() * (tally.n / function.n_evaluations) / combined.variance
    gain = np.where(np.isnan(gain), 1.0, gain)

    def shaped(array: FloatArray) -> Any:
        return float(array[0]) if function.returns_scalar else array

    log_normalizer = None
    if weight is not None:
        scale = getattr(target, "log_scale", 0.0)
        log_normalizer = Estimate(
            value=float(np.log(weight.mean[0]) + scale),
            standard_error=float(np.sqrt(weight.variance[0]) / weight.mean[0]),
            n=function.n_evaluations,
            df=weight.df,
            ess=tally.ess,
            variance_reduction=float("nan"),
            status=fields["status"],
            reasons=fields["reasons"],
            sampler=fields["sampler"],
            control=fields["control"],
            seed=fields["seed"],
        )
    return Estimate(
        value=shaped(combined.mean),
        standard_error=shaped(error),
        n=function.n_evaluations,
        df=combined.df,
        ess=tally.ess,
        variance_reduction=shaped(gain),
        covariance=combined.covariance if with_covariance else None,
        log_normalizer=log_normalizer,
        **fields,
    )
