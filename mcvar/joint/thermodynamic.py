"""Model evidence over a ladder of temperatures: thermodynamic integration, and the SMC identity."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from mcvar._checks import as_count, as_finite_array, as_points, known_name, root_entropy
from mcvar._typing import FloatArray, Seed
from mcvar.control import VectorSteinKernel
from mcvar.draws import Draws
from mcvar.integrate.analyse import error_of_rows
from mcvar.integrate.crossfit import jackknife
from mcvar.joint.estimation import JointControl, estimate_jointly
from mcvar.joint.evidence_result import Evidence
from mcvar.joint.result import JointEstimate

_DECAY = 4.0  # temperatures over which what they say of one another falls by e
_MOST_OVERFLOW = 500.0  # of an exponent about its mean: beyond it e^... is no number to average

PerTemperature = Callable[[FloatArray], Any] | Sequence[Any]


def evidence(
    log_likelihood: PerTemperature,
    grad_log_likelihood: PerTemperature,
    grad_log_prior: PerTemperature,
    x: Sequence[Any],
    temperatures: Any,
    order: Literal[1, 2] = 2,
    control: JointControl | Literal["auto"] = "auto",
    *,
    method: Literal["thermodynamic", "smc"] = "thermodynamic",
    folds: int = 5,
    rng: Seed = None,
) -> Evidence:
    """Estimate the log evidence of a model from draws of its power posteriors.

    At temperature t the target is prior · Lᵗ, L the likelihood. Thermodynamic integration adds up
    expectations of log L over the ladder, ∫₀¹ E_t log L dt, by a rule with an error of its own; the
    SMC identity Σ_i log E_{t_i} L^(t_{i+1} − t_i) is exact for any ladder, and more variable. All
    expectations are estimated jointly.

    Parameters
    ----------
    log_likelihood : callable or sequence of T array_like, shapes (n_t,)
        log L as a function (n, d) -> (n,), or its values at the draws of each temperature.
    grad_log_likelihood, grad_log_prior : callables or sequences of T array_like, shapes (n_t, d)
        Gradients, as functions (n, d) -> (n, d) or at the draws.
    x : sequence of T array_like, shapes (n_t, d)
        Independent draws of each temperature's target.
    temperatures : array_like, shape (T,)
        0 = t_1 < ... < t_T = 1.
    order : {1, 2}
        Of the thermodynamic rule: trapezoidal, or corrected by the variances of log L.
    control : VectorSteinKernel, VectorSteinPolynomial or "auto"
        "auto" takes covariances exp(−|i − j|/4) between temperatures i and j.
    method : {"thermodynamic", "smc"}
        The identity uses the draws of all temperatures but the last.
    folds, rng
        As in `estimate_jointly`.

    Returns
    -------
    Evidence

    Raises
    ------
    ValueError
        Temperatures that do not rise from 0 to 1, shapes that disagree, or, for the SMC identity,
        a ladder so coarse that L^(t_{i+1} − t_i) at the draws exceeds e^500 times its usual size.

    References
    ----------
    Friel, Hurn & Wyse, "Improving power posterior estimation of statistical evidence", Statistics
    and Computing 24 (2014), eq. 6; Oates, Papamarkou & Girolami, "The controlled thermodynamic
    integral for Bayesian model evidence evaluation", JASA 111 (2016); Del Moral, Doucet & Jasra,
    "Sequential Monte Carlo samplers", JRSS B 68 (2006), eq. 14.

    Examples
    --------
    One observation y = 1.3 with unit noise, of a mean with standard normal prior:

    >>> import numpy as np, scipy.stats, mcvar
    >>> rng, y, ladder = np.random.default_rng(1), 1.3, np.linspace(0, 1, 6) ** 2
    >>> draws = [rng.normal(t * y / (1 + t), (1 + t) ** -0.5, size=(20, 1)) for t in ladder]
    >>> found = mcvar.evidence(
    ...     lambda x: scipy.stats.norm.logpdf(y, x[:, 0]),
    ...     lambda x: y - x,
    ...     lambda x: -x,
    ...     draws,
    ...     ladder,
    ... )
    >>> exact = scipy.stats.norm.logpdf(y, 0, np.sqrt(2))
    >>> bool(abs(found.value - exact) < 3 * found.standard_error + abs(found.rule_error))
    True
    """
    ladder = as_finite_array("temperatures", temperatures)
    rising = ladder.ndim == 1 and len(ladder) >= 2 and (np.diff(ladder) > 0).all()
    if not rising or ladder[0] != 0 or ladder[-1] != 1:
        raise ValueError(
            f"temperatures must rise from 0 to 1, got shape {ladder.shape}"
            + (f" from {ladder.flat[0]:g} to {ladder.flat[-1]:g}." if ladder.size else ".")
        )
    if as_count("order", order) > 2:
        raise ValueError(f"order must be 1 or 2, got {order!r}.")
    known_name("method", method, ("thermodynamic", "smc"))
    points = [as_points(f"x[{i}]", p) for i, p in enumerate(_entries("x", x, ladder))]
    values = _at(points, "log_likelihood", log_likelihood, ladder)
    likelihood = _at(points, "grad_log_likelihood", grad_log_likelihood, ladder)
    prior = _at(points, "grad_log_prior", grad_log_prior, ladder)
    draws = [
        Draws(p, grad_logpdf=b + t * a)
        for p, a, b, t in zip(points, likelihood, prior, ladder, strict=True)
    ]
    if isinstance(control, str) and control != "auto":
        raise ValueError(
            f"control must be 'auto', a VectorSteinKernel or a VectorSteinPolynomial, got "
            f"{control!r}."
        )

    # Folds are the same for means and variances.
    seed = None if rng is None else root_entropy(rng)

    def expectations(of: list[FloatArray]) -> JointEstimate:
        used = control
        if isinstance(used, str):
            steps = np.arange(len(of))
            apart = np.abs(steps[:, np.newaxis] - steps)
            used = VectorSteinKernel(task_covariance=np.exp(-apart / _DECAY))
        tasks = list(zip(of, draws, strict=False))
        return estimate_jointly(tasks, used, folds=folds, rng=seed)

    if method == "smc":
        return _identity(values, draws, ladder, expectations)
    return _integral(values, draws, ladder, order, expectations)


def _integral(
    values: list[FloatArray],
    draws: list[Draws],
    ladder: FloatArray,
    order: int,
    expectations: Callable[[list[FloatArray]], JointEstimate],
) -> Evidence:
    """Add up means, and variances for the second order, over the ladder."""
    means = expectations(values)
    of_means, of_variances = _weights(ladder)
    last = len(ladder) - 1
    coarse = np.unique(np.append(np.arange(0, last, 2), last))
    coarse_means, coarse_variances = _weights(ladder[coarse])
    value = float(of_means @ means.value)
    rough = float(coarse_means @ means.value[coarse])
    if order == 1:
        error, df = _error_of_sum(draws, (means, of_means))
        return Evidence(
            value=value,
            standard_error=error,
            df=df,
            temperatures=ladder,
            method="thermodynamic",
            # Twice the gaps, four times the error.
            rule_error=(rough - value) / 3 if last > 1 else np.nan,
            means=means,
        )
    # About an estimated mean squares are too small by its variance, as they are by (n − 1)/n where
    # there is no control. To first order their expectation does not depend on it.
    squares = [
        (v - m) ** 2 + e**2
        for v, m, e in zip(values, means.value, means.standard_error, strict=True)
    ]
    variances = expectations(squares)
    value += float(of_variances @ variances.value)
    rough += float(coarse_variances @ variances.value[coarse])
    error, df = _error_of_sum(draws, (means, of_means), (variances, of_variances))
    return Evidence(
        value=value,
        standard_error=error,
        df=df,
        temperatures=ladder,
        method="thermodynamic",
        rule_error=(rough - value) / 15 if last > 1 else np.nan,
        means=means,
        variances=variances,
    )


def _weights(ladder: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the weights (T,) of means and of variances in the second-order rule."""
    gaps = np.diff(ladder)
    means = 0.5 * (np.append(gaps, 0) + np.append(0, gaps))
    return means, (np.append(gaps**2, 0) - np.append(0, gaps**2)) / 12


