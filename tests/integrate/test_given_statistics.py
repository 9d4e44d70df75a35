"""Estimates from draws that exist: every design's error bar holds, and agrees with its twin."""

import functools

import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar.control import KnownMean, Polynomial
from mcvar.integrate.crossfit import cross_fit, fold_labels
from mcvar.integrate.means import spread
from mcvar.integrate.values import Measure
from tests import naive
from tests.harness import check_coverage, check_never_worse, check_unbiased

N, REPEATS = 1000, 100
BASIS = mcvar.targets.Normal([0.0, 0.0]).basis()


def f(x):
    return np.stack([x[:, 0] ** 2 + x[:, 1], np.exp(0.4 * x[:, 0] - 0.3 * x[:, 1])], axis=1)


EXACT = np.array([1.0, np.exp(0.125)])
VARIANCE = np.array([3.0, np.exp(0.5) - np.exp(0.25)])
LINEAR = KnownMean(lambda x: x, [0.0, 0.0])


def ordinary():
    """scikit-learn's ridge with the mean of its prediction under a standard normal law."""
    from sklearn.linear_model import Ridge

    class KnownRidge(Ridge):
        def fit(self, X, y):
            super().fit(X, y)
            self.mean_ = self.intercept_
            return self

    return KnownRidge(1e-6)


def independent(rng):
    return mcvar.Draws(rng.standard_normal((N, 2)))


def weighted(rng):
    x = rng.standard_normal((N, 2)) * 1.3
    ratio = stats.norm.pdf(x) / stats.norm.pdf(x, 0, 1.3)
    return mcvar.Draws(x, weights=ratio.prod(axis=1))


def self_normalized(rng):
    draws = weighted(rng)
    return mcvar.Draws(draws.x, weights=7e5 * draws.weights, self_normalized=True)


