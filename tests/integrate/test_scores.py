"""Scores that do not belong to their draws are refused, with the evidence; others pass."""

import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar.integrate.stein_identities import check_scores
from tests import posterior_cases

D = 3


def normal(seed, n=1000):
    x = np.random.default_rng(seed).standard_normal((n, D)) * [1, 5, 0.1] + [0, 3, -1]
    return x, -(x - [0, 3, -1]) / np.array([1, 25, 0.01])


def refused(x, s, match, **labels):
    with pytest.raises(mcvar.ScoreError, match=match):
        check_scores(mcvar.Draws(x, grad_logpdf=s, **labels))


def test_right_scores_pass():
    for seed in range(50):
        x, s = normal(seed, 200)
        check_scores(mcvar.Draws(x, grad_logpdf=s))
        t = np.random.default_rng(seed).standard_t(3, size=(200, 2))
        check_scores(mcvar.Draws(t, grad_logpdf=-4 * t / (3 + t * t)))


def test_cauchy_tails_pass():
    """Bounded test functions: no moment of the draws has to exist."""
    for seed in range(20):
        x = np.random.default_rng(seed).standard_cauchy((500, 1))
        check_scores(mcvar.Draws(x, grad_logpdf=-2 * x / (1 + x * x)))


def test_weighted_draws_pass_by_their_weights_only():
    rng = np.random.default_rng(1)
    x = 1.3 * rng.standard_normal((3000, 1))
    w = (stats.norm.pdf(x) / stats.norm.pdf(x, 0, 1.3))[:, 0]
    check_scores(mcvar.Draws(x, grad_logpdf=-x, weights=w, self_normalized=True))
    refused(x, -x, "times too large")


def test_sign():
    x, s = normal(2)
    refused(x, -s, "Its sign is flipped")


@pytest.mark.parametrize("factor", [0.5, 2.0, 17.0])
def test_scale(factor):
    x, s = normal(3)
    refused(x, factor * s, r"looks [\d.]+ times too large: E \(x - μ\) s' is about -")


def test_constrained_draws_with_unconstrained_scores():
    u = np.random.default_rng(4).standard_normal((1000, D))
    x = u.copy()
    x[:, 1] = np.exp(u[:, 1])
    refused(x, -u, "In coordinate 1 it .* scores on the unconstrained scale")


def test_a_missing_jacobian():
    """log-normal scale σ: the score of log π(σ(u)) without the + u of the Jacobian."""
    u = np.random.default_rng(5).normal(0.5, 0.4, size=(2000, 1))
    refused(u, -(u - 0.5) / 0.16 - 1, "its mean times the standard deviation")


def test_coordinates_in_another_order():
    rng = np.random.default_rng(6)
    root = np.array([[1.0, 0, 0], [0.9, 0.4, 0], [0.0, 0.3, 1.0]])
    x = rng.standard_normal((2000, 3)) @ root.T
    s = -np.linalg.solve(root @ root.T, x.T).T
    check_scores(mcvar.Draws(x, grad_logpdf=s))
    refused(x, s[:, [1, 0, 2]], "score of the law")


def test_rows_in_another_order():
    x, s = normal(7)
    refused(x, s[::-1], "nothing to do with the draws")


def test_a_chain_is_judged_by_its_own_error_bars():
    """Slow chains wander off: what would be evidence from independent draws is none here."""
    rng = np.random.default_rng(8)
    x = np.zeros((400, 1))
    for t in range(1, 400):
        x[t] = 0.98 * x[t - 1] + np.sqrt(1 - 0.98**2) * rng.standard_normal()
    x += 0.4
    check_scores(mcvar.Draws(x, grad_logpdf=-x, chain=np.zeros(400, dtype=int)))


@posterior_cases.needs_data
@pytest.mark.parametrize("name", posterior_cases.NAMES)
def test_real_posteriors(name):
    x, s, *_ = posterior_cases.load(name)
    chain = np.repeat(np.arange(4), 250)
    d = x.shape[2]
    x, s = x[:4, :250].reshape(-1, d), s[:4, :250].reshape(-1, d)
    check_scores(mcvar.Draws(x, grad_logpdf=s, chain=chain))
    refused(x, 1.4 * s, "times too large", chain=chain)
