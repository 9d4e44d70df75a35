"""Related integrals together: mean absolute errors of joint and scalar Stein controls.

python -m benchmarks.joint [--quick]

The problems are those of Sun, Barp & Briol (ICML 2023): two polynomials with a bump (South et
al.) under one or two normal targets, a step, and the borehole function in two fidelities.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import mcvar

FIRST_SEED = 1000  # of the replications; no choice was made on them


class Problem(NamedTuple):
    """Integrands under independent normals with means and variances of their own, and truths."""

    functions: tuple[Callable[[np.ndarray], np.ndarray], ...]
    means: tuple[np.ndarray, ...]
    variances: tuple[np.ndarray, ...]
    n: int
    exact: np.ndarray

    def tasks(self, seed: int) -> list[tuple[np.ndarray, mcvar.Draws]]:
        """Return values and draws of each task, every task with draws of its own."""
        rng = np.random.default_rng(seed)
        made = []
        for function, mean, variance in zip(
            self.functions, self.means, self.variances, strict=True
        ):
            x = mean + np.sqrt(variance) * rng.standard_normal((self.n, len(mean)))
            made.append((function(x), mcvar.Draws(x, grad_logpdf=-(x - mean) / variance)))
        return made


def south(variance: float, n: int = 50) -> Problem:
    """Two polynomials with a bump; the second task's target has `variance`."""

    def bump(x: np.ndarray) -> np.ndarray:
        return np.sin(np.pi * x) * np.exp(-(x**2))

    return Problem(
        (
            lambda x: (1 + x + x**2 + bump(x))[:, 0],
            lambda x: (1.5 + x + 1.5 * x**2 + 1.75 * bump(x))[:, 0],
        ),
        (np.zeros(1), np.zeros(1)),
        (np.ones(1), np.full(1, variance)),
        n,
        np.array([2.0, 1.5 + 1.5 * variance]),
    )


def step(n: int = 40) -> Problem:
    """A step from −1 to 2, and one from 0 to 1."""
    return Problem(
        (
            lambda x: 0.5 + 1.5 * (2.0 * (x[:, 0] >= 0) - 1),
            lambda x: (x[:, 0] >= 0).astype(float),
        ),
        (np.zeros(1),) * 2,
        (np.ones(1),) * 2,
        n,
        np.array([0.5, 0.5]),
    )


def borehole(n: int) -> Problem:
    """Water flow through a borehole, by a crude formula and by a good one."""

    def flow(x: np.ndarray, front: float, first: float) -> np.ndarray:
        r_w, r, t_u, t_l, h_u, h_l, length, k_w = x.T
        ratio = np.log(r / r_w)
        inner = first + 2 * length * t_u / (ratio * r_w**2 * k_w) + t_u / t_l
        return front * t_u * (h_u - h_l) / (ratio * inner)

    mean = np.array([0.1, 100, 89335, 89.55, 1050, 760, 1400, 10950])
    variance = np.array([0.0161812**2, 0.01, 20, 1, 1, 1, 10, 30])
    return Problem(
        (lambda x: flow(x, 5.0, 1.5), lambda x: flow(x, 2 * np.pi, 1.0)),
        (mean,) * 2,
        (variance,) * 2,
        n,
        np.array([57.994880, 72.878638]),  # randomised QMC, standard error 3e-5
    )


PROBLEMS = {
    "South, s2 = 1": lambda: south(1.0),
    "South, s2 = 1.1": lambda: south(1.1),
    "South, s2 = 1.25": lambda: south(1.25),
    "step": step,
    "borehole, m = 20": lambda: borehole(20),
    "borehole, m = 50": lambda: borehole(50),
}
