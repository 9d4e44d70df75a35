"""The published controls, against their formulas; direction sets, against their laws."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, special, stats

import mcvar
from mcvar.control.cumulant_sliced import cumulant_moments, scaled_cumulants
from mcvar.control.gaussian_sliced import gaussian_cost, mean_root_product
from mcvar.control.spherical_harmonics import harmonics_of_degree, n_harmonics
from mcvar.sliced.controls import PairControls
from mcvar.sliced.crossfit import press
from mcvar.sliced.projection import Pair, as_cloud


def clouds(d=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(80, d)) @ rng.normal(size=(d, d)), rng.normal(0.5, 2.0, size=(60, d))


@pytest.mark.parametrize("bound", ["lower", "upper"])
def test_bounds_of_nguyen_and_ho(bound):
    x, y = clouds()
    theta = mcvar.sliced.directions(40, 5, "montecarlo", rng=0)
    px, py = x @ theta.T, y @ theta.T
    gap = (px.mean(axis=0) - py.mean(axis=0)) ** 2
    expected = gap if bound == "lower" else gap + px.var(axis=0) + py.var(axis=0)
    control = mcvar.control.GaussianSliced(bound).for_clouds(x, y)
    np.testing.assert_allclose(control.features(theta)[:, 0], expected, rtol=1e-12)
    # A frame integrates quadratic forms exactly.
    frame = mcvar.sliced.directions(5, 5, "orthogonal", rng=1)
    np.testing.assert_allclose(control.features(frame).mean(), control.feature_mean()[0])
    # Their estimator: f̄ − γ (C̄ − E C), γ = cov(f, C)/var(C), by least squares as here.
    f = Pair(as_cloud("x", x), as_cloud("y", y), 2.0).costs(theta)
    gamma = np.cov(f, expected)[0, 1] / expected.var(ddof=1)
    published = f.mean() - gamma * (expected.mean() - control.feature_mean()[0])
    assert control.fit(theta, f).mean_ == pytest.approx(published, rel=1e-10)


def test_full_gaussian_control_is_the_distance_between_normals():
    x, y = clouds()
    theta = mcvar.sliced.directions(30, 5, "montecarlo", rng=0)
    px, py = x @ theta.T, y @ theta.T
    expected = (px.mean(axis=0) - py.mean(axis=0)) ** 2 + (px.std(axis=0) - py.std(axis=0)) ** 2
    control = mcvar.control.GaussianSliced().for_clouds(x, y)
    np.testing.assert_allclose(control.features(theta)[:, 0], expected, rtol=1e-10)
    many = mcvar.sliced.directions(200_000, 5, "montecarlo", rng=2)
    values = control.features(many)[:, 0]
    assert abs(values.mean() - control.feature_mean()[0]) < 4 * stats.sem(values)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize(("shift", "spread"), [(0.5, 1.0), (0.0, 2.0), (3.0, 0.0), (9.0, -1.0)])
def test_gaussian_cost_by_quadrature(p, shift, spread):
    found = gaussian_cost(np.array([shift]), np.array([spread]), p)[0]
    edges = [-40.0, -shift / spread if spread else 0.0, 40.0]
    expected = sum(
        integrate.quad(
            lambda z: abs(shift + spread * z) ** p * stats.norm.pdf(z), low, high, limit=500,
            epsabs=1e-13, points=[np.clip(0.0, low, high)],
        )[0]
        for low, high in pairwise(edges)
    )  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-7)


def test_mean_root_product_in_closed_cases():
    for d in (2, 3, 20, 80):
        assert mean_root_product(np.eye(d), 4 * np.eye(d)) == pytest.approx(2.0, rel=1e-12)
    a, b = np.diag([1.0, 0.2]), np.diag([0.1, 3.0])

    def root(angle):
        c, s = np.cos(angle) ** 2, np.sin(angle) ** 2
        return np.sqrt((a[0, 0] * c + a[1, 1] * s) * (b[0, 0] * c + b[1, 1] * s))

    expected = integrate.quad(root, 0, np.pi / 2, epsrel=1e-12)[0] * 2 / np.pi
    assert mean_root_product(a, b) == pytest.approx(expected, rel=1e-11)
    assert mean_root_product(np.zeros((3, 3)), np.eye(3)) == 0
    # E|xy| on the sphere of R^3, both forms of rank one.
    found = mean_root_product(np.diag([1.0, 0, 0]), np.diag([0, 1.0, 0]))
    assert found == pytest.approx(2 / (3 * np.pi), rel=1e-6)


def test_sliced_wasserstein_gaussian_against_directions():
    rng = np.random.default_rng(3)
    root_1, root_2 = rng.normal(size=(2, 6, 6))
    m1, m2, c1, c2 = rng.normal(size=6), np.zeros(6), root_1 @ root_1.T, root_2 @ root_2.T
    theta = mcvar.sliced.directions(120_000, 6, "orthogonal", rng=4)
    spread = np.sqrt(((theta @ c1) * theta).sum(axis=1)) - np.sqrt(
        ((theta @ c2) * theta).sum(axis=1)
    )
    cost = (theta @ (m1 - m2)) ** 2 + spread**2
    found = mcvar.sliced.sliced_wasserstein_gaussian(m1, c1, m2, c2)
    assert abs(found**2 - cost.mean()) < 4 * stats.sem(cost)
    assert mcvar.sliced.sliced_wasserstein_gaussian(m1, c1, m1, c1) == 0
    diagonal = mcvar.sliced.sliced_wasserstein_gaussian(m1, np.ones(6), m2, np.eye(6))
    assert diagonal == pytest.approx(np.linalg.norm(m1) / np.sqrt(6))


@pytest.mark.parametrize(("d", "degree"), [(2, 6), (3, 8), (4, 4), (7, 2)])
def test_harmonics_reproduce_the_addition_theorem(d, degree):
    theta = mcvar.sliced.directions(30, d, "montecarlo", rng=0)
    values = harmonics_of_degree(theta, degree)
    k = values.shape[1]
    # Σ Y_i(θ) Y_i(η) = k C(θ·η) with Gegenbauer's polynomial scaled to 1 at 1 (Müller 1966).
    cosine = theta @ theta.T
    if d == 2:
        zonal = special.eval_chebyt(degree, cosine)
    else:
        index = d / 2 - 1
        zonal = special.eval_gegenbauer(degree, index, cosine)
        zonal /= special.eval_gegenbauer(degree, index, 1.0)
    np.testing.assert_allclose(values @ values.T, k * zonal, atol=1e-9 * k)
    control = mcvar.control.SphericalHarmonics(degree)
    assert control.features(theta).shape == (30, n_harmonics(d, degree))


def test_harmonics_estimate_is_the_intercept_of_leluc_et_al():
    x, y = clouds(3)
    theta = mcvar.sliced.directions(60, 3, "montecarlo", rng=0)
    f = Pair(as_cloud("x", x), as_cloud("y", y), 2.0).costs(theta)
    control = mcvar.control.SphericalHarmonics(4).fit(theta, f)
    # Any basis of the even polynomials gives the same intercept: SciPy's harmonics here.
    polar, azimuth = np.arccos(theta[:, 2]), np.arctan2(theta[:, 1], theta[:, 0])
    columns = [np.ones(60)]
    for degree in (2, 4):
        for order in range(degree + 1):
            value = special.sph_harm_y(degree, order, polar, azimuth)
            columns += [value.real] + ([value.imag] if order else [])
    intercept = np.linalg.lstsq(np.stack(columns, axis=1), f, rcond=None)[0][0]
    assert control.mean_ == pytest.approx(intercept, rel=1e-9)


@pytest.mark.parametrize("degree", [0, 3, 2.5])
def test_harmonics_of_bad_degree(degree):
    with pytest.raises((TypeError, ValueError), match="degree"):
        mcvar.control.SphericalHarmonics(degree).features(np.eye(3))


def test_cumulants_of_a_weighted_cloud():
    rng = np.random.default_rng(5)
    x, weights = rng.exponential(size=(300, 4)), rng.dirichlet(np.ones(300))
    theta = mcvar.sliced.directions(9, 4, "montecarlo", rng=0)
    sigma, skew, tail = scaled_cumulants(cumulant_moments(x.T, weights @ x, weights), theta)
    centred = (x - weights @ x) @ theta.T
    second, third, fourth = (weights @ centred**k for k in (2, 3, 4))
    np.testing.assert_allclose(sigma, np.sqrt(second), rtol=1e-11)
    np.testing.assert_allclose(skew, third / second, rtol=1e-9)
    np.testing.assert_allclose(tail, fourth / second**1.5 - 3 * np.sqrt(second), atol=1e-9)


def test_expectations_over_reference_directions_have_honest_errors():
    x, y = clouds(6)
    pair = Pair(as_cloud("x", x), as_cloud("y", y), 2.0)
    features = [PairControls(pair, root, 64).cumulants() for root in range(60)]
    means = np.stack([feature.mean for feature in features])
    stated = np.mean([np.diagonal(feature.covariance) for feature in features], axis=0)
    # A variance from 60 runs has a relative standard deviation of 0.18.
    np.testing.assert_allclose(means.var(axis=0, ddof=1) / stated, 1, atol=0.7)


def test_press_is_leave_one_out():
    rng = np.random.default_rng(6)
    features, y = rng.normal(size=(25, 4)), rng.normal(size=25)
    beta, error = press(np.column_stack([features, features[:, 0], np.zeros(25)]), y)
    squares = []
    for i in range(25):
        rest = np.arange(25) != i
        design = np.column_stack([np.ones(25), features])
        solution = np.linalg.lstsq(design[rest], y[rest], rcond=None)[0]
        squares.append((y[i] - design[i] @ solution) ** 2)
    assert error == pytest.approx(np.mean(squares), rel=1e-10)
    assert beta[0] == pytest.approx(beta[4])
    assert beta[5] == 0


@pytest.mark.parametrize("kind", ["montecarlo", "orthogonal", "sobol", "spiral", "bank"])
@pytest.mark.parametrize(("n", "d"), [(1, 3), (10, 3), (7, 2), (300, 3), (1, 1), (9, 5)])
def test_directions_are_unit_vectors_and_repeatable(kind, n, d):
    if kind == "spiral" and d > 3:
        pytest.skip("the spiral exists in d <= 3")
    theta = mcvar.sliced.directions(n, d, kind, rng=4)
    assert theta.shape == (n, d)
    np.testing.assert_allclose(np.linalg.norm(theta, axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(theta, mcvar.sliced.directions(n, d, kind, rng=4))


@pytest.mark.parametrize("kind", ["montecarlo", "orthogonal", "sobol", "spiral", "bank"])
def test_directions_are_uniform_in_law(kind):
    # E θ1⁴ = 3/(d(d + 2)) and E θ1²θ2² = 1/(d(d + 2)): z from 400 independent sets.
    sets = [mcvar.sliced.directions(6, 3, kind, rng=seed) for seed in range(400)]
    for moment, expected in (
        (lambda t: t[:, 0] ** 4, 1 / 5),
        (lambda t: t[:, 0] ** 2 * t[:, 2] ** 2, 1 / 15),
        (lambda t: t[:, 1] ** 2, 1 / 3),
    ):
        means = np.array([moment(theta).mean() for theta in sets])
        if means.std() > 1e-12:
            assert abs(means.mean() - expected) < 4 * stats.sem(means) + 1e-12
        else:
            assert means[0] == pytest.approx(expected)


def test_spiral_is_the_published_one():
    theta = mcvar.sliced.directions(50, 3, "spiral", rng=0)
    i = np.arange(1, 51)
    z = 1 - (2 * i - 1) / 50
    phi = 1.8 * np.sqrt(50) * np.arccos(z)
    r = np.sqrt(1 - z**2)
    published = np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1)
    # Turned as a whole: all cosines agree.
    np.testing.assert_allclose(theta @ theta.T, published @ published.T, atol=1e-12)


def test_directions_of_unknown_kind():
    with pytest.raises(ValueError, match="did you mean 'sobol'"):
        mcvar.sliced.directions(3, 3, "soboll")