def _error_of_sum(
    draws: list[Draws], *sums: tuple[JointEstimate, FloatArray]
) -> tuple[float, float]:
    """Return standard error and degrees of freedom of a sum over estimates on the same draws.

    Each estimate comes with its weights. The error is that of the corrected values, or the
    jackknife's over folds of the sum of expectations where that is larger, as for each of the
    estimates; but errors that cancel in the sum do not count. Degrees of freedom are
    Satterthwaite's.
    """
    parts = np.empty(len(draws))
    for t, own in enumerate(draws):
        rows = sum(weights[t] * estimate.corrected[t] for estimate, weights in sums)
        parts[t] = error_of_rows(np.reshape(rows, (-1, 1)), own).variance[0]
    of_parts = np.min([estimate.df for estimate, _ in sums], axis=0)
    error = float(np.sqrt(parts.sum()))
    found = np.sum([estimate.expectations @ weights for estimate, weights in sums], axis=0)
    spread = float(jackknife(found[:, np.newaxis])[0])
    if spread > error or error == 0:
        return spread, len(found) - 1.0
    return error, float(parts.sum() ** 2 / (parts**2 / of_parts).sum())


def _identity(
    values: list[FloatArray],
    draws: list[Draws],
    ladder: FloatArray,
    expectations: Callable[[list[FloatArray]], JointEstimate],
) -> Evidence:
    """Multiply ratios of neighbouring normalising constants."""
    gaps = np.diff(ladder)
    centres = np.array([v.mean() for v in values[:-1]])
    tasks = []
    for i, (v, c, gap) in enumerate(zip(values, centres, gaps, strict=False)):
        exponent = gap * (v - c)
        if exponent.max() > _MOST_OVERFLOW:
            raise ValueError(
                f"between temperatures {ladder[i]:.3g} and {ladder[i + 1]:.3g} the likelihood's "
                f"power varies by e^{exponent.max():.0f} among the draws; expected a finer ladder."
            )
        # Less one and over the gap, so that short steps lose no digits.
        tasks.append(np.expm1(exponent) / gap)
    ratios = expectations(tasks)
    factors = 1 + gaps * ratios.value
    if not (factors > 0).all():
        i = int(factors.argmin())
        raise ValueError(
            f"the ratio of evidences between temperatures {ladder[i]:.3g} and {ladder[i + 1]:.3g} "
            f"came out as {factors[i]:.3g} times its usual size; expected more draws or a finer "
            "ladder."
        )
    slopes = gaps / factors
    covariance = slopes[:, np.newaxis] * ratios.covariance * slopes
    # E log(r + ε) = log r − Var ε / 2r² to second order.
    logs = gaps * centres + np.log(factors) + np.diagonal(covariance) / 2
    error, df = _error_of_sum(draws[:-1], (ratios, slopes))
    return Evidence(
        value=float(logs.sum()),
        standard_error=error,
        df=df,
        temperatures=ladder,
        method="smc",
        rule_error=0.0,
        ratios=ratios,
        log_ratios=logs,
        log_ratio_covariance=covariance,
    )


def _entries(name: str, given: Any, ladder: FloatArray) -> Sequence[Any]:
    if callable(given) or not hasattr(given, "__len__"):
        raise TypeError(f"{name} must hold one array for each temperature, got {given!r}.")
    if len(given) != len(ladder):
        raise ValueError(
            f"{name} has {len(given)} entries for {len(ladder)} temperatures; expected one for "
            "each."
        )
    entries: Sequence[Any] = given
    return entries


def _at(points: list[FloatArray], name: str, given: Any, ladder: FloatArray) -> list[FloatArray]:
    """Return values or gradients at the draws of each temperature, checked."""
    entries = [given(p) for p in points] if callable(given) else _entries(name, given, ladder)
    gradient = name.startswith("grad")
    found = []
    for i, (entry, p) in enumerate(zip(entries, points, strict=True)):
        where = f"{name}(x[{i}])" if callable(given) else f"{name}[{i}]"
        array = as_points(where, entry) if gradient else as_finite_array(where, entry)
        expected = p.shape if gradient else (len(p),)
        if array.shape != expected:
            raise ValueError(
                f"{where} has shape {array.shape}; expected {expected} for x[{i}] of shape "
                f"{p.shape}."
            )
        found.append(array)
    return found
