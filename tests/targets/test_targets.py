"""Targets: how they are read, and that points, weights and densities belong together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import mcvar
from mcvar.targets import MixtureProposal, Normal, Product, as_target
from mcvar.targets.marginals import Interval


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)), min_size=1, max_size=5))
def test_boxes_in_every_form(sides):
    box = [(low, low + width) for low, width in sides]
    forms = [box, tuple(box), np.array(box), [list(side) for side in box]]
    if len(box) == 1:
        forms.append(box[0])
    for form in forms:
        target = as_target(form)
        assert target.ndim == len(box)
        assert target.mass == pytest.approx(np.prod([high - low for low, high in box]))
        x = target.from_uniform(np.full((1, len(box)), 0.25))[0]
        np.testing.assert_allclose(x, [low + 0.25 * (high - low) for low, high in box])


def test_two_sides_are_not_one():
    assert as_target([(0, 1), (2, 3)]).ndim == 2
    assert as_target((0, 1)).ndim == 1


def test_distributions_in_every_form():
    assert as_target(stats.norm(1, 2)).ndim == 1
    assert isinstance(as_target([stats.norm(1, 2), stats.norm(0, 1)]), Normal)
    assert isinstance(as_target([stats.norm(1, 2), (0, 1)]), Product)
    assert as_target(stats.multivariate_normal(np.zeros(3))).ndim == 3
    assert as_target(stats.Normal(mu=1.0, sigma=2.0)).ndim == 1
    assert as_target(stats.wishart(3, np.eye(2))).ndim == 4
    target = Normal(np.zeros(2))
    assert as_target(target) is target


@pytest.mark.parametrize(
    "box", [(-np.inf, np.inf), (1.5, np.inf), (-np.inf, -0.5), (-1.0, 3.0)], ids=str
)
def test_intervals_map_uniforms_onto_lebesgue_measure(box):
    side = Interval(*box)
    u = np.linspace(0.001, 0.999, 501)
    x = side.ppf(u)
    assert (np.diff(x) > 0).all()
    assert ((x > box[0]) & (x < box[1])).all()
    step = 1e-6
    slope = (side.ppf(u + step) - side.ppf(u - step)) / (2 * step)
    weight = side.weight(u)
    np.testing.assert_allclose(slope, side.mass if weight is None else weight, rtol=1e-5)
    np.testing.assert_allclose(side.coordinates(x), 2 * u - 1, atol=1e-12)


@pytest.mark.parametrize("u", [0.0, 2.0**-54, 1 - 2.0**-53])
@pytest.mark.parametrize(
    "target",
    [
        [(-np.inf, np.inf)],
        [(0, np.inf)],
        [(-np.inf, 0)],
        stats.norm(0, 1),
        [stats.gamma(2)],
        [stats.t(3)],
        [(0, 1)],
        stats.multivariate_normal(np.zeros(2)),
    ],
)
def test_extreme_uniforms_stay_finite(target, u):
    goal = as_target(target)
    draws = goal.transport(np.full((1, goal.n_uniform), u))
    assert np.isfinite(draws.x).all()
    if draws.weights is not None:
        assert np.isfinite(draws.weights).all()


@pytest.mark.parametrize(
    "law",
    [
        stats.norm(0, -1),
        stats.gamma(-2),
        stats.beta(0, 1),
        stats.norm(0, np.inf),
        stats.poisson(-1),
    ],
)
def test_invalid_parameters_are_an_error_of_the_target(law):
    message = r"dimension 1 of the target, .*\(.*\), has the median .*parameters are invalid"
    with pytest.raises(ValueError, match=message):
        as_target([(0, 1), law])
    with pytest.raises(ValueError, match="dimension 0 of the target"):
        as_target(law)


LAWS = [
    Normal([1.0, -1.0], [[2.0, 0.5], [0.5, 1.0]]),
    Normal([1.0, -1.0], [0.5, 2.0]),
    as_target([stats.gamma(3), stats.beta(2, 3)]),
    as_target([(0, 2), (1, 4)]),
]


@pytest.mark.parametrize("law", LAWS)
def test_densities_are_those_of_the_points(law):
    """E[g] by drawing equals ∫ g p by quadrature of the density."""

    def g(x):
        return np.cos(x[:, 0]) * np.exp(-(x[:, 1] ** 2))

    est = mcvar.estimate(g, law, n=2**15, rng=1)

    def density(y, x):
        point = np.array([[x, y]])
        return g(point)[0] * np.exp(law.logpdf(point)[0])

    low, high = law.from_uniform(np.array([[1e-9, 1e-9], [1 - 1e-9, 1 - 1e-9]]))
    if isinstance(law, Normal):
        low, high = np.full(2, -9.0), np.full(2, 9.0)
    exact = integrate.dblquad(density, low[0], high[0], low[1], high[1], epsabs=1e-5)[0]
    assert est.value / law.mass == pytest.approx(exact, abs=1e-3)


def test_normal_agrees_with_scipy():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((4, 4))
    cov, mean = root @ root.T, rng.standard_normal(4)
    x = rng.standard_normal((20, 4))
    target = Normal(mean, cov)
    np.testing.assert_allclose(target.logpdf(x), stats.multivariate_normal(mean, cov).logpdf(x))
    z = target.standardize(target.random(50_000, rng).x)
    np.testing.assert_allclose(np.cov(z.T), np.eye(4), atol=0.03)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.03)


@pytest.mark.parametrize(
    ("mean", "cov", "message"),
    [
        ([0, 0], [[1, 0.5], [0.4, 1]], "not symmetric"),
        ([0, 0], [[1, 2], [2, 1]], "not positive semi-definite"),
        ([0, 0], [1, -1], "negative variance"),
        ([0, 0], np.eye(3), r"\(2,\) and cov \(3, 3\)"),
        ([0, np.nan], 1.0, "mean holds nan"),
    ],
)
def test_normal_refuses(mean, cov, message):
    with pytest.raises(ValueError, match=message):
        Normal(mean, cov)


def test_singular_normal_has_no_density():
    with pytest.raises(TypeError, match="singular"):
        Normal([0, 0], np.ones((2, 2))).logpdf(np.zeros((1, 2)))


def test_mixture_weights_are_likelihood_ratios_and_bounded():
    target = Normal([0.0])
    mixture = MixtureProposal(target, [target, Normal([3.0]), Normal([-2.0], 0.1)], [0.2, 0.5, 0.3])
    for draws in (
        mixture.random(20_000, np.random.default_rng(1)),
        mixture.transport(mcvar.samplers.Sobol(2).draw([(0, 1)] * 2, 2**14, rng=1).x),
    ):
        assert draws.weights.mean() == pytest.approx(1, abs=0.03)
        assert draws.weights.max() <= 1 / 0.2 + 1e-9
        np.testing.assert_allclose(draws.zero_mean.mean(axis=0), 0, atol=0.05)
        np.testing.assert_allclose(draws.zero_mean @ mixture.shares, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("shares", "message"),
    [([0.5], "2 positive"), ([0.5, 0.6], "sum to 1"), ([1.0, 0.0], "positive")],
)
def test_mixture_refuses(shares, message):
    with pytest.raises(ValueError, match=message):
        MixtureProposal(Normal([0.0]), [Normal([0.0]), Normal([1.0])], shares)


def test_a_target_of_ones_own_needs_two_things():
    class Half(mcvar.Target):
        ndim = 1

        def from_uniform(self, u):
            return u / 2

    est = mcvar.estimate(lambda x: x[:, 0], Half(), n=2048, rng=1)
    assert est.value == pytest.approx(0.25, abs=1e-3)
    with pytest.raises(TypeError, match="Half has no logpdf"):
        mcvar.estimate(lambda x: x[:, 0], Half(), sampler=mcvar.samplers.Importance([(0, 1)]))
    with pytest.raises(TypeError, match="no orthonormal basis"):
        mcvar.estimate(lambda x: x[:, 0], Half(), control=mcvar.control.Polynomial(2))
