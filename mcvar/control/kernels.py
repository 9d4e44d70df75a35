"""Base kernels of Stein kernels: Gaussian, Matérn, rational quadratic, and two more.

Each is a function κ of ``t = |x − y|²/ℓ²``, with ℓ the length-scale, and knows its derivatives; a
`Product` also damps far points. A kernel of your own is a frozen dataclass with the same two
methods: see `BaseKernel`. Where the length-scale is left out, the control that uses the kernel
chooses it.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from mcvar._checks import as_number
from mcvar._typing import FloatArray
from mcvar.exceptions import MagnitudeError

__all__ = [
    "BaseKernel",
    "Gaussian",
    "InverseMultiquadric",
    "Matern",
    "Product",
    "RationalQuadratic",
]

_K = TypeVar("_K", bound="BaseKernel")
# Polynomials of u^ν K_ν(u) e^u √(2/π) at ν = 1/2, 3/2, ...: reverse Bessel polynomials.
_BESSEL = ((1,), (1, 1), (3, 3, 1), (15, 15, 6, 1), (105, 105, 45, 10, 1))
_LEAST = 1e-20  # of parameters, and one over it the most: beyond, powers of them overflow
_NEAR_ZERO = 1e-60


class BaseKernel(Protocol):
    """What a Stein kernel is built from: a frozen dataclass with these methods.

    Examples
    --------
    κ = e^−t, by hand:

    >>> import dataclasses, numpy as np, mcvar
    >>> @dataclasses.dataclass(frozen=True)
    ... class Mine:
    ...     length_scale: float | None = None
    ...     def profile(self, t, out):
    ...         for n in range(len(out)):
    ...             out[n] = (-1) ** n * np.exp(-t)
    ...     def damping(self, x):
    ...         return None
    >>> x = np.random.default_rng(1).normal(size=(50, 1))
    >>> mine, theirs = (mcvar.control.SteinKernel(kernel).fit(x, x[:, 0] ** 4, -x)
    ...                 for kernel in (Mine(), mcvar.control.kernels.Gaussian()))
    >>> bool(np.isclose(mine.mean_, theirs.mean_))
    True
    """

    @property
    def length_scale(self) -> float | None:
        """The length-scale ℓ, or None where it is to be chosen."""

    def profile(self, t: FloatArray, out: FloatArray) -> None:
        """Write κ and its derivatives with respect to t to ``out (1 + derivatives, *t.shape)``."""

    def damping(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Return g (n,), ∇ log g (n, d) and Δg/g (n,), or None where the kernel is κ alone."""


@dataclass(frozen=True)
class _Radial:
    length_scale: float | None = None

    def __post_init__(self) -> None:
        _check_positive(self, "length_scale", optional=True)

    def damping(self, x: FloatArray) -> None:
        """Return nothing: the kernel depends on the distance alone."""


@dataclass(frozen=True)
class Gaussian(_Radial):
    """exp(−|x − y|²/ℓ²).

    Parameters
    ----------
    length_scale : float, optional
        ℓ, in units of the standardised draws where the control standardises them.

    References
    ----------
    Oates, Girolami & Chopin, "Control functionals for Monte Carlo integration", JRSS B 79 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.control.kernels import Gaussian
    >>> out = np.empty((2, 3))
    >>> Gaussian(1.0).profile(np.array([0.0, 1.0, 4.0]), out)   # at t = |x − y|²/ℓ²
    >>> out[0].round(4).tolist()
    [1.0, 0.3679, 0.0183]
    """

    def profile(self, t: FloatArray, out: FloatArray) -> None:
        """Write κ = e^−t and its derivatives."""
        np.negative(t, out=out[0])
        np.exp(out[0], out=out[0])
        for n in range(1, len(out)):
            np.negative(out[n - 1], out=out[n])


@dataclass(frozen=True)
class Matern(_Radial):
    """Matérn's kernel at ν = 5/2 or 9/2.

    Parameters
    ----------
    length_scale : float, optional
    nu : {2.5, 4.5}
        Smoothness. The rougher one suits integrands with kinks.

    References
    ----------
    Rasmussen & Williams, *Gaussian Processes for Machine Learning* (2006), eq. 4.16.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> from mcvar.control.kernels import Matern
    >>> x = np.random.default_rng(1).normal(size=(200, 1))
    >>> control = mcvar.control.SteinKernel(Matern(nu=4.5)).fit(x, np.cos(x[:, 0]), -x)
    >>> bool(abs(control.mean_ - np.exp(-1 / 2)) < 1e-3)
    True
    """

    nu: float = 2.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nu not in (2.5, 4.5):
            raise ValueError(f"nu must be 2.5 or 4.5, got {self.nu!r}.")

    def profile(self, t: FloatArray, out: FloatArray) -> None:
        """Write κ and its derivatives: dB_p/d(u²) = −B_{p−1}/2 for B_p = u^ν K_ν(u)."""
        u = np.sqrt(2 * self.nu * t)
        decay = np.exp(-u)
        top = int(self.nu - 0.5)
        factor = 1.0 / _BESSEL[top][0]
        for n in range(len(out)):
            np.multiply(_bessel(top - n, u), decay, out=out[n])
            out[n] *= factor
            factor *= -self.nu


def _bessel(p: int, u: FloatArray) -> FloatArray:
    if p >= 0:
        return np.asarray(np.polynomial.polynomial.polyval(u, _BESSEL[p]))
    # K_−ν is K_ν. Infinite at zero, where Stein kernels multiply by powers of the distance and
    # have the limit 0.
    u = np.maximum(u, _NEAR_ZERO)
    return np.asarray(np.polynomial.polynomial.polyval(u, _BESSEL[-p - 1]) / u ** (-2 * p - 1))


