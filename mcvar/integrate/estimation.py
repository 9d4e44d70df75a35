"""estimate(): the verb, its arguments and their checks."""

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._checks import as_count, root_entropy
from mcvar._typing import Seed
from mcvar.draws import Draws
from mcvar.integrate.analyse import analyse
from mcvar.integrate.integrand import Integrand
from mcvar.integrate.problem import Problem, open_runner, stored_seed
from mcvar.integrate.report import build_estimate, describe
from mcvar.integrate.run import Budget, estimate_by_drawing
from mcvar.integrate.select import read_controls
from mcvar.integrate.tolerance import DEFAULT_MAX_N, DEFAULT_N, Tolerance
from mcvar.integrate.values import as_columns
from mcvar.result import Estimate, Look
from mcvar.samplers import as_sampler
from mcvar.targets import as_target

if TYPE_CHECKING:
    from mcvar.integrate.adjust import Criterion


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
    criterion: "Criterion" = "variance",
    rng: Seed = None,
    vectorized: bool | None = None,
    covariance: bool = False,
    executor: Any = None,
    batch_size: int | None = None,
    checkpoint: Any = None,
    max_seconds: float | None = None,
    progress: bool = False,
) -> Estimate:
    """Estimate of an integral or expectation, with an error bar.

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
    control : "auto", None, control, or list of controls
        "auto": for independent draws, 100 or more, of a target with a basis, the best polynomial
        control, if it beats none; for draws with gradients, the best of polynomial and kernel
        Stein controls. None: no control. Otherwise an object of `mcvar.control`, or any
        scikit-learn regressor that sets `mean_`, the expectation of its prediction. Of several,
        one is selected for each component, on folds that the choice does not serve. A control
        whose error bar is more than 1.25 times that without it is dropped.
    folds : int
        Folds for cross-fitting the control. 1 fits it on the draws it corrects, which flatters
        the error bar; the result says so.
    criterion : {"variance", "asymptotic"}
        For chains: whether linear controls minimise the variance of a draw, or the asymptotic
        variance of the mean, autocorrelation included (Bartlett's lag window).
    rng : int, Generator, SeedSequence or None
        Source of randomness (SPEC 7); for new draws.
    vectorized : bool, optional
        False for a Python function of one point ``x: (d,)``. By default jitted functions take
        one point and all others many.
    covariance : bool
        Whether to compute the covariance across components.
    executor : concurrent.futures.Executor or int, optional
        Where the integrand is evaluated: a pool of threads or processes, loky's, Dask's
        ``client.get_executor()``, mpi4py's, ...; a number is that many processes of our own. The
        result has the same bits whatever the executor and its number of workers.
    batch_size : int, optional
        Points of one task. By default tasks have a few hundred points at first (16 where
        ``vectorized=False``) and more later on; give less for integrands that take seconds.
    checkpoint : path, optional
        A file (SQLite) that keeps every finished task. Calling again resumes from there, after
        any crash, with a tighter tolerance or more draws; ``rng`` may then be left out.
    max_seconds : float, optional
        Time from the first evaluation after which the run ends with what it has and status
        "budget"; starting worker processes and compiling in this one do not count.
    progress : bool
        Whether to show a progress bar with the interval (extra ``progress``).

    Returns
    -------
    Estimate
        ``value``, ``standard_error``, ``confidence_interval(level)``, ``variance_reduction``,
        ``status`` ("completed", "converged", "budget" or "suspect"), ``reasons``.

    Raises
    ------
    NonFiniteError
        NaN or infinity from the integrand; the message names the point, block and seed.
    ControlMeanError
        A control whose stated mean contradicts its sample mean.
    CheckpointError
        A checkpoint of another problem, in use, not to be written, or not to be read.
    LostWorkersError
        A block of draws on which workers die again and again.
    TimeoutError
        Not even a first estimate within `max_seconds`.
    ValueError, TypeError
        Any other input that cannot be used, with what was seen and what was expected.

    Notes
    -----
    E f = E[f − h] + E h for any h whose expectation is known. h is fitted on some of the draws
    and corrects the others (cross-fitting), so the estimate is unbiased. Quasi-Monte Carlo draws
    come in independent randomisations whose spread gives the error bar. The rules of the error
    bar, and when it makes a result "suspect", are on the page `Error bars` of the documentation.

    An interrupted run (Ctrl-C) returns what it has, with status "budget". Exceptions raised by
    the integrand carry a note that names the block and the seed.

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
    asked = {**locals(), "executor": None}
    if as_count("folds", folds) > 50:
        raise ValueError(f"folds must be at most 50, got {folds}.")
    if isinstance(target, Draws):
        _refuse_for_draws(
            n=n,
            max_n=max_n,
            rtol=rtol,
            atol=atol,
            checkpoint=checkpoint,
            max_seconds=max_seconds,
            executor=executor,
            batch_size=batch_size,
            rng=rng,
            progress=progress or None,
        )
        if sampler != "auto":
            raise ValueError(f"existing draws have no sampler; got sampler={sampler!r}.")
        controls = read_controls(control, None)
        return _from_draws(
            integrand, target, controls, folds, criterion, vectorized, covariance=covariance
        )
    if criterion != "variance":
        raise ValueError(f"criterion={criterion!r} is for chains: existing draws (mcvar.Draws).")
    goal, recipe = as_target(target), as_sampler(sampler)
    tolerance = Tolerance.read(rtol, atol)
    budget = _budget(n, max_n, tolerance)
    seed = root_entropy(stored_seed(checkpoint) if rng is None else rng)
    function = Integrand(integrand, vectorized, seed)
    control = read_controls(control, goal)
    problem = Problem(function, goal, recipe, control, folds, covariance, batch_size, seed)
    runner, for_training = open_runner(problem, budget, executor, checkpoint, max_seconds)
    with runner:
        est = estimate_by_drawing(
            problem, Budget(budget, for_training, tolerance), runner, progress
        )
    if checkpoint is None:
        return est
    return replace(est, again=functools.partial(_again, asked | {"rng": seed}))


def _from_draws(
    integrand: Any,
    draws: Draws,
    control: Any,
    folds: int,
    criterion: "Criterion",
    vectorized: bool | None,
    *,
    covariance: bool,
) -> Estimate:
    """Estimate from existing draws."""
    if callable(integrand):
        function = Integrand(integrand, vectorized, 0)
        own = Draws.unchecked(x=draws.x.copy(), weights=draws.weights)
        values, signature = function(own, "the given draws")
        scalar = signature.scalar
    else:
        values, scalar = as_columns("values", integrand, draws.n)
    found = analyse(values, draws, control, folds, criterion, covariance=covariance)
    ess = None
    if draws.chain is not None:
        plain = found.independent_variance
        with np.errstate(divide="ignore", invalid="ignore"):
            independent = plain * draws.n / found.plain.variance
        ess = float(np.min(np.where(plain > 0, independent, draws.n)))
    combined = found.combined
    look = Look(draws.n, combined.mean, np.sqrt(combined.variance), combined.df, combined.skewness)
    return build_estimate(
        found,
        scalar,
        n=draws.n,
        draws=draws.n,
        status="completed",
        with_covariance=covariance,
        ess=ess,
        control=describe(found.controls, folds),
        history=(look,),
    )


def _again(asked: dict[str, Any], **changes: Any) -> Estimate:
    """Repeat a call with other arguments; n and max_n take the place of one another."""
    for given, other in (("n", "max_n"), ("max_n", "n")):
        if changes.get(given) is not None:
            asked = asked | {other: None}
    unknown = changes.keys() - asked.keys()
    if unknown:
        raise TypeError(f"resume() takes arguments of estimate(), got {sorted(unknown)}.")
    return estimate(**(asked | changes))


def _refuse_for_draws(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise ValueError(
                f"{name}= is not used with existing draws (mcvar.Draws); got {name}={value!r}."
            )


def _budget(n: int | None, max_n: int | None, tolerance: Tolerance | None) -> int:
    if n is not None and max_n is not None:
        raise ValueError(f"give n or max_n, not both (got n={n}, max_n={max_n}).")
    if tolerance is None and max_n is not None:
        raise ValueError("max_n goes with rtol or atol; give n for a fixed number of draws.")
    wanted = n if n is not None else max_n
    if wanted is None:
        return DEFAULT_N if tolerance is None else DEFAULT_MAX_N
    return as_count("n" if n is not None else "max_n", wanted)
