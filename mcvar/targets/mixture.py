"""Importance sampling from a mixture, with balance weights."""

from collections.abc import Sequence

import numpy as np
from scipy import special

from mcvar._checks import as_finite_array
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.targets.base import Target
from mcvar.targets.basis import ProductBasis


class MixtureProposal(Target):
    """A target drawn through a mixture q = Σ α_j q_j with balance weights p/q.

    The densities' ratios q_j/q − 1 average to zero over the draws and serve as controls
    (Owen & Zhou 2000, eq. 9): with them the estimate is at most slightly worse than importance
    sampling from the best component alone. Components with a share below `least_share` are left
    out of the controls: where one is never drawn, the average of its ratio is not zero.

    Parameters
    ----------
    target : Target
        The law p of the estimate; needs `logpdf`.
    components : sequence of Target
        The laws q_j; each needs `logpdf`.
    shares : array_like, shape (J,)
        α_j, positive, summing to one.
    least_share : float
        Share from which a component serves as a control.

    References
    ----------
    Owen & Zhou, "Safe and effective importance sampling", JASA 95 (2000).

    Examples
    --------
    N(0, 1), drawn half from itself and half from further out:

    >>> import numpy as np, mcvar
    >>> from mcvar.targets import MixtureProposal, Normal
    >>> target = MixtureProposal(Normal([0.0], [1.0]), [Normal([0.0], [1.0]), Normal([4.0], [1.0])],
    ...                          [0.5, 0.5])
    >>> est = mcvar.estimate(lambda x: x[:, 0] > 4, target, n=2**12, rng=1)
    >>> abs(est.value / 3.167e-5 - 1) < 0.05
    True
    """

    def __init__(
        self,
        target: Target,
        components: Sequence[Target],
        shares: FloatArray,
        least_share: float = 0.0,
    ) -> None:
        shares = as_finite_array("shares", shares)
        if shares.shape != (len(components),) or (shares <= 0).any():
            raise ValueError(
                f"shares must be {len(components)} positive numbers, got {shares.tolist()}."
            )
        if abs(shares.sum() - 1) > 1e-9:
            raise ValueError(f"shares must sum to 1, got {shares.sum():.12g}.")
        for component in components:
            if component.ndim != target.ndim:
                raise ValueError(
                    f"a proposal has {component.ndim} dimensions; expected {target.ndim}, as the "
                    "target has."
                )
        if target.self_normalized or not target.weights_average_one:
            raise TypeError(f"importance sampling needs a normalised target, got {target!r}.")
        self.target = target
        self.components = tuple(components)
        self.shares = shares
        self._controls = shares >= least_share
        self.ndim = target.ndim
        self.mass = target.mass

    @property
    def n_uniform(self) -> int:
        """One more than the components need: the first uniform chooses among them."""
        needed = [component.n_uniform for component in self.components]
        return 0 if 0 in needed else 1 + max(needed)

    def from_uniform(self, u: FloatArray) -> FloatArray:
        """Choose a component by the first uniform and map the others through it."""
        chosen = np.searchsorted(np.cumsum(self.shares)[:-1], u[:, 0], side="right")
        x = np.empty((self.ndim, len(u))).T
        for j, component in enumerate(self.components):
            rows = chosen == j
            if rows.any():
                x[rows] = component.from_uniform(u[rows, 1 : 1 + component.n_uniform])
        return x

    def transport(self, u: FloatArray) -> Draws:
        """Return weighted draws."""
        return self.weigh(self.from_uniform(u))

    def random(self, n: int, rng: np.random.Generator) -> Draws:
        """Return n independent weighted draws."""
        if self.n_uniform:
            return super().random(n, rng)
        chosen = rng.choice(len(self.components), size=n, p=self.shares)
        x = np.empty((n, self.ndim))
        for j, component in enumerate(self.components):
            rows = chosen == j
            if rows.any():
                x[rows] = component.random(int(rows.sum()), rng).x
        return self.weigh(x)

    def weigh(self, x: FloatArray) -> Draws:
        """Attach balance weights and known-mean density ratios to points of the mixture."""
        log_components = np.stack([component.logpdf(x) for component in self.components])
        log_q = special.logsumexp(log_components, b=self.shares[:, np.newaxis], axis=0)
        return Draws.unchecked(
            x=x,
            weights=np.exp(self.target.logpdf(x) - log_q),
            zero_mean=np.exp(log_components[self._controls] - log_q).T - 1,
        )

    def logpdf(self, x: FloatArray) -> FloatArray:
        """Log density of the target."""
        return self.target.logpdf(x)

    def basis(self) -> ProductBasis | None:
        """As the target's."""
        return self.target.basis()
