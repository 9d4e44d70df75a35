"""Model evidence by thermodynamic integration over a ladder of temperatures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mcvar._checks import as_count, as_finite_array, as_points
from mcvar._typing import FloatArray, Seed
from mcvar.control import VectorSteinKernel
from mcvar.draws import Draws
from mcvar.joint.estimation import estimate_jointly
from mcvar.joint.result import JointEstimate
from mcvar.result import ConfidenceInterval, concise, half_width

_DECAY = 4.0  # temperatures over which what they say of one another falls by e


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class Evidence:
    """Log evidence of a model.

    Attributes
    ----------
    value, standard_error : float
        log ∫ likelihood · prior, and its Monte Carlo error; that of the quadrature over
        temperatures is not in it.
    temperatures : ndarray, shape (T,)
    means : JointEstimate
        Expectations of the log likelihood at the temperatures.
    variances : JointEstimate or None
        Its variances there, for the second-order rule.

    Examples
    --------
    The two parts of the second-order rule, for one observation y = 1 with noise and prior N(0, 1):

    >>> import numpy as np, mcvar
    >>> rng, ladder = np.random.default_rng(1), np.linspace(0, 1, 6) ** 2
    >>> x = [t / (1 + t) + rng.normal(size=(30, 1)) / np.sqrt(1 + t) for t in ladder]
    >>> found = mcvar.evidence([-0.5 * (1 - u[:, 0]) ** 2 for u in x], [1 - u for u in x],
    ...                        [-u for u in x], x, ladder)
    >>> found.means.value.shape, found.variances.value.shape
    ((6,), (6,))
    >>> low, high = found.confidence_interval(0.95)
    >>> bool(low < found.value < high)
    True
    """

    value: float
    standard_error: float
    temperatures: FloatArray
    means: JointEstimate
    variances: JointEstimate | None = None

    @property
    def status(self) -> Literal["converged", "suspect"]:
        """Whether an error bar of a mean or variance is suspect."""
        return "suspect" if self.reasons else "converged"

    @property
    def reasons(self) -> tuple[str, ...]:
        """What makes an error bar suspect, in prose."""
        kinds = ("means", "variances")
        return tuple(
            f"{kind}: {reason}"
            for kind, part in zip(kinds, self._parts, strict=False)
            for reason in part.reasons
        )

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval[float]:
        """Return the two-sided interval, by Student's t with the least degrees of freedom."""
        df = min(float(part.df.min()) for part in self._parts)
        half = float(half_width(self.standard_error, df, level))
        return ConfidenceInterval(self.value - half, self.value + half)

    def __repr__(self) -> str:
        shown = concise(self.value, self.standard_error)
        head = f"Evidence({shown}, {len(self.temperatures)} temperatures, {self.status})"
        return "\n".join([head, *(f"  {reason}" for reason in self.reasons)])

    @property
    def _parts(self) -> tuple[JointEstimate, ...]:
        return (self.means,) if self.variances is None else (self.means, self.variances)


