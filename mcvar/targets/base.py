"""Target: what we integrate against."""

from abc import ABC, abstractmethod

import numpy as np

from mcvar._checks import as_real_array
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.targets.basis import ProductBasis

#: Half the spacing of random doubles: where a uniform of exactly 0 would be sent to infinity.
TINY = 2.0**-54


class Target(ABC):
    """A measure to integrate against, reached from uniform random numbers.

    A target of your own defines `ndim` and `from_uniform`; `logpdf`, `grad_logpdf` and `basis`
    are optional and open importance sampling, Stein controls and polynomial controls.

    Attributes
    ----------
    ndim : int
        Dimension d of a point x.
    mass : float
        Total mass: 1 for a probability law, the volume for a bounded box. The engine multiplies
        the weighted mean by it.
    self_normalized : bool
        Whether draws carry weights known only up to a constant.
    weights_average_one : bool
        Whether weights, where there are any, are likelihood ratios of two normalised laws.

    Examples
    --------
    The uniform law on the unit disc:

    >>> import mcvar, numpy as np
    >>> class Disc(mcvar.Target):
    ...     ndim = 2
    ...     def from_uniform(self, u):
    ...         radius, angle = np.sqrt(u[:, 0]), 2 * np.pi * u[:, 1]
    ...         return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    >>> est = mcvar.estimate(lambda x: (x**2).sum(axis=1), Disc(), n=4096, rng=1)
    >>> abs(est.value - 0.5) < 1e-3
    True
    """

    ndim: int
    mass: float = 1.0
    self_normalized: bool = False
    weights_average_one: bool = True

    @property
    def n_uniform(self) -> int:
        """Number of uniforms that make one point; 0 if points come from `random` only."""
        return self.ndim

    @abstractmethod
    def from_uniform(self, u: FloatArray) -> FloatArray:
        """Map uniforms ``u (n, n_uniform)`` in (0, 1) to points ``x (n, d)``."""

    def transport(self, u: FloatArray) -> Draws:
        """Return the draws made from `u`, with the weights they need, if any."""
        return Draws.unchecked(x=self._checked(self.from_uniform(u), len(u)))

    def _checked(self, x: FloatArray, n: int) -> FloatArray:
        """Refuse what a target of a user's own makes in place of n points."""
        if isinstance(x, np.ndarray) and x.dtype == np.float64 and x.shape == (n, self.ndim):
            return x
        points = as_real_array(f"what {type(self).__name__} makes of uniforms", x)
        if points.shape != (n, self.ndim):
            raise ValueError(
                f"{type(self).__name__} made points of shape {points.shape} of {n} uniforms; "
                f"expected ({n}, {self.ndim})."
            )
        return points

    def random(self, n: int, rng: np.random.Generator) -> Draws:
        """Return n independent draws."""
        # Drawn point after point, stored dimension-major: NumPy integrands read columns.
        return self.transport(np.asfortranarray(rng.random((n, self.n_uniform))))

    def logpdf(self, x: FloatArray) -> FloatArray:
        """Log density at ``x (n, d)`` with respect to Lebesgue measure."""
        raise TypeError(
            f"{type(self).__name__} has no logpdf, which is needed here: define "
            "logpdf(x: (n, d)) -> (n,) on it."
        )

    def grad_logpdf(self, x: FloatArray) -> FloatArray:
        """Score ∇ log π at ``x (n, d)``, shape (n, d)."""
        raise TypeError(
            f"{type(self).__name__} has no grad_logpdf; Stein controls need the score ∇ log π: "
            "define grad_logpdf(x) on the target, or pass Draws(x, grad_logpdf=...)."
        )

    def basis(self) -> ProductBasis | None:
        """Return the orthonormal basis of the law that points are drawn from, if it is known."""
        return None