def stratified(rng):
    u = rng.random((N, 2))
    labels = np.arange(N) // 10
    u[:, 0] = (labels + u[:, 0]) / (N // 10)
    order = rng.permutation(N)
    return mcvar.Draws(stats.norm.ppf(u)[order], strata=labels[order])


def replicated(rng):
    return mcvar.samplers.Sobol(16).draw(stats.multivariate_normal([0, 0]), 1024, rng=rng)


def chains(rng, rho=0.7, steps=2744):  # 14 batches of 14² draws
    x = np.empty((4, steps, 2))
    x[:, 0] = rng.standard_normal((4, 2))
    noise = rng.standard_normal((4, steps, 2)) * np.sqrt(1 - rho**2)
    for t in range(1, steps):
        x[:, t] = rho * x[:, t - 1] + noise[:, t]
    return mcvar.Draws(x.reshape(-1, 2), chain=np.repeat(np.arange(4), steps))


DESIGNS = [independent, weighted, self_normalized, stratified, replicated]


def cached(make, control):
    @functools.cache
    def run(seed):
        draws = make(np.random.default_rng(seed))
        return mcvar.estimate(f, draws, control=control, folds=5)

    return run


@pytest.mark.parametrize("control", [None, LINEAR, ordinary()], ids=["none", "known", "sklearn"])
@pytest.mark.parametrize("make", DESIGNS)
def test_designs(make, control):
    run = cached(make, control)
    check_unbiased(run, EXACT, REPEATS)
    check_coverage(run, EXACT, 0.92, REPEATS)
    bound = 2.0 if make in (weighted, self_normalized) else 1.0
    check_never_worse(run, EXACT, VARIANCE / N, bound, REPEATS)


@pytest.mark.parametrize("penalty", [None, "ridge", "lasso"])
def test_polynomial_in_a_basis_of_the_users(penalty):
    run = cached(independent, Polynomial(2, penalty, basis=BASIS))
    check_unbiased(run, EXACT, 40)
    check_coverage(run, EXACT, 0.92, 40)
    ratio = check_never_worse(run, EXACT, VARIANCE / N, 1.0, 40)
    assert ratio[0] < 1e-4


@pytest.mark.parametrize("control", [None, LINEAR], ids=["none", "known"])
def test_chains_with_autocorrelation(control):
    run = cached(chains, control)
    repeats = 60
    check_unbiased(run, EXACT, repeats)
    check_coverage(run, EXACT, 0.90, repeats)
    # Independent draws would have a ninth to a fourth of that variance: the bar must know.
    ess = np.mean([run(seed).ess for seed in range(repeats)])
    assert 0.10 * 10_000 < ess < 0.3 * 10_000


def test_ignoring_autocorrelation_is_caught_by_the_harness():
    @functools.cache
    def run(seed):
        draws = chains(np.random.default_rng(seed))
        return mcvar.estimate(f, mcvar.Draws(draws.x), control=None)

    with pytest.raises(AssertionError, match="intervals cover"):
        check_coverage(run, EXACT, 0.90, 60)


def test_known_mean_gains_what_its_correlation_promises():
    est = cached(independent, LINEAR)(0)
    # x² + y has a third of its variance in y.
    assert est.variance_reduction[0] == pytest.approx(1.5, rel=0.15)


def test_antithetic_draws_keep_their_pairs():
    """Handed over as Draws, pairs must not count as independent draws: x² is the same in both."""

    @functools.cache
    def run(seed):
        draws = mcvar.samplers.Antithetic().draw(stats.norm(0, 1), N, rng=seed)
        return mcvar.estimate(lambda x: x[:, 0] ** 2, draws)

    check_coverage(run, 1.0, 0.95, 200)


def assert_covers(found, spread, most):
    """An error bar is at least the spread of the rows, and not much longer where all is well."""
    assert (np.asarray(found) >= np.asarray(spread) * 0.98).all()
    assert (np.asarray(found) <= np.asarray(spread) * most).all()


def test_independent_agrees_with_the_loop_over_folds():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((203, 2))
    fit = cross_fit(LINEAR, mcvar.Draws(x), f(x), np.arange(203) % 4, Measure())
    mean, error = naive.cross_fit(f(x), x, np.arange(203) % 4)
    np.testing.assert_allclose(fit.rows.mean(axis=0), mean, rtol=1e-12)
    # Out-of-fold residuals are centred at one mean here, fold by fold there.
    np.testing.assert_allclose(stats.sem(fit.rows), error, rtol=0.02)


def test_replicates_agree_with_the_loop_over_replicates():
    draws = replicated(np.random.default_rng(1))
    fit = cross_fit(LINEAR, draws, f(draws.x), fold_labels(draws, 5), Measure())
    mean, error = naive.replicate_cross_fit(f(draws.x), draws.x, draws.replicate)
    np.testing.assert_allclose(fit.rows.mean(axis=0), mean, rtol=1e-12)
    found = np.sqrt(spread(fit.rows, draws).variance)
    np.testing.assert_allclose(found, error, rtol=1e-9)


def test_strata_agree_with_the_loop_over_strata():
    draws = stratified(np.random.default_rng(1))
    est = mcvar.estimate(f(draws.x)[:, 0], draws, control=None)
    mean, error = naive.stratified(f(draws.x)[:, 0], draws.strata)
    assert est.value == pytest.approx(mean, rel=1e-12)
    assert_covers(est.standard_error, error, most=1.1)


def test_chains_agree_with_the_sum_of_autocovariances():
    draws = chains(np.random.default_rng(1), steps=301)
    y = f(draws.x)[:, 0]
    est = mcvar.estimate(y, draws, control=None)
    mean, error = naive.lag_window(y, draws.chain)
    assert est.value == pytest.approx(mean, rel=1e-12)
    assert_covers(est.standard_error, error, most=1.3)
    covariance = mcvar.estimate(f, draws, control=None, covariance=True).covariance
    assert_covers(np.sqrt(covariance[0, 0]), error, most=1.3)


def test_chains_that_disagree_are_suspect_and_others_are_not():
    draws = chains(np.random.default_rng(3))
    assert mcvar.estimate(f, draws, control=None).status == "completed"
    shifted = mcvar.Draws(draws.x + (draws.chain == 2)[:, None], chain=draws.chain)
    est = mcvar.estimate(f, shifted, control=None)
    assert est.status == "suspect"
    assert "not mixed" in est.reasons[0]


def test_short_chains_are_rarely_called_unmixed():
    """Two tests with a false-alarm probability of 1e-3 each, also where batches are few."""
    alarms = 0
    for seed in range(1500):
        rng = np.random.default_rng(seed)
        draws = mcvar.Draws(rng.standard_normal(36), chain=np.repeat(np.arange(4), 9))
        alarms += mcvar.estimate(draws.x[:, 0], draws, control=None).status == "suspect"
    assert alarms <= stats.binom.isf(1e-6, 1500, 2e-3)


def test_weights_match_the_textbook_ratio():
    draws = self_normalized(np.random.default_rng(2))
    values, w = f(draws.x), draws.weights
    est = mcvar.estimate(f, draws, control=None)
    expected = w @ values / w.sum()
    np.testing.assert_allclose(est.value, expected, rtol=1e-12)
    error = np.sqrt((w**2) @ (values - expected) ** 2) / w.sum()
    assert_covers(est.standard_error, error, most=1.1)
    assert est.ess == pytest.approx(w.sum() ** 2 / (w @ w))