def evidence(
    log_likelihood: Sequence[Any],
    grad_log_likelihood: Sequence[Any],
    grad_log_prior: Sequence[Any],
    x: Sequence[Any],
    temperatures: Any,
    *,
    order: Literal[1, 2] = 2,
    control: VectorSteinKernel | Literal["auto"] = "auto",
    folds: int = 5,
    rng: Seed = None,
) -> Evidence:
    """Estimate the log evidence ∫₀¹ E_t log L dt from draws of power posteriors.

    At temperature t the target is prior · Lᵗ. The T expectations are estimated jointly, and added
    up by the trapezoidal rule (order 1) or with its correction by the variances (order 2).

    Parameters
    ----------
    log_likelihood : sequence of T array_like, shapes (n_t,)
        log L at the draws of each temperature.
    grad_log_likelihood, grad_log_prior, x : sequences of T array_like, shapes (n_t, d)
        Gradients at the draws, and independent draws.
    temperatures : array_like, shape (T,)
        0 = t_1 < ... < t_T = 1.
    order : {1, 2}
        Of the quadrature.
    control : VectorSteinKernel or "auto"
        "auto" takes covariances exp(−|i − j|/4) between temperatures i and j.
    folds, rng
        As in `estimate_jointly`.

    Returns
    -------
    Evidence

    Raises
    ------
    ValueError
        Temperatures that do not rise from 0 to 1, or shapes that disagree.

    References
    ----------
    Friel, Hurn & Wyse, "Improving power posterior estimation of statistical evidence", Statistics
    and Computing 24 (2014), eq. 6; Oates, Papamarkou & Girolami, "The controlled thermodynamic
    integral for Bayesian model evidence evaluation", JASA 111 (2016).

    Examples
    --------
    One observation y = 1 of a mean with prior N(0, 1), noise N(0, 1), and likelihood without its
    constant. The log evidence is −1/4 − log(2)/2:

    >>> import numpy as np, mcvar
    >>> rng, ladder = np.random.default_rng(1), np.linspace(0, 1, 6) ** 2
    >>> x = [t / (1 + t) + rng.normal(size=(30, 1)) / np.sqrt(1 + t) for t in ladder]
    >>> found = mcvar.evidence([-0.5 * (1 - u[:, 0]) ** 2 for u in x], [1 - u for u in x],
    ...                        [-u for u in x], x, ladder)
    >>> bool(abs(found.value + 1 / 4 + np.log(2) / 2) < 1e-3)
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
    given: dict[str, Any] = {
        "log_likelihood": log_likelihood,
        "grad_log_likelihood": grad_log_likelihood,
        "grad_log_prior": grad_log_prior,
        "x": x,
    }
    for name, entries in given.items():
        if not isinstance(entries, Sequence) and np.ndim(entries) == 0:
            raise TypeError(f"{name} must be a sequence of arrays, got {entries!r}.")
        if len(entries) != len(ladder):
            raise ValueError(
                f"{name} has {len(entries)} entries for {len(ladder)} temperatures; expected one "
                "for each."
            )
    draws = [
        _draws(i, t, *parts)
        for i, (t, *parts) in enumerate(
            zip(ladder, x, grad_log_likelihood, grad_log_prior, strict=True)
        )
    ]
    values = [as_finite_array(f"log_likelihood[{i}]", v) for i, v in enumerate(log_likelihood)]
    if isinstance(control, str):
        if control != "auto":
            raise ValueError(f"control must be 'auto' or a VectorSteinKernel, got {control!r}.")
        steps = np.arange(len(ladder))
        control = VectorSteinKernel(
            task_covariance=np.exp(-np.abs(steps[:, np.newaxis] - steps) / _DECAY)
        )

    def expectations(of: list[FloatArray]) -> JointEstimate:
        return estimate_jointly(list(zip(of, draws, strict=True)), control, folds=folds, rng=rng)

    means = expectations(values)
    gaps = np.diff(ladder)
    weights = 0.5 * (np.append(gaps, 0) + np.append(0, gaps))
    value = float(weights @ means.value)
    error = float(np.sqrt(weights @ means.covariance @ weights))
    variances = None
    if order == 2:
        variances = expectations([(v - m) ** 2 for v, m in zip(values, means.value, strict=True)])
        correction = (np.append(gaps**2, 0) - np.append(0, gaps**2)) / 12
        value += float(correction @ variances.value)
        # Means and variances come from the same draws: at worst their errors add up.
        error += float(np.sqrt(correction @ variances.covariance @ correction))
    return Evidence(
        value=value,
        standard_error=error,
        temperatures=ladder,
        means=means,
        variances=variances,
    )


def _draws(i: int, t: float, x: Any, of_likelihood: Any, of_prior: Any) -> Draws:
    """Return the draws of temperature t with the score of their power posterior."""
    likelihood = as_points(f"grad_log_likelihood[{i}]", of_likelihood)
    prior = as_points(f"grad_log_prior[{i}]", of_prior)
    if likelihood.shape != prior.shape:
        raise ValueError(
            f"grad_log_likelihood[{i}] has shape {likelihood.shape}, and grad_log_prior[{i}] "
            f"{prior.shape}; expected both to have that of x[{i}]."
        )
    return Draws(x, grad_logpdf=prior + t * likelihood)
