"""Targets reached through a change of variables: importance maps, mixtures and rotations."""

from typing import NamedTuple, Protocol

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.targets.base import Target
from mcvar.targets.basis import ProductBasis


class Warping(NamedTuple):
    """Uniforms moved elsewhere in the unit cube, and what that costs and tells.

    Attributes
    ----------
    u : ndarray, shape (n, d)
        The moved points.
    weights : ndarray, shape (n,), or None
        Uniform density over the density of the moved points.
    zero_mean : ndarray, shape (n, k), or None
        Functions known to average to zero over the moved points.

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.targets import Warping
    >>> moved = Warping(u=np.array([[0.25]]), weights=np.array([2.0]))
    >>> moved.zero_mean is None
    True
    """

    u: FloatArray
    weights: FloatArray | None = None
    zero_mean: FloatArray | None = None


class Warp(Protocol):
    """A map of uniforms into the unit cube.

    Attributes
    ----------
    n_uniform : int
        Number of uniforms that make one point.

    Examples
    --------
    Any object that moves uniforms and says by how much it thins them. u² has density 1/(2√v) at v:

    >>> import numpy as np, mcvar
    >>> from mcvar.targets import Warped, Warping, as_target
    >>> class Square:
    ...     n_uniform = 1
    ...     def __call__(self, u):
    ...         return Warping(u**2, 2 * u[:, 0])
    >>> target = Warped(as_target([(0, 1)]), Square())
    >>> est = mcvar.estimate(lambda x: 1 / np.sqrt(x[:, 0]), target, n=4096, rng=1)
    >>> abs(est.value - 2) < 1e-6      # the warp has made a constant of it
    True
    """

    n_uniform: int

    def __call__(self, u: FloatArray) -> Warping:
        """Move uniforms ``u (n, n_uniform)``."""


class Warped(Target):
    """A target whose uniforms pass through a warp first; weights keep expectations unchanged.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> from mcvar.targets import Warped, Warping, as_target
    >>> class Mirror:
    ...     n_uniform = 1
    ...     def __call__(self, u):
    ...         return Warping(1 - u)
    >>> Warped(as_target([(0, 4)]), Mirror()).from_uniform(np.array([[0.25]])).tolist()
    [[3.0]]
    """

    def __init__(self, base: Target, warp: Warp) -> None:
        self.base = base
        self.warp = warp
        self.ndim = base.ndim
        self.mass = base.mass
        self.self_normalized = base.self_normalized
        self.weights_average_one = base.weights_average_one

    def __repr__(self) -> str:
        return f"Warped({self.base!r}, {type(self.warp).__name__})"

    @property
    def n_uniform(self) -> int:
        """As the warp's."""
        return self.warp.n_uniform

    @property
    def log_scale(self) -> float:
        """As the base's: log of the factor by which its weights were divided."""
        return float(getattr(self.base, "log_scale", 0.0))

    def from_uniform(self, u: FloatArray) -> FloatArray:
        """Return the base's points at the moved uniforms."""
        return self.base.from_uniform(self.warp(u).u)

    def transport(self, u: FloatArray) -> Draws:
        """Return the base's draws at the moved uniforms, with both weights multiplied."""
        moved = self.warp(u)
        draws = self.base.transport(moved.u)
        weights = draws.weights
        if moved.weights is not None:
            weights = moved.weights if weights is None else weights * moved.weights
        return Draws.unchecked(
            x=draws.x,
            weights=weights,
            zero_mean=moved.zero_mean,
            self_normalized=draws.self_normalized,
        )

    def logpdf(self, x: FloatArray) -> FloatArray:
        """Log density of the base."""
        return self.base.logpdf(x)

    def basis(self) -> ProductBasis | None:
        """Return the base's basis, where it belongs to the target rather than to its draws."""
        basis = self.base.basis()
        return None if basis is None or basis.of_draws else basis
