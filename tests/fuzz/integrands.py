"""Integrands and laws as users write them, good and bad."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats as ss

import mcvar
from mcvar.targets import Normal, Product


def _quiet(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Silence the warnings of arithmetic in a user's function: they are the user's."""

    def call(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(x)

    return call


#: Functions of points (n, d); the first ones are well behaved.
VECTORIZED = [
    _quiet(f)
    for f in [
        lambda x: x[:, 0],
        lambda x: np.exp(-(x**2).sum(axis=1)),
        lambda x: np.cos(x).sum(axis=1),
        lambda x: np.abs(x[:, 0] - 0.3),
        lambda x: x[:, 0] > 0.5,
        lambda x: np.stack([x[:, 0], np.cos(x[:, 0]), np.ones(len(x))], axis=1),
        lambda x: np.zeros(len(x)),
        lambda x: np.ones(len(x), dtype=int),
        lambda x: np.full((len(x), 2), 1e9),
        lambda x: (1e6 * x[:, 0]).astype(np.int64),
        lambda x: x[:, 0].astype(np.float32),
        lambda x: x[:, 0].astype(np.longdouble),
        lambda x: x[:, 0].tolist(),
        lambda x: 1 / x[:, 0],
        lambda x: 1 / x[:, 0] ** 4,
        lambda x: np.exp(50 * x[:, 0]),
        lambda x: np.exp(700 * x[:, 0]),
        lambda x: 1e300 * x[:, 0],
        lambda x: 1e150 * x[:, 0],
        lambda x: 1e139 * x[:, 0],
        lambda x: 1e-300 * x[:, 0],
        lambda x: 1e-160 * (1 + x[:, 0]),
        lambda x: np.where(x[:, 0] > 0.999, 1e12, 0.0),
        lambda x: np.where(x[:, 0] > 0.9, np.nan, 1.0),
        lambda x: np.where(x[:, 0] > 0.9, np.inf, 1.0),
        lambda x: np.log(x[:, 0]),
        lambda x: np.stack([x[:, 0], 1e-200 * x[:, 0]], axis=1),
        lambda x: x,
        lambda x: x.T,
        lambda x: x[:-1, 0],
        lambda x: x[:, :0],
        lambda x: x[:, 0].reshape(-1, 1, 1),
        lambda x: 1.0,
        lambda x: None,
        lambda x: "values",
        lambda x: x[:, 0].astype(object),
        lambda x: x[:, 0] + 1j,
        lambda x: [None] * len(x),
        lambda x: {"y": x},
        lambda x: np.ma.masked_array(x[:, 0], mask=x[:, 0] > 0.5),
        lambda x: [[1.0], [2.0, 3.0]],
        lambda x: np.zeros(len(x), "datetime64[s]"),
        lambda x: iter(x),
    ]
]

#: Functions of one point (d,), for ``vectorized=False``.
OF_ONE_POINT = [
    _quiet(f)
    for f in [
        lambda x: float(x[0]),
        lambda x: x[0] ** 2,
        lambda x: [x[0], 1.0],
        lambda x: x,
        lambda x: int(x[0] > 0.5),
        lambda x: None,
        lambda x: "one",
        lambda x: np.nan,
        lambda x: x[0] if x[0] > 0.5 else [x[0]],
        lambda x: 1j,
        lambda x: 1e300,
    ]
]


class Odd(mcvar.Target):
    """A target of a user's own, whose map returns what it should not."""

    def __init__(self, ndim: Any, points: Callable[[Any], Any]) -> None:
        self.ndim = ndim
        self._points = points

    def from_uniform(self, u: Any) -> Any:
        """Return points, or not."""
        return self._points(u)


def _unnormalized(logpdf: Any, proposal: Any) -> Callable[[], Any]:
    return lambda: mcvar.Unnormalized(_quiet(logpdf) if callable(logpdf) else logpdf, proposal)


_T = ss.t(4)
_INF = float("inf")

#: Makers of what is passed as a target; the first ones are good.
TARGETS = [
    lambda: [(0, 1)],
    lambda: [(0, 1), (0, 1)],
    lambda: [(-1.0, 2.0), (0, 1e-3), (5, 6)],
    lambda: (0, 1),
    lambda: np.array([[0.0, 1.0], [2.0, 3.0]]),
    lambda: [(-_INF, _INF)],
    lambda: [(0, _INF), (-_INF, 0)],
    lambda: ss.norm(0, 1),
    lambda: ss.norm(1e8, 1e-3),
    lambda: [ss.gamma(2), ss.beta(2, 3)],
    lambda: ss.multivariate_normal([0, 1], [[1, 0.5], [0.5, 2]]),
    lambda: ss.multivariate_normal([0, 1], [[1, 1], [1, 1]], allow_singular=True),
    lambda: ss.multivariate_t([0, 0], np.eye(2), df=3),
    lambda: ss.dirichlet([1, 2, 3]),
    lambda: Normal([0, 1], [1, 4]),
    lambda: Product([(0, 1), ss.expon()]),
    _unnormalized(lambda x: -(x[:, 0] ** 4), _T),
    # The rest makes trouble.
    lambda: [(0, 1)] * 40,
    lambda: [(0, 1e-300)],
    lambda: [(0, 1e300)],
    lambda: [(-1e308, 1e308)],
    lambda: [(1e16, 1e16 + 2)],
    lambda: [(1, 0)],
    lambda: [(0, float("nan"))],
    lambda: [(0, 0)],
    list,
    lambda: [()],
    lambda: [(0, 1, 2)],
    lambda: [(0, 1), 3],
    lambda: [("a", "b")],
    lambda: np.zeros((2, 3)),
    lambda: np.array(3.0),
    lambda: "box",
    lambda: None,
    lambda: 3,
    lambda: {"low": 0, "high": 1},
    lambda: ss.norm,
    lambda: ss.norm(0, -1),
    lambda: ss.norm(np.nan, 1),
    lambda: ss.norm([0, 1], 1),
    lambda: ss.cauchy(),
    lambda: ss.gamma(1e-3),
    lambda: ss.beta(1e-3, 1e-3),
    lambda: ss.gamma(2, scale=1e200),
    lambda: ss.poisson(3),
    lambda: ss.bernoulli(0.2),
    lambda: ss.lognorm(20),
    lambda: ss.pareto(0.5),
    lambda: [ss.poisson(3), (0, 1)],
    lambda: ss.wishart(3, np.eye(2)),
    lambda: Normal([0], [0]),
    lambda: Normal([0, 0], np.zeros((2, 2))),
    lambda: Normal([1e200], [1e-300]),
    lambda: Normal(np.zeros(3), np.full(3, 1e300)),
    lambda: Normal([0, 0], [[1, 2], [2, 1]]),
    lambda: mcvar.Draws([[0.1], [0.2]]),
    lambda: mcvar.samplers.Sobol(),
    _unnormalized(lambda x: -1e6 * (x[:, 0] - 5) ** 2, _T),
    _unnormalized(lambda x: np.where(x[:, 0] > 0, 0.0, -np.inf), _T),
    _unnormalized(lambda x: 1e300 * x[:, 0], _T),
    _unnormalized(lambda x: 1000 + 0 * x[:, 0], _T),
    _unnormalized(lambda x: x[:, 0] * np.nan, _T),
    _unnormalized(lambda x: x[:, 0] ** 2, _T),
    _unnormalized(lambda x: 0.0, _T),
    _unnormalized(lambda x: "p", _T),
    _unnormalized(lambda x: x, _T),
    _unnormalized(3, _T),
    _unnormalized(lambda x: -(x[:, 0] ** 2), [(0, 1)]),
    _unnormalized(lambda x: -(x[:, 0] ** 2), [(0, _INF)]),
    _unnormalized(lambda x: -(x[:, 0] ** 2), ss.poisson(3)),
    _unnormalized(lambda x: -(x[:, 0] ** 2), "t"),
    _unnormalized(lambda x: -(x[:, 0] ** 2), None),
    _unnormalized(lambda x: -(x[:, 0] ** 2), _unnormalized(lambda x: 0 * x[:, 0], _T)),
    lambda: Odd(2, lambda u: u),
    lambda: Odd(1, lambda u: u * np.nan),
    lambda: Odd(1, lambda u: u[:-1]),
    lambda: Odd(1, lambda u: u.astype(object)),
    lambda: Odd(1, lambda u: None),
    lambda: Odd(0, lambda u: u),
    lambda: Odd(-1, lambda u: u),
    lambda: Odd(1.5, lambda u: u),
    lambda: Odd("two", lambda u: u),
    lambda: Odd(2, lambda u: u[:, :1]),
]
GOOD_TARGETS = 17
