"""One-dimensional factors of a product target: intervals and SciPy distributions."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcvar._typing import FloatArray
from mcvar.targets.basis import Family

_LEGENDRE = Family("legendre")


@dataclass(frozen=True)
class Interval:
    """Lebesgue measure on (low, high); either side may be infinite.

    A finite interval is drawn from uniformly. An infinite one is drawn from through a rational
    map, with the derivative of the map as the weight: u/(1−u) on a half line,
    (u − ½)/(u(1−u)) on the line. Its tails are those of a Cauchy law, heavier than any
    integrable power the integrand is likely to have.
    """

    low: float
    high: float
    family = _LEGENDRE

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a side of a box needs low < high, got ({self.low}, {self.high}).")
        if self.is_finite and not np.isfinite(self.high - self.low):
            raise ValueError(
                f"({self.low}, {self.high}) is too wide for its length to be a number."
            )

    @property
    def mass(self) -> float:
        """Length where it is finite; 1 where the weights carry the measure."""
        return self.high - self.low if self.is_finite else 1.0

    @property
    def is_finite(self) -> bool:
        """Whether both ends are finite."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def ppf(self, u: FloatArray) -> FloatArray:
        """Map (0, 1) to the interval."""
        if self.is_finite:
            return self.low + (self.high - self.low) * u
        if np.isfinite(self.low):
            return self.low + u / (1 - u)
        if np.isfinite(self.high):
            return self.high - (1 - u) / u
        return np.asarray((u - 0.5) / (u * (1 - u)))

    def weight(self, u: FloatArray) -> FloatArray | None:
        """Derivative of `ppf`, or None where it is constant."""
        if self.is_finite:
            return None
        if np.isfinite(self.low):
            return 1 / (1 - u) ** 2
        if np.isfinite(self.high):
            return 1 / u**2
        inside = u * (1 - u)
        return (0.5 - inside) / inside**2

    def coordinates(self, x: FloatArray) -> FloatArray:
        """Map x to t = 2u − 1 in (−1, 1), uniform under the law points are drawn from."""
        if self.is_finite:
            return (2 * x - (self.low + self.high)) / (self.high - self.low)
        if np.isfinite(self.low):
            return (x - self.low - 1) / (x - self.low + 1)
        if np.isfinite(self.high):
            return (1 - (self.high - x)) / (1 + (self.high - x))
        return np.asarray(x / (1 + np.hypot(1, x)))

    def logpdf(self, x: FloatArray) -> FloatArray:
        """Log density of the uniform law on a finite interval; zero on an infinite one."""
        inside = (x >= self.low) & (x <= self.high)
        return np.where(inside, -np.log(self.mass), -np.inf)


@dataclass(frozen=True)
class Distribution:
    """A one-dimensional distribution of SciPy: frozen (``ppf``) or of the newer kind (``icdf``)."""

    law: Any
    mass = 1.0
    is_finite = True

    def __repr__(self) -> str:
        name = _scipy_name(self.law)
        if not name:
            return repr(self.law)
        arguments = [f"{value:g}" for value in self.law.args]
        arguments += [f"{key}={value:g}" for key, value in self.law.kwds.items()]
        return f"{name}({', '.join(arguments)})"

    def ppf(self, u: FloatArray) -> FloatArray:
        """Quantile function."""
        inverse = self.law.ppf if hasattr(self.law, "ppf") else self.law.icdf
        return np.asarray(inverse(u), dtype=float)

    def weight(self, u: FloatArray) -> None:
        """No weight: points follow the law itself."""
        return

    @property
    def family(self) -> Family:
        """Polynomials orthonormal under `coordinates`."""
        name = self._name
        if name in ("gamma", "expon"):
            return Family("laguerre", (self._gamma()[1] - 1,))
        if name == "beta":
            a, b = self._beta()
            return Family("jacobi", (b - 1, a - 1))
        return _LEGENDRE

    @property
    def _name(self) -> str:
        """Name of the family, where its moments are numbers to tell the parameters from."""
        with np.errstate(over="ignore", invalid="ignore"):
            variance = float(self.law.var()) if hasattr(self.law, "var") else 0.0
        return _scipy_name(self.law) if 0 < variance < np.inf else ""

    def coordinates(self, x: FloatArray) -> FloatArray:
        """Map x to the variable of `family`; 2F(x) − 1 where the law has no family of its own."""
        name = self._name
        if name in ("gamma", "expon"):
            start, _, scale = self._gamma()
            return np.asarray((x - start) / scale)
        if name in ("beta", "uniform"):
            low, high = self.law.support()
            return np.asarray((2 * x - (low + high)) / (high - low))
        return np.asarray(2 * self.law.cdf(x) - 1, dtype=float)

    def logpdf(self, x: FloatArray) -> FloatArray:
        """Log density."""
        if not hasattr(self.law, "logpdf"):
            raise TypeError(f"{self.law!r} has no logpdf, which is needed here.")
        return np.asarray(self.law.logpdf(x), dtype=float)

    def _gamma(self) -> tuple[float, float, float]:
        """Return location, shape and scale."""
        start = float(self.law.support()[0])
        mean, variance = float(self.law.mean()) - start, float(self.law.var())
        scale = variance / mean
        return start, mean / scale, scale

    def _beta(self) -> tuple[float, float]:
        low, high = (float(end) for end in self.law.support())
        mean = (float(self.law.mean()) - low) / (high - low)
        variance = float(self.law.var()) / (high - low) ** 2
        total = mean * (1 - mean) / variance - 1
        return mean * total, (1 - mean) * total


def check_law(dimension: int, law: Any) -> None:
    """Refuse a SciPy law whose parameters are arrays, which is many laws, or are invalid."""
    if not is_distribution(law):
        return
    parameters = [*getattr(law, "args", ()), *getattr(law, "kwds", {}).values()]
    shapes = [np.shape(value) for value in parameters] + [getattr(law, "_shape", ())]
    if any(shapes):
        raise ValueError(
            f"dimension {dimension} of the target is a law with parameters of shape "
            f"{next(shape for shape in shapes if shape)}; expected one law per dimension."
        )
    marginal = Distribution(law)
    with np.errstate(all="ignore"):
        median = float(marginal.ppf(np.array([0.5]))[0])
    if not np.isfinite(median):
        raise ValueError(
            f"dimension {dimension} of the target, {marginal!r}, has the median {median}: its "
            "parameters are invalid; expected those of a distribution."
        )


def is_discrete(law: Any) -> bool:
    """Whether a SciPy law has a probability mass function."""
    return hasattr(law, "pmf") and not hasattr(law, "pdf")


def is_normal(law: Any) -> bool:
    """Whether a SciPy law is the (scaled, shifted) normal."""
    return _scipy_name(law) == "norm"


def is_distribution(law: Any) -> bool:
    """Whether `law` looks like a one-dimensional SciPy distribution with a quantile function."""
    return callable(getattr(law, "ppf", None)) or callable(getattr(law, "icdf", None))


def _scipy_name(law: Any) -> str:
    """Name of a frozen SciPy family such as "gamma"; empty for anything else."""
    return str(getattr(getattr(law, "dist", None), "name", ""))
