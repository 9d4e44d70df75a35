"""Integrals with exact values, one for every kind of target."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import exp, pi, sqrt
from typing import Any

import numpy as np
from scipy import integrate, special, stats

import mcvar
from mcvar.samplers import Sobol
from mcvar.targets import as_target

INF = np.inf


@dataclass(eq=False)
class Problem:
    """Integrals of the m columns of f over a target, with their exact values."""

    target: Any
    f: Callable[[np.ndarray], np.ndarray]
    exact: np.ndarray
    log_normalizer: float | None = None

    @cached_property
    def variance(self) -> np.ndarray:
        """Variance of one evaluation of plain Monte Carlo: under the target's own law, or (for
        infinite boxes, which have none) of weight times value."""
        target = as_target(self.target)
        draws = target.transport(Sobol(2).draw([(0, 1)] * target.n_uniform, 2**16, rng=0).x)
        values = self.f(draws.x)
        if target.self_normalized:
            share = draws.weights / draws.weights.sum()
            return share @ (values - share @ values) ** 2
        weights = 1.0 if draws.weights is None else draws.weights[:, None]
        return (weights * values).var(axis=0) * target.mass**2


def _box(x):
    return np.stack(
        [
            np.exp(-x[:, 0] + x[:, 1] * x[:, 2]),
            np.cos(x[:, 0] + 2 * x[:, 1]),
            x[:, 0] + x[:, 1] < 0.7,
        ],
        axis=1,
    )


def _half(x):
    gauss = np.exp(-(x[:, 0] ** 2) / 2 - x[:, 1])
    return np.stack([gauss, x[:, 1] ** 2 * gauss], axis=1)


def _normal(x):
    return np.stack([x[:, 0] * x[:, 1], np.exp(0.5 * (x[:, 0] + x[:, 2])), x[:, 0] > 0.2], axis=1)


def _marginals(x):
    return np.stack([x[:, 0] * x[:, 2] + x[:, 1], np.exp(-x[:, 0]) * x[:, 2], x[:, 1] > 1], axis=1)


def _line(x):
    return np.stack([x[:, 0] ** 2, np.cos(x[:, 0])], axis=1)


_COV = np.array([[1.0, 0.3, 0.0], [0.3, 2.0, -0.4], [0.0, -0.4, 0.5]])
_SPREAD = 0.8
_INNER = integrate.quad(lambda v: 2 * np.sinh(v) / v if v else 2.0, 0, 0.5)[0]

PROBLEMS = {
    "box": Problem(
        [(0, 2), (-1, 1), (0, 0.5)],
        _box,
        np.array(
            [
                (1 - exp(-2)) * _INNER,
                # The real part of a product of integrals of complex exponentials.
                ((np.exp(2j) - 1) / 1j * (np.exp(2j) - np.exp(-2j)) / 2j).real * 0.5,
                1.7**2 / 2 * 0.5,
            ]
        ),
    ),
    "infinite box": Problem(
        [(-INF, INF), (0, INF)], _half, np.array([sqrt(2 * pi), 2 * sqrt(2 * pi)])
    ),
    "norm": Problem(stats.norm(1, 2), _line, np.array([1 + 4, np.cos(1) * exp(-2.0)])),
    "multivariate normal": Problem(
        stats.multivariate_normal([0.5, -1.0, 0.0], _COV),
        _normal,
        np.array([-0.5 + 0.3, exp(0.25 + 0.125 * 1.5), special.ndtr(0.3)]),
    ),
    "marginals": Problem(
        [stats.gamma(2), stats.t(5), stats.beta(2, 3)],
        _marginals,
        np.array([2 * 0.4, 0.25 * 0.4, stats.t(5).sf(1)]),
    ),
    "unnormalized": Problem(
        mcvar.Unnormalized(
            lambda x: 3 - (x[:, 0] - 1) ** 2 / (2 * _SPREAD**2), proposal=stats.t(5)
        ),
        lambda x: np.stack([x[:, 0], x[:, 0] ** 2], axis=1),
        np.array([1.0, 1 + _SPREAD**2]),
        log_normalizer=3 + np.log(_SPREAD * sqrt(2 * pi)),
    ),
}
