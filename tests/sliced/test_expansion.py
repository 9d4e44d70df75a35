"""The expanded Gaussian approximation: its mean, its gradient, and what it costs."""

import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar.sliced import directions
from mcvar.sliced.expansion import (
    Expansion,
    Forms,
    affordable_order,
    covariance_times,
    forms_of,
    inner_product,
)
from mcvar.sliced.gradient import _sum_over_blocks
from mcvar.sliced.projection import Pair, as_cloud


def pair_of(n, m, d, weighted=False, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(0.3, 1.1, size=(m, d))
    a = rng.dirichlet(np.full(n, 5.0)) if weighted else None
    return x, a, Pair(as_cloud("x", x, a), as_cloud("y", y), 2.0)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("n", "d"), [(30, 6), (8, 20)])
@pytest.mark.parametrize("weighted", [False, True])
def test_mean_over_the_sphere(order, n, d, weighted):
    _, _, pair = pair_of(n, n + 3, d, weighted)
    expansion = Expansion(pair, order)
    assert expansion.order == order
    values = expansion.values(forms_of(pair, directions(60_000, d, "montecarlo", rng=1)))
    assert abs(values.mean() - expansion.mean) < 4 * stats.sem(values)


def test_second_order_is_nearer_to_the_gaussian():
    _, _, pair = pair_of(200, 200, 20)
    forms = forms_of(pair, directions(500, 20, "montecarlo", rng=1))
    exact = np.sqrt(forms.var_x * forms.var_y)
    error = [np.std(Expansion(pair, order).product(forms) - exact) for order in (1, 2)]
    assert error[1] < 0.3 * error[0]


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("n", "d"), [(12, 4), (12, 40)])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_by_finite_differences(order, n, d, weighted):
    x, a, _ = pair_of(n, 9, d, weighted)
    y = pair_of(n, 9, d)[2].y
    theta = directions(10, d, "montecarlo", 1)
    share = np.full(10, 0.1)

    def evaluate(points):
        pair = Pair(as_cloud("x", points, a), y, 2.0)
        expansion = Expansion(pair, order)
        values, slope = _sum_over_blocks(pair, theta, share, 1, expansion)
        mass = np.full(n, 1 / n) if a is None else a
        slope = slope + mass[:, np.newaxis] * expansion.mean_slope(values[2].mean())
        return values[0].mean() - values[1].mean() + expansion.mean, slope

    move = np.random.default_rng(5).normal(size=x.shape)
    ahead, behind = (evaluate(x + s * move)[0] for s in (1e-6, -1e-6))
    assert (ahead - behind) / 2e-6 == pytest.approx(np.sum(evaluate(x)[1] * move), rel=1e-6)


@pytest.mark.parametrize("d", [4, 30])
def test_moments_in_the_span_of_the_points(d):
    _, _, pair = pair_of(10, 12, d, weighted=True)
    a, b = pair.x.covariance, pair.y.covariance
    assert inner_product(pair.x, pair.y) == pytest.approx(np.sum(a * b))
    vectors = np.random.default_rng(1).normal(size=(d, 5))
    np.testing.assert_allclose(covariance_times(pair.x, vectors), a @ vectors, atol=1e-12)
    theta = directions(3, d, "montecarlo", 2)
    np.testing.assert_allclose(forms_of(pair, theta).var_x, np.diag(theta @ a @ theta.T))
    with_costs = pair.costs_and_forms(theta)
    np.testing.assert_allclose(with_costs[0], pair.costs(theta), rtol=1e-12)
    np.testing.assert_allclose(with_costs[1:], forms_of(pair, theta), rtol=1e-9)


def test_flat_and_unbalanced_clouds_fall_back_to_the_first_order():
    rng = np.random.default_rng(0)
    point, cloud = np.zeros((3, 4)), rng.normal(size=(9, 4))
    flat = Expansion(Pair(as_cloud("x", point), as_cloud("y", cloud), 2.0), 2)
    assert flat.order == 1
    ones = np.ones(2)
    np.testing.assert_array_equal(flat.product(Forms(ones, ones, ones)), 0)
    lines = [np.outer(rng.normal(size=9), np.eye(4)[k]) for k in (0, 1)]
    crossed = Expansion(Pair(as_cloud("x", lines[0]), as_cloud("y", lines[1]), 2.0), 2)
    assert crossed.order == 1


@pytest.mark.parametrize(("n", "d"), [(40, 300), (60, 1000)])
def test_high_dimension_is_unbiased_and_no_matrix_is_made(n, d):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(n, d)), rng.normal(0.2, 1.3, size=(n, d))
    pair = Pair(as_cloud("x", x), as_cloud("y", y), 2.0)
    costs = pair.costs(directions(4000, d, "montecarlo", rng=1))
    found = [mcvar.sliced_wasserstein(x, y, n=64, rng=seed).power for seed in range(60)]
    value = np.array([est.value for est in found])
    error = np.hypot(value.std() / np.sqrt(60), stats.sem(costs))
    assert abs(value.mean() - costs.mean()) < 4 * error
    assert costs.var() / 64 / value.var() > 5
    assert affordable_order(n, n, 100_000, 128) == 1
    assert not any("covariance" in vars(cloud) for cloud in (pair.x, pair.y))
