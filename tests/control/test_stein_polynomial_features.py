"""Langevin features of monomials against a slow twin, and their expectation."""

import numpy as np
import pytest

from mcvar.control.stein_polynomial_features import langevin_indices, stein_features
from tests import naive


@pytest.mark.parametrize(("ndim", "degree"), [(1, 5), (2, 3), (4, 2), (3, 4)])
def test_features_agree_with_the_operator_term_by_term(ndim, degree):
    rng = np.random.default_rng(1)
    x, s = rng.normal(size=(50, ndim)), rng.normal(size=(50, ndim))
    indices = langevin_indices(ndim, degree)
    expected = naive.langevin_features(x, s, indices)
    np.testing.assert_allclose(stein_features(x, s, indices), expected, rtol=1e-12, atol=1e-12)


def test_any_subset_in_any_order():
    rng = np.random.default_rng(2)
    x, s = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    indices = ((0, 1, 2), (2, 2, 2), (1,), (0, 0, 2))
    expected = naive.langevin_features(x, s, indices)
    np.testing.assert_allclose(stein_features(x, s, indices), expected, rtol=1e-12)


def test_blocks_do_not_show():
    rng = np.random.default_rng(3)
    x, s = rng.normal(size=(20_001, 3)), np.asfortranarray(rng.normal(size=(20_001, 3)))
    indices = langevin_indices(3, 3)
    whole = stein_features(x, s, indices)
    parts = [stein_features(x[a : a + 777], s[a : a + 777], indices) for a in range(0, 20_001, 777)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_expectation_is_zero_under_a_normal_law():
    # Gauss-Hermite nodes integrate polynomials of degree 2 * 12 - 1 exactly.
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    x = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)
    w = np.outer(weights, weights).ravel() / weights.sum() ** 2
    root = np.array([[1.0, 0.0], [0.7, 0.5]])
    points = 0.3 + x @ root.T
    s = -np.linalg.solve(root @ root.T, (points - 0.3).T).T
    features = stein_features(points, s, langevin_indices(2, 5))
    assert np.abs(w @ features).max() < 1e-11 * np.abs(features).max()
