"""Targets known up to a constant, reached through a proposal by self-normalised weights."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from mcvar._checks import as_finite_array, as_real_array
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.exceptions import NonFiniteError
from mcvar.targets.base import Target
from mcvar.targets.basis import ProductBasis
from mcvar.targets.convert import as_target

_CALIBRATION = 256  # proposal draws that set the common factor of the weights
_MOST_LOG_WEIGHT = 300.0  # beyond this squares of weights overflow


class Unnormalized(Target):
    """The law with density proportional to ``exp(logpdf(x))``.

    Expectations are ratios of weighted means, and the mean weight estimates the normalising
    constant: ``estimate(...).log_normalizer``.

    Parameters
    ----------
    logpdf : callable, (n, d) -> (n,)
        Log density up to a constant; −inf outside the support, where the integrand is not
        evaluated.
    proposal : target
        A law that is easy to draw from and has a density: a frozen SciPy distribution, a list of
        independent ones, or a `Target` with `logpdf`. Its tails must be at least as heavy as
        those of the target; a Student t is safer than a normal.
    grad_logpdf : callable, (n, d) -> (n, d), optional
        Score ∇ logpdf, for Stein controls.

    Raises
    ------
    TypeError
        A proposal without a density.
    ValueError
        A log density that is −inf at all of 256 proposal draws, or of the wrong shape.

    Notes
    -----
    The infinite-variance trap of importance sampling is watched by the Pareto tail index of the
    weights (Vehtari et al. 2024): above 0.7 the estimate is marked "suspect".

    Examples
    --------
    >>> import numpy as np, scipy.stats, mcvar
    >>> target = mcvar.Unnormalized(lambda x: -x[:, 0] ** 4, proposal=scipy.stats.t(5))
    >>> est = mcvar.estimate(lambda x: x[:, 0] ** 2, target, n=2**14, rng=1)
    >>> round(est.value, 4), round(est.log_normalizer.value, 4)
    (0.338, 0.5949)
    """

    self_normalized = True

    def __init__(
        self,
        logpdf: Callable[[Any], Any],
        proposal: Any = None,
        grad_logpdf: Callable[[Any], Any] | None = None,
    ) -> None:
        if not callable(logpdf):
            raise TypeError(f"logpdf must be a function of x (n, d), got {logpdf!r}.")
        if proposal is None:
            raise TypeError(
                "an unnormalised target needs proposal=, a law to draw from that has a density: "
                "for example scipy.stats.multivariate_t at the mode."
            )
        self._logpdf = logpdf
        self._grad_logpdf = grad_logpdf
        self.proposal = as_target(proposal)
        if self.proposal.self_normalized:
            raise TypeError("the proposal must be normalised, got another Unnormalized target.")
        self.ndim = self.proposal.ndim
        # Weights are used relative to their largest value here, so that none overflows. Fixed
        # draws: the same target always has the same scale.
        x = self.proposal.random(_CALIBRATION, np.random.default_rng(0)).x
        largest = float(np.max(self.log_weights(x)))
        if largest == -np.inf:
            raise ValueError(
                f"logpdf is -inf at all {_CALIBRATION} trial draws of the proposal; "
                "expected a proposal that reaches the target."
            )
        self.log_scale = largest

    def __repr__(self) -> str:
        return f"Unnormalized(proposal={self.proposal!r})"

    @property
    def n_uniform(self) -> int:
        """As the proposal's."""
        return self.proposal.n_uniform

    def log_weights(self, x: FloatArray) -> FloatArray:
        """Log of target over proposal density at ``x (n, d)``."""
        values = as_real_array("logpdf(x)", self._logpdf(x))
        if values.shape != (len(x),):
            raise ValueError(f"logpdf(x) has shape {values.shape}; expected ({len(x)},).")
        bad = np.isnan(values) | (values == np.inf)
        if bad.any():
            i = int(bad.argmax())
            raise NonFiniteError(
                f"logpdf returned {values[i]} at x = {x[i]}; expected a number, or -inf outside "
                "the support."
            )
        return values - self.proposal.logpdf(x)

    def grad_logpdf(self, x: FloatArray) -> FloatArray:
        """Score of the target, where it was given."""
        if self._grad_logpdf is None:
            return super().grad_logpdf(x)
        score = as_finite_array("grad_logpdf(x)", self._grad_logpdf(x))
        if score.shape != x.shape:
            raise ValueError(f"grad_logpdf(x) has shape {score.shape}; expected {x.shape}.")
        return score

    def from_uniform(self, u: FloatArray) -> FloatArray:
        """Return points of the proposal."""
        return self.proposal.from_uniform(u)

    def transport(self, u: FloatArray) -> Draws:
        """Weigh the proposal's draws."""
        return self._weigh(self.proposal.transport(u))

    def random(self, n: int, rng: np.random.Generator) -> Draws:
        """Weigh independent draws of the proposal."""
        return self._weigh(self.proposal.random(n, rng))

    def _weigh(self, draws: Draws) -> Draws:
        log_weights = self.log_weights(draws.x) - self.log_scale
        largest = float(log_weights.max())
        if largest > _MOST_LOG_WEIGHT:
            i = int(log_weights.argmax())
            raise ValueError(
                f"the draw x = {draws.x[i]} has a weight e^{largest:.0f} times the largest of "
                f"{_CALIBRATION} trial draws: the proposal hardly reaches the target; centre and "
                "scale it as the target is."
            )
        weights = np.exp(log_weights)
        return Draws.unchecked(x=draws.x, weights=weights, self_normalized=True)

    def basis(self) -> ProductBasis | None:
        """Return the proposal's basis: polynomials with known mean under the law of the draws."""
        basis = self.proposal.basis()
        return None if basis is None else replace(basis, of_draws=True)
