"""Integration problems with exact values: the shared test set, and fresh ones of any dimension.

A problem is posed on the unit cube, so that every library can run it; normal variables are made
by their quantile function inside the integrand.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special

DATA = Path(os.environ.get("MCVAR_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class Problem:
    name: str
    d: int
    f: Callable[[np.ndarray], np.ndarray]
    exact: float
    control: tuple[Callable[[np.ndarray], np.ndarray], float] | None = None


def shared() -> list[Problem]:
    """The 30 problems of integration_cases.json; none where the file is absent."""
    path = DATA / "integration_cases.json"
    if not path.exists():
        return []
    return [_from_case(case) for case in json.loads(path.read_text())]


def fresh(seed: int = 2026) -> list[Problem]:
    """Problems of the same families with other parameters, dimensions and difficulties."""
    rng = np.random.default_rng(seed)
    problems = []
    difficulty = {"osc": 9.0, "prod": 7.25, "corner": 1.85, "gauss": 7.03, "c0": 20.4, "disc": 4.3}
    for family, total in difficulty.items():
        for d in (3, 6, 8, 12, 16) if family != "corner" else (3, 6, 8, 12):
            a, w = rng.random(d), rng.random(d)
            a *= total * rng.uniform(0.5, 1.5) / a.sum()
            problems.append(_genz(f"{family}{d}", family, a, w))
    problems += [_keister(d) for d in (4, 8)]
    problems += [_asian(d, 90.0) for d in (12, 32)]
    problems += [_mixture(d, 0.12) for d in (3, 7)]
    problems += [_half_space(d) for d in (5, 10)]
    return problems


def _from_case(case: dict) -> Problem:
    name, d, family = case["name"], case["d"], case["family"]
    exact = float(case["exact"])
    if family.startswith("genz"):
        made = _genz(name, family[5:], np.array(case["a"]), np.array(case["w"]), exact)
    elif family == "keister":
        made = _keister(d, exact)
    elif family == "asian-arithmetic":
        made = _asian(d, case["K"], exact)
    elif family == "ridge":
        made = _ridge(d, case["M"], exact)
    else:
        made = _mixture(d, case["s"], exact)
    return Problem(name, d, made.f, exact, made.control)


def _genz(name: str, family: str, a: np.ndarray, w: np.ndarray, exact: float | None = None):
    d = len(a)
    if family == "osc":

        def f(x):
            return np.cos(2 * np.pi * w[0] + x @ a)

        value = (np.exp(2j * np.pi * w[0]) * np.prod((np.exp(1j * a) - 1) / (1j * a))).real
    elif family == "prod":

        def f(x):
            return 1 / np.prod(a**-2 + (x - w) ** 2, axis=1)

        value = np.prod(a * (np.arctan(a * (1 - w)) + np.arctan(a * w)))
    elif family == "corner":

        def f(x):
            return (1 + x @ a) ** -(d + 1.0)

        value = _corner(a) if exact is None else exact
    elif family == "gauss":

        def f(x):
            return np.exp(-((x - w) ** 2) @ a**2)

        value = np.prod(np.sqrt(np.pi) / (2 * a) * (special.erf(a * (1 - w)) + special.erf(a * w)))
    elif family == "c0":

        def f(x):
            return np.exp(-np.abs(x - w) @ a)

        value = np.prod((2 - np.exp(-a * w) - np.exp(-a * (1 - w))) / a)
    else:

        def f(x):
            return np.exp(x @ a) * (x[:, 0] <= w[0]) * (x[:, 1] <= w[1])

        top = np.ones(d)
        top[:2] = w[:2]
        value = np.prod(np.expm1(a * top) / a)
    return Problem(name, d, f, float(value if exact is None else exact))


def _corner(a: np.ndarray) -> float:
    """Inclusion-exclusion over the corners, in extended precision by math.fsum."""
    import math
    from fractions import Fraction

    a = [Fraction(float(v)) for v in a]
    total = Fraction(0)
    for mask in range(1 << len(a)):
        inside = [v for i, v in enumerate(a) if mask >> i & 1]
        total += (-1) ** len(inside) / (1 + sum(inside, Fraction(0)))
    product = Fraction(1)
    for v in a:
        product *= v
    return float(total / (math.factorial(len(a)) * product))


def _keister(d: int, exact: float | None = None) -> Problem:
    def f(u):
        z = special.ndtri(np.clip(u, 2.0**-54, 1 - 2.0**-53))
        return np.pi ** (d / 2) * np.cos(np.sqrt((z**2).sum(axis=1) / 2))

    if exact is None:
        # Radial quadrature: the norm of a d-dimensional normal has a chi law.
        nodes, weights = np.polynomial.legendre.leggauss(400)
        r = 10 * (nodes + 1)
        density = 2 ** (1 - d / 2) * r ** (d - 1) * np.exp(-(r**2) / 2) / special.gamma(d / 2)
        exact = np.pi ** (d / 2) * float(10 * weights @ (density * np.cos(r / np.sqrt(2))))
    return Problem(f"keister{d}", d, f, exact)


def _asian(d: int, strike: float, exact: float | None = None) -> Problem:
    spot, rate, sigma = 100.0, 0.05, 0.2
    dt = 1.0 / d
    t = dt * np.arange(1, d + 1)

    def paths(u):
        z = special.ndtri(np.clip(u, 2.0**-54, 1 - 2.0**-53))
        return spot * np.exp((rate - sigma**2 / 2) * t + sigma * np.sqrt(dt) * z.cumsum(axis=1))

    def arithmetic(u):
        return np.exp(-rate) * np.maximum(paths(u).mean(axis=1) - strike, 0)

    def geometric(u):
        return np.exp(-rate) * np.maximum(np.exp(np.log(paths(u)).mean(axis=1)) - strike, 0)

    mean = np.log(spot) + (rate - sigma**2 / 2) * t.mean()
    variance = sigma**2 * np.minimum.outer(t, t).mean()
    d1 = (mean - np.log(strike) + variance) / np.sqrt(variance)
    known = np.exp(-rate) * (
        np.exp(mean + variance / 2) * special.ndtr(d1)
        - strike * special.ndtr(d1 - np.sqrt(variance))
    )
    if exact is None:
        exact = _reference(arithmetic, geometric, float(known), d)
    return Problem(f"asian{d}", d, arithmetic, exact, (geometric, float(known)))


def _reference(f, h, known: float, d: int) -> float:
    """Long run of scrambled Sobol' points with the geometric control at slope one."""
    from scipy.stats import qmc

    total = 0.0
    for r in range(16):
        u = qmc.Sobol(d, rng=np.random.default_rng((r, d))).random(2**18)
        total += float(np.mean(f(u) - h(u))) / 16
    return total + known


def _ridge(d: int, m: int, exact: float) -> Problem:
    centres = np.linspace(0.4, 0.6, m)

    def f(x):
        squared = (x**2).sum(axis=1)[:, None] - 2 * np.outer(x.sum(axis=1), centres)
        return (100 / np.pi) ** (d / 2) * np.exp(-100 * (squared + d * centres**2)).mean(axis=1)

    return Problem(f"ridge{d}", d, f, exact)


def _mixture(d: int, s: float, exact: float | None = None) -> Problem:
    def f(x):
        scale = (2 * np.pi * s**2) ** (-d / 2)
        return sum(
            0.5 * scale * np.exp(-((x - c) ** 2).sum(axis=1) / (2 * s**2)) for c in (0.3, 0.7)
        )

    if exact is None:
        exact = float(special.ndtr(0.7 / s) - special.ndtr(-0.3 / s)) ** d
    return Problem(f"mix{d}", d, f, exact)


def _half_space(d: int) -> Problem:
    def f(u):
        return (special.ndtri(np.clip(u, 2.0**-54, 1 - 2.0**-53)).sum(axis=1) > np.sqrt(d)) * 1.0

    return Problem(f"half{d}", d, f, float(special.ndtr(-1.0)))
