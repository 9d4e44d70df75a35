"""Choosing a control per value, out of fold: from nothing to kernels, and never to the worse."""

import functools

import numpy as np
import pytest

import mcvar
from mcvar.integrate.select import stein_candidates
from tests.harness import check_never_worse, check_unbiased


def normal(rng, n, d=2, **labels):
    x = rng.standard_normal((n, d))
    return mcvar.Draws(x, grad_logpdf=-x, **labels)


def test_every_value_gets_the_control_that_serves_it():
    draws = normal(np.random.default_rng(1), 300)
    x = draws.x
    noise = np.random.default_rng(2).standard_normal(300)
    values = np.stack([x[:, 0], x[:, 0] * x[:, 1], noise, np.abs(x[:, 0] + x[:, 1])], axis=1)
    alone = [mcvar.estimate(v, draws).control for v in values.T]
    assert alone[0] == "SteinPolynomial(1)"
    assert alone[1] == "SteinPolynomial(2)"
    assert alone[2] == "none"
    assert alone[3].startswith("SteinKernel")
    together = mcvar.estimate(values, draws)
    assert together.control.count(" for 1") == 4
    assert (together.variance_reduction[[0, 1]] > 1e20).all()
    assert together.variance_reduction[2] == pytest.approx(1, abs=0.1)


def test_noise_costs_nothing():
    """Where controls explain nothing, the estimate is the plain mean, or all but that."""

    @functools.cache
    def run(seed):
        rng = np.random.default_rng(seed)
        return mcvar.estimate(rng.standard_normal((100, 3)), normal(rng, 100), folds=3)

    check_unbiased(run, np.zeros(3), 40)
    check_never_worse(run, np.zeros(3), np.full(3, 1 / 100), 1.05, 40)
    plain = sum(run(seed).control == "none" for seed in range(40))
    assert plain > 25


def test_degrees_and_penalties_follow_the_number_of_draws():
    def names(n, d):
        draws = normal(np.random.default_rng(3), n, d)
        return [control.describe() for control in stein_candidates(draws, 5)]

    assert names(30, 2)[:2] == ["SteinPolynomial(1)", "SteinPolynomial(2, 'ridge')"]
    assert names(500, 2)[:3] == [f"SteinPolynomial({q})" for q in (1, 2, 3)]
    assert names(500, 2)[3].startswith("SteinKernel(InverseMultiquadric")
    # In 60 dimensions degree 2 has 1,890 features: too many for 1,000 draws.
    assert names(1000, 60) == [
        "SteinPolynomial(1)",
        "SteinKernel(InverseMultiquadric(), order 1, polynomial of degree 1)",
    ]
    # Kernels stop where their systems would be too large to be worth their time.
    assert not any("Kernel" in name for name in names(30_000, 2))


def test_replicates_and_weights_keep_their_designs():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((512, 2))
    draws = mcvar.Draws(x, grad_logpdf=-x, replicate=np.repeat(np.arange(16), 32))
    est = mcvar.estimate(x[:, 0] ** 2, draws)
    assert est.value == pytest.approx(1, abs=1e-9)
    assert est.df <= 15


def test_more_draws_than_kernels_are_tried_on_are_streamed_through_polynomials():
    draws = normal(np.random.default_rng(5), 100_000, 3)
    est = mcvar.estimate(np.exp(draws.x[:, 0] / 2), draws)
    assert "SteinPolynomial" in est.control
    assert est.value == pytest.approx(np.exp(1 / 8), abs=5 * est.standard_error)
    assert est.variance_reduction > 300


def test_draws_can_be_taken_with_all_that_is_known_of_them():
    draws = normal(np.random.default_rng(6), 20, chain=np.repeat([0, 1], 10))
    part = draws.take(np.array([3, 12]))
    np.testing.assert_array_equal(part.x, draws.x[[3, 12]])
    np.testing.assert_array_equal(part.grad_logpdf, -part.x)
    np.testing.assert_array_equal(part.chain, [0, 1])
    assert part.weights is None


@pytest.mark.parametrize("control", [mcvar.control.SteinPolynomial(2), mcvar.control.SteinKernel()])
def test_draws_that_repeat_are_one_draw_counted_several_times(control):
    """Resampled draws: neither independent ones, nor in a fold and in its fit at once."""
    off, ratio = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((200, 2))
        values = np.exp(x[:, 0] / 2) + x[:, 1] ** 2
        chosen = rng.permutation(np.r_[np.arange(200), rng.integers(0, 200, 400)])
        once = mcvar.estimate(values, mcvar.Draws(x, grad_logpdf=-x), control=control)
        again = mcvar.estimate(
            values[chosen], mcvar.Draws(x[chosen], grad_logpdf=-x[chosen]), control=control
        )
        assert again.n == 600
        ratio.append(again.standard_error / once.standard_error)
        off.append((again.value - np.exp(1 / 8) - 1) / again.standard_error)
    assert 0.7 < np.median(ratio) < 3
    assert np.sqrt(np.mean(np.square(off))) < 2.5


def test_repeats_keep_weights_and_their_normalisation():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((50, 1))
    w = rng.uniform(0.5, 1.5, 50)
    rows = np.r_[np.arange(50), 3, 3, 7]
    for normalized in (True, False):
        draws = mcvar.Draws(
            x[rows], grad_logpdf=-x[rows], weights=w[rows], self_normalized=normalized
        )
        est = mcvar.estimate(x[rows, 0] ** 3, draws, control=None)
        total = w[rows].sum() if normalized else 53
        assert est.value == pytest.approx(w[rows] @ x[rows, 0] ** 3 / total, rel=1e-12)
