"""summary(): a posterior table with and without Stein controls."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcvar._checks import as_finite_array
from mcvar.draws import Draws
from mcvar.integrate.adjust import Criterion
from mcvar.integrate.analyse import analyse
from mcvar.integrate.select import read_controls
from mcvar.posterior.read import Function, evaluate_functions, read_posterior
from mcvar.posterior.table import PosteriorSummary


def summary(
    x: Any,
    grad_logpdf: Any = None,
    *,
    functions: Mapping[str, Function] | None = None,
    constrained: Any = None,
    names: list[str] | None = None,
    weights: Any = None,
    control: Any = "auto",
    folds: int = 5,
    criterion: Criterion = "variance",
) -> PosteriorSummary:
    """Summarise posterior draws, with error bars cut by the gradients that the sampler computed.

    Parameters
    ----------
    x : array_like, shape (chains, draws, d) or (draws, d); dict; ArviZ object
        Posterior draws on the scale of the gradients, which for bounded parameters is the
        unconstrained one. A dict maps names to arrays (chains, draws, ...), or holds groups
        ``"posterior"`` and ``"sample_stats"`` of such dicts. An ArviZ ``InferenceData`` or
        ``DataTree`` has those groups; gradients are read from
        ``sample_stats["grad_logpdf" | "gradient" | "grad" | "score"]`` and unconstrained draws,
        where they differ from the posterior, from ``sample_stats["unconstrained_draw"]``.
    grad_logpdf : array_like, shape of x, or dict, optional
        Scores ∇ log π at the draws, the log-Jacobian of any transform included.
    functions : dict of str to callable, optional
        Further functions ``f(p)`` of the reported variables, ``p[name]`` of shape
        ``(chains, draws, *shape)``; each returns that, or ``(chains, draws)``, numbers or booleans.
    constrained : array_like (chains, draws, k), dict, or callable, optional
        What to report in place of x: values on the constrained scale, or a function that computes
        them from x, (n, d) -> (n, k) or a dict; for named variables, from a dict to a dict.
    names : list of str, optional
        For arrays, names of the columns reported; otherwise which variables to report.
    weights : array_like, shape (chains, draws), optional
        Importance or SMC weights, known up to a constant. Draws then count as independent.
    control : "auto", None or control
        As for `mcvar.estimate`; "auto" chooses per row among none, polynomial and kernel Stein
        controls, out of fold.
    folds, criterion
        As for `mcvar.estimate`.

    Returns
    -------
    PosteriorSummary
        One row per parameter and function: ``mean, sd, mcse, controlled_mean, controlled_se,
        gain, equivalent_draws, controlled_sd, controlled_sd_se, control, warnings``. It prints as
        a table; ``to_pandas()``, ``to_xarray()`` and ``plot()`` give the rest.

    Raises
    ------
    ScoreError
        Gradients that contradict the draws (scale, sign, order, parametrisation).
    ValueError, TypeError
        Anything else that cannot be used, with what was seen and what was expected.

    References
    ----------
    Oates, Girolami & Chopin, "Control functionals for Monte Carlo integration", JRSS B 79 (2017);
    South, Karvonen, Nemeth, Girolami & Oates, "Semi-exact control functionals from Sard's
    method", Biometrika 109 (2022).

    Examples
    --------
    A scale parameter σ = exp(u) sampled on the log scale:

    >>> import numpy as np, mcvar
    >>> u = np.random.default_rng(1).normal(0.5, 0.4, size=(4, 100, 1))
    >>> table = mcvar.summary(u, -(u - 0.5) / 0.16, constrained=np.exp, names=["sigma"])
    >>> bool(table["sigma"].gain > 50)
    True
    >>> bool(abs(table["sigma"].controlled_mean - np.exp(0.58)) < 0.005)
    True
    """
    posterior = read_posterior(x, grad_logpdf, constrained, names)
    extra, extra_labels = evaluate_functions(functions, posterior)
    chains, length, d = posterior.x.shape
    n = chains * length
    labels = [
        label
        for of_variable in (posterior.labels, extra_labels)
        for several in of_variable.values()
        for label in several
    ]
    variables = {**posterior.variables, **extra}
    if not variables:
        raise ValueError("there is nothing to report: constrained gave no variables.")
    values = np.concatenate([v.reshape(n, -1) for v in variables.values()], axis=1)
    draws = _as_draws(posterior.x.reshape(n, d), posterior.grad_logpdf, weights, chains, length)
    # About a value near the mean, squares measure the spread and keep their digits.
    center = values.mean(axis=0)
    deviations = values - center
    found = analyse(
        np.hstack([deviations, deviations**2]),
        draws,
        read_controls(control, None),
        folds,
        criterion,
    )
    return PosteriorSummary.of(labels, center, found, n, chains)


def _as_draws(x: Any, grad_logpdf: Any, weights: Any, chains: int, length: int) -> Draws:
    n = chains * length
    score = grad_logpdf.reshape(n, -1)
    if weights is None:
        return Draws(x, grad_logpdf=score, chain=np.repeat(np.arange(chains), length))
    array = as_finite_array("weights", weights)
    if array.shape != (chains, length) and array.shape != (n,):
        raise ValueError(
            f"weights have shape {array.shape}; expected ({chains}, {length}), one per draw."
        )
    return Draws(x, grad_logpdf=score, weights=array.ravel(), self_normalized=True)