@dataclass(frozen=True)
class RationalQuadratic(_Radial):
    """``(1 + |x − y|²/(2αℓ²))^−α``, a mixture of Gaussian kernels of many length-scales.

    Parameters
    ----------
    length_scale : float, optional
    alpha : float
        Small values mix widely; large ones approach a Gaussian.

    References
    ----------
    Rasmussen & Williams, *Gaussian Processes for Machine Learning* (2006), eq. 4.19.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> from mcvar.control.kernels import RationalQuadratic
    >>> x = np.random.default_rng(1).normal(size=(200, 1))
    >>> control = mcvar.control.SteinKernel(RationalQuadratic(alpha=2.0))
    >>> control = control.fit(x, np.cos(x[:, 0]), -x)
    >>> bool(abs(control.mean_ - np.exp(-1 / 2)) < 1e-3)
    True
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "alpha")

    def profile(self, t: FloatArray, out: FloatArray) -> None:
        """Write κ and its derivatives."""
        _powers(t, 1 / (2 * self.alpha), self.alpha, out)


@dataclass(frozen=True)
class InverseMultiquadric(_Radial):
    """``(1 + |x − y|²/ℓ²)^−β``, whose discrepancy tells convergence of draws.

    Parameters
    ----------
    length_scale : float, optional
    beta : float
        Exponent, in (0, 1) for a discrepancy.

    References
    ----------
    Gorham & Mackey, "Measuring sample quality with kernels", ICML 2017, theorem 8.

    Examples
    --------
    Draws of the target come closer to it the more there are:

    >>> import numpy as np, mcvar
    >>> from mcvar.control.kernels import InverseMultiquadric
    >>> x = np.random.default_rng(1).normal(size=(1000, 1))
    >>> few, all_ = (mcvar.kernel_stein_discrepancy(x[:n], -x[:n], kernel=InverseMultiquadric(1.0))
    ...              for n in (10, 1000))
    >>> bool(all_ < few)
    True
    """

    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "beta")

    def profile(self, t: FloatArray, out: FloatArray) -> None:
        """Write κ and its derivatives."""
        _powers(t, 1.0, self.beta, out)


@dataclass(frozen=True)
class Product(_Radial):
    """exp(−|x − y|²/(2ℓ²)) / ((1 + a|x|²)(1 + a|y|²)): a Gaussian kernel damped far out.

    Parameters
    ----------
    length_scale : float, optional
    a : float
        Damping.

    References
    ----------
    Oates, Girolami & Chopin, "Control functionals for Monte Carlo integration", JRSS B 79
    (2017), section 4.1.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> from mcvar.control.kernels import Product
    >>> x = np.random.default_rng(1).normal(size=(200, 1))
    >>> control = mcvar.control.SteinKernel(Product(a=0.1)).fit(x, np.cos(x[:, 0]), -x)
    >>> bool(abs(control.mean_ - np.exp(-1 / 2)) < 1e-2)
    True
    """

    a: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "a")

    def profile(self, t: FloatArray, out: FloatArray) -> None:
        """Write κ = e^(−t/2) and its derivatives."""
        np.multiply(t, -0.5, out=out[0])
        np.exp(out[0], out=out[0])
        for n in range(1, len(out)):
            np.multiply(out[n - 1], -0.5, out=out[n])

    def damping(self, x: FloatArray) -> Any:
        """Return g = 1/(1 + a|x|²), ∇ log g and Δg/g."""
        squares = np.einsum("ij,ij->i", x, x)
        g = 1 / (1 + self.a * squares)
        slope = -2 * self.a * g[:, np.newaxis] * x
        laplacian = -2 * self.a * x.shape[1] * g + 8 * self.a**2 * squares * g**2
        return g, slope, laplacian


def with_length_scale(kernel: _K, length_scale: float, *, exactly: bool = False) -> _K:
    """Return `kernel` at a length-scale, of four digits: no more can be told from draws.

    What differentiates with respect to it needs the length-scale exactly.
    """
    scale = float(length_scale if exactly else f"{length_scale:.4g}")
    return replace(kernel, length_scale=scale)  # type: ignore[type-var]


def as_kernel(value: Any) -> BaseKernel:
    """Return `value` if it can serve as a base kernel."""
    if isinstance(value, type):
        raise TypeError(
            f"kernel is the class {value.__name__}; give an object, {value.__name__}()."
        )
    missing = [name for name in ("length_scale", "profile", "damping") if not hasattr(value, name)]
    if missing:
        raise TypeError(
            f"kernel must be one of mcvar.control.kernels, such as Gaussian(), got {value!r}, "
            f"which has no {' and no '.join(missing)}."
        )
    kernel: BaseKernel = value
    return kernel


def _powers(t: FloatArray, scale: float, exponent: float, out: FloatArray) -> None:
    """Derivatives of (1 + scale t)^−exponent."""
    base = 1 + scale * t
    np.power(base, -exponent, out=out[0])
    np.divide(1.0, base, out=base)
    for n in range(1, len(out)):
        np.multiply(out[n - 1], base, out=out[n])
        out[n] *= -scale * (exponent + n - 1)


def _check_positive(kernel: Any, name: str, *, optional: bool = False) -> None:
    value = getattr(kernel, name)
    if optional and value is None:
        return
    number = as_number(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be a positive number, got {value!r}.")
    if not _LEAST <= number <= 1 / _LEAST:
        raise MagnitudeError(f"{name} must lie in {_LEAST:.0e} to {1 / _LEAST:.0e}, got {value!r}.")
