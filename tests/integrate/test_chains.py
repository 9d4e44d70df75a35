"""Autocovariances of chains: lag windows, moving sums, correlation lengths."""

import numpy as np
import pytest

from mcvar.integrate.chains import batch_means, correlation_length, lag_window, moving_sums
from tests import naive


def autoregressive(rng, rho, shape):
    x = np.empty(shape)
    x[:, 0] = rng.standard_normal(shape[0])
    noise = rng.standard_normal(shape) * np.sqrt(1 - rho**2)
    for t in range(1, shape[1]):
        x[:, t] = rho * x[:, t - 1] + noise[:, t]
    return x


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.6, 0.95])
def test_variance_of_the_mean_is_that_of_the_process(rho):
    """(1 + ρ)/(1 − ρ) times that of independent draws, within the spread of 60 estimates."""
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(60):
        x = autoregressive(rng, rho, (4, 1000))
        found = lag_window(x.reshape(-1, 1), np.repeat(np.arange(4), 1000))
        ratios.append(found.variance[0] * 4000 * (1 - rho) / (1 + rho))
    assert np.mean(ratios) == pytest.approx(1, abs=0.12)
    assert np.std(ratios) < 0.35


def test_lengths_may_differ_and_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((300, 2)).cumsum(axis=0) * 0.1
    chain = np.repeat([5, 2, 9], [150, 100, 50])
    found = lag_window(rows, chain)
    for j in range(2):
        mean, error = naive.lag_window(rows[:, j], chain)
        assert found.mean[j] == pytest.approx(mean, rel=1e-12)
        assert np.sqrt(found.variance[j]) == pytest.approx(error, rel=1e-9)
    # Chains interleaved, as samplers write them.
    order = np.argsort(
        np.concatenate([np.arange(150), np.arange(100), np.arange(50)]), kind="stable"
    )
    mixed = lag_window(rows[order], chain[order])
    np.testing.assert_allclose(mixed.variance, found.variance, rtol=1e-9)


def test_moving_sums_weigh_products_by_bartletts_window():
    rng = np.random.default_rng(3)
    y, z = rng.standard_normal((40, 1)), rng.standard_normal((40, 2))
    window = 6
    lags = np.abs(np.subtract.outer(np.arange(40), np.arange(40)))
    toeplitz = np.maximum(1 - lags / window, 0)
    yc, zc = y - y.mean(axis=0), z - z.mean(axis=0)
    found = moving_sums(z, window).T @ moving_sums(y, window)
    np.testing.assert_allclose(found, zc.T @ toeplitz @ yc, rtol=1e-10)


def test_correlation_length():
    rng = np.random.default_rng(4)
    x = autoregressive(rng, 0.9, (2, 20_000)).reshape(-1, 1)
    assert correlation_length(x, np.repeat([0, 1], 20_000)) == pytest.approx(19, abs=4)
    assert correlation_length(rng.standard_normal((1000, 1)), np.zeros(1000, dtype=int)) <= 2
    assert correlation_length(np.ones((100, 1)), np.zeros(100, dtype=int)) == 1


def test_chains_too_short_for_lags_are_batches():
    rows = np.random.default_rng(5).standard_normal((12, 1))
    chain = np.repeat(np.arange(4), 3)
    expected = batch_means([rows[i : i + 1] for i in range(12)], False, "batches")
    found = lag_window(rows, chain)
    assert found.mean == pytest.approx(expected.mean)
    assert 0 < found.variance[0] < 1
    with pytest.raises(ValueError, match="one of the batches is not enough"):
        batch_means([rows], False, "batches")
