"""Moments: the loops' numbers, merged in any way; the regression in them is lstsq's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcvar import Moments
from mcvar.moments import solve_normal_equations, total
from tests import naive

RNG = np.random.default_rng(1)
Y, H = RNG.standard_normal((60, 2)) + 5, RNG.standard_normal((60, 3)) - 2


def close(a, b, rtol=1e-9, scale=1.0):
    assert a.n == b.n
    for name in ("mean", "values", "cross", "features"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("covariance", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_moments_are_those_of_the_loops(covariance, order):
    got = Moments.of(np.array(Y, order=order), np.array(H, order=order), covariance=covariance)
    n, mean, values, cross, features = naive.moments(Y, H)
    assert (got.n, got.m, got.k) == (n, 2, 3)
    np.testing.assert_allclose(got.mean, mean)
    np.testing.assert_allclose(got.values, values if covariance else np.diagonal(values))
    np.testing.assert_allclose(got.cross, cross)
    np.testing.assert_allclose(got.features, features)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 7), min_size=3, max_size=6),
    st.floats(-1e6, 1e6),
    st.booleans(),
    st.integers(0, 10**6),
)
def test_any_split_merges_to_the_whole(sizes, offset, covariance, seed):
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    y, h = rng.standard_normal((n, 2)) + offset, rng.standard_normal((n, 2)) - offset
    ends = np.cumsum(sizes)[:-1]
    parts = [
        Moments.of(a, b, covariance=covariance)
        for a, b in zip(np.split(y, ends), np.split(h, ends), strict=True)
    ]
    whole = Moments.of(y, h, covariance=covariance)
    scale = 1 + abs(offset)
    close(total(parts), whole, scale=scale)
    left, right = (parts[0] + parts[1]) + parts[2], parts[0] + (parts[1] + parts[2])
    close(left, right, scale=scale)


def test_coefficients_and_residuals_are_those_of_lstsq():
    m = Moments.of(Y, H)
    design = np.column_stack([np.ones(60), H])
    beta = np.linalg.lstsq(design, Y, rcond=None)[0]
    np.testing.assert_allclose(m.coefficients(), beta[1:])
    mean, squares = m.residual(m.coefficients())
    np.testing.assert_allclose(mean, beta[0])
    np.testing.assert_allclose(squares, ((Y - design @ beta) ** 2).sum(axis=0))
    full = Moments.of(Y, H, covariance=True).residual(beta[1:])[1]
    left = Y - design @ beta
    np.testing.assert_allclose(full, left.T @ left)


def test_ridge_is_scikit_learns():
    from sklearn.linear_model import Ridge

    expected = Ridge(3.7).fit(H, Y).coef_.T
    np.testing.assert_allclose(Moments.of(Y, H).coefficients(3.7), expected)


@pytest.mark.parametrize("scale", [1e-8, 1, 1e8])
def test_collinear_and_constant_features_fit_as_well(scale):
    h = np.column_stack([H, H @ [1, 2, 3], np.zeros(60), scale * H[:, 0]])
    m = Moments.of(Y, h)
    beta = solve_normal_equations(m.features, m.cross)
    squares = m.residual(beta)[1]
    reference = Moments.of(Y, H)
    np.testing.assert_allclose(squares, reference.residual(reference.coefficients())[1], rtol=1e-6)
    assert np.isfinite(beta).all()
