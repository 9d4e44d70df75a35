"""Orthonormal polynomials against SciPy's, and their orthonormality by Gauss quadrature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

import mcvar
from mcvar.targets import Family, ProductBasis
from mcvar.targets.basis import n_total_degree, total_degree_indices
from tests import naive

FAMILIES = [
    Family("legendre"),
    Family("hermite"),
    Family("laguerre", (0.0,)),
    Family("laguerre", (2.7,)),
    Family("laguerre", (-0.6,)),
    Family("jacobi", (0.0, 0.0)),
    Family("jacobi", (1.5, 0.3)),
    Family("jacobi", (-0.5, -0.5)),
    Family("jacobi", (-0.4, -0.55)),
    Family("jacobi", (3.0, -0.5)),
]


def quadrature(family, n):
    """Gauss nodes and weights of the law of a family."""
    rules = {
        "legendre": lambda: special.roots_legendre(n),
        "hermite": lambda: special.roots_hermitenorm(n),
        "laguerre": lambda: special.roots_genlaguerre(n, *family.parameters),
        "jacobi": lambda: special.roots_jacobi(n, *family.parameters),
    }
    nodes, weights = rules[family.name]()
    return nodes, weights / weights.sum()


def up_to(family, degree, t):
    basis = ProductBasis(lambda x: x, (family,))
    return basis.features(t[:, None], tuple((0,) * k for k in range(1, degree + 1)))


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_polynomials_are_scipys(family):
    t = quadrature(family, 9)[0]
    features = up_to(family, 6, t)
    for k in range(1, 7):
        expected = naive.orthonormal(family.name, family.parameters, k, t)
        np.testing.assert_allclose(features[:, k - 1], expected, rtol=1e-9, atol=1e-9)


def assert_orthonormal(family, degree=5):
    t, weights = quadrature(family, degree + 2)
    features = np.column_stack([np.ones(len(t)), up_to(family, degree, t)])
    np.testing.assert_allclose(features.T * weights @ features, np.eye(degree + 1), atol=1e-8)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.floats(-0.9, 20), st.floats(-0.9, 20))
def test_jacobi_is_orthonormal(alpha, beta):
    assert_orthonormal(Family("jacobi", (alpha, beta)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.floats(-0.9, 40))
def test_laguerre_is_orthonormal(alpha):
    assert_orthonormal(Family("laguerre", (alpha,)))


@pytest.mark.parametrize(("ndim", "degree"), [(1, 1), (1, 5), (3, 2), (4, 3), (6, 1)])
def test_indices_are_all_products(ndim, degree):
    indices = total_degree_indices(ndim, degree)
    assert set(indices) == naive.total_degree(ndim, degree)
    assert len(indices) == n_total_degree(ndim, degree)
    assert [len(index) for index in indices] == sorted(len(index) for index in indices)


TARGETS = {
    "box": [(0, 2), (-3, 1)],
    "normal": stats.multivariate_normal([1, 2], [[2, 0.7], [0.7, 1]]),
    "diagonal normal": [stats.norm(1, 2), stats.norm(-1, 0.5)],
    "mixed": [stats.gamma(2.5, 1, 3), stats.beta(2, 0.7, -1, 4)],
    "by distribution function": [stats.t(4, 1, 2), stats.uniform(2, 3)],
    "exponential": [stats.expon(1, 2), stats.lognorm(0.5)],
}


@pytest.mark.parametrize("name", TARGETS)
def test_features_of_a_target_are_orthonormal_under_its_draws(name):
    target = mcvar.targets.as_target(TARGETS[name])
    draws = mcvar.samplers.Sobol(16).draw(TARGETS[name], 2**18, rng=1)
    indices = total_degree_indices(2, 3)
    features = target.basis().features(draws.x, indices)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=5e-3)
    gram = features.T @ features / len(features)
    np.testing.assert_allclose(gram, np.eye(len(indices)), atol=0.2)


@pytest.mark.parametrize("box", [[(-np.inf, np.inf)], [(2, np.inf)], [(-np.inf, 3)]])
def test_features_of_infinite_boxes_average_to_zero_under_the_draws(box):
    target = mcvar.targets.as_target(box)
    draws = mcvar.samplers.Sobol(8).draw(box, 2**12, rng=1)
    basis = target.basis()
    assert basis.of_draws
    features = basis.features(draws.x, total_degree_indices(1, 4))
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-3)


def test_a_subset_of_indices_gives_the_same_columns():
    basis = ProductBasis(lambda x: x, (Family("hermite"),) * 3)
    x = np.random.default_rng(1).standard_normal((50, 3))
    indices = total_degree_indices(3, 4)
    whole = basis.features(x, indices)
    picked = [2, 7, 15, 30, 33]
    part = basis.features(x, tuple(indices[j] for j in picked))
    np.testing.assert_allclose(part, whole[:, picked], rtol=1e-12)
