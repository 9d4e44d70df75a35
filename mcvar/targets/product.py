"""Product targets: boxes, independent marginals, and mixtures of both."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcvar._checks import check_magnitude
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.exceptions import MagnitudeError
from mcvar.targets.base import TINY, Target
from mcvar.targets.basis import ProductBasis
from mcvar.targets.marginals import Distribution, Interval, check_law, is_discrete, is_distribution


class Product(Target):
    """Independent one-dimensional factors: Lebesgue measure on intervals, or distributions.

    Parameters
    ----------
    marginals : sequence
        One per dimension: a pair (low, high), either of which may be infinite, or a frozen
        one-dimensional SciPy distribution. Over intervals `estimate` gives the integral, over
        distributions the expectation.

    Examples
    --------
    >>> import numpy as np, scipy.stats, mcvar
    >>> est = mcvar.estimate(
    ...     lambda x: x[:, 0] * np.exp(-x[:, 1] ** 2),
    ...     mcvar.targets.Product([scipy.stats.gamma(2), (-np.inf, np.inf)]), n=2**14, rng=1,
    ... )
    >>> bool(abs(est.value - 2 * np.sqrt(np.pi)) < 0.01)
    True
    """

    def __init__(self, marginals: Sequence[Any]) -> None:
        if len(marginals) == 0:
            raise ValueError("a target needs at least one dimension, got an empty sequence.")
        self.marginals = tuple(_as_marginal(j, m) for j, m in enumerate(marginals))
        self.ndim = len(self.marginals)
        with np.errstate(over="ignore", under="ignore"):
            self.mass = float(np.prod([m.mass for m in self.marginals]))
        if self.mass == 0:
            raise MagnitudeError("the volume of the box is too small for a number: change units.")
        check_magnitude("volumes", np.array([self.mass]), 1e150)
        self.weights_average_one = all(m.is_finite for m in self.marginals)
        sides = [m for m in self.marginals if isinstance(m, Interval) and m.is_finite]
        self.is_box = len(sides) == self.ndim
        if self.is_box:
            self.low = np.array([side.low for side in sides])
            self.side = np.array([side.high for side in sides]) - self.low
            self.is_unit = bool((self.low == 0).all() and (self.side == 1).all())

    def __repr__(self) -> str:
        return f"Product({list(self.marginals)})"

    def from_uniform(self, u: FloatArray) -> FloatArray:
        """Map each column by its quantile function."""
        if self.is_box:
            return u if self.is_unit else u * self.side + self.low
        u = np.maximum(u, TINY)
        x = np.empty(u.shape[::-1])
        for j, marginal in enumerate(self.marginals):
            x[j] = marginal.ppf(u[:, j])
        return x.T

    def transport(self, u: FloatArray) -> Draws:
        """Map `u` and, for infinite sides, attach the derivative of the map as weights."""
        return Draws.unchecked(x=self.from_uniform(u), weights=self._weights(u))

    def _weights(self, u: FloatArray) -> FloatArray | None:
        if self.weights_average_one:
            return None
        u = np.maximum(u, TINY)
        weights = None
        for j, marginal in enumerate(self.marginals):
            factor = marginal.weight(u[:, j])
            if factor is not None:
                weights = factor if weights is None else weights * factor
        return weights

    def logpdf(self, x: FloatArray) -> FloatArray:
        """Log density of the normalised measure (minus the log volume for a box)."""
        if not self.weights_average_one:
            raise TypeError("a box with an infinite side has no density; give a distribution.")
        if any(isinstance(m, Distribution) and is_discrete(m.law) for m in self.marginals):
            raise TypeError("a discrete marginal has no density.")
        return np.asarray(np.sum([m.logpdf(x[:, j]) for j, m in enumerate(self.marginals)], axis=0))

    def basis(self) -> ProductBasis | None:
        """Legendre, Laguerre or Jacobi polynomials, by marginal."""
        if any(isinstance(m, Distribution) and is_discrete(m.law) for m in self.marginals):
            return None
        return ProductBasis(
            self._coordinates,
            tuple(m.family for m in self.marginals),
            of_draws=not self.weights_average_one,
        )

    def _coordinates(self, x: FloatArray) -> FloatArray:
        if self.is_box:
            return np.asarray((x - self.low) * (2 / self.side) - 1)
        t = np.empty(x.shape[::-1])
        for j, marginal in enumerate(self.marginals):
            t[j] = marginal.coordinates(x[:, j])
        return t.T


def _as_marginal(position: int, marginal: Any) -> Interval | Distribution:
    if is_distribution(marginal):
        check_law(position, marginal)
        return Distribution(marginal)
    try:
        low, high = (float(end) for end in marginal)
    except (TypeError, ValueError):
        raise TypeError(
            f"dimension {position} of the target is {marginal!r}; expected a pair (low, high) or "
            "a frozen one-dimensional scipy.stats distribution."
        ) from None
    try:
        return Interval(low, high)
    except ValueError as error:
        raise ValueError(f"dimension {position}: {error}") from None
