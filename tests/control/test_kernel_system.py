"""Kernel systems against dense algebra: leaving out groups, and shifts of one matrix."""

import numpy as np
import pytest

from mcvar.control.kernel_system import leave_out, solve_scaled


def smooth(n, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, 2))
    kernel = np.exp(-((x[:, np.newaxis] - x) ** 2).sum(axis=2))
    return x, kernel


def dense(a, phi, y):
    inverse = np.linalg.inv(a)
    beta = np.linalg.solve(phi.T @ inverse @ phi, phi.T @ inverse @ y)
    return beta, inverse @ (y - phi @ beta)


@pytest.mark.parametrize("groups", [np.arange(30), np.arange(30) // 2, np.arange(30)[::-1] % 11])
def test_leaving_out_groups(groups):
    x, kernel = smooth(30)
    noise = np.random.default_rng(1).uniform(0.05, 0.2, 30)
    phi, y = np.column_stack([np.ones(30), x]), np.sin(x[:, 0]) + x[:, 1] ** 2
    left = leave_out(lambda: np.tril(kernel), noise, phi, y, groups)
    for group in np.unique(groups):
        out = groups == group
        a = kernel[np.ix_(~out, ~out)] + np.diag(noise[~out])
        beta, dual = dense(a, phi[~out], y[~out])
        residual = y[out] - phi[out] @ beta - kernel[np.ix_(out, ~out)] @ dual
        np.testing.assert_allclose(left.residual[out], residual, rtol=1e-8, atol=1e-10)
        moved = left.beta - left.influence[:, out] @ left.residual[out]
        np.testing.assert_allclose(moved, beta, rtol=1e-8)


@pytest.mark.parametrize("n", [2, 3, 64, 130])
def test_shifts_of_one_matrix(n):
    _, kernel = smooth(n)
    rng = np.random.default_rng(2)
    z, scales = rng.normal(size=(n, 3)), np.array([300.0, 1.0, 0.0])
    phi = np.ones((n, 1)) / np.sqrt(n)
    found = solve_scaled(lambda: np.tril(kernel), scales, phi, z)
    for j, scale in enumerate(scales):
        beta, dual = dense(scale * kernel + np.eye(n), phi, z[:, j])
        np.testing.assert_allclose(found.beta[:, j], beta, rtol=1e-9)
        np.testing.assert_allclose(found.dual[:, j], dual, rtol=1e-8, atol=1e-10)
    assert found.condition > 1


def test_a_ridge_lost_in_rounding_is_told():
    x, _ = smooth(60)
    kernel = np.exp(-((x[:, np.newaxis] - x) ** 2).sum(axis=2) / 50)  # of rank 20 or so
    z = np.ones((60, 1))
    assert solve_scaled(lambda: np.tril(kernel), np.array([1e20]), z / np.sqrt(60), z) is None
