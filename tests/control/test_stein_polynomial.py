"""Polynomial Stein controls on draws that exist: exactness, bias, coverage, never worse."""

import functools

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone

import mcvar
from mcvar.control import SteinPolynomial
from mcvar.integrate.crossfit import cross_fit
from mcvar.integrate.values import Measure
from tests import naive
from tests.harness import check_coverage, check_never_worse, check_unbiased

ROOT = np.array([[1.0, 0.0], [-0.8, 0.6]])
CENTRE = np.array([1.0, -2.0])


def normal_draws(rng, n, **labels):
    z = rng.standard_normal((n, 2))
    return mcvar.Draws(CENTRE + z @ ROOT.T, grad_logpdf=-np.linalg.solve(ROOT.T, z.T).T, **labels)


def student_draws(rng, n, df=10.0, **labels):
    """Two independent coordinates with Student's law: moments of order four exist, not all."""
    x = rng.standard_t(df, size=(n, 2))
    return mcvar.Draws(x, grad_logpdf=-(df + 1) * x / (df + x * x), **labels)


def moments(x):
    return np.stack([x[:, 0], x[:, 1] ** 2, np.exp(x[:, 0] / 4)], axis=1)


STUDENT_EXACT = np.array([0.0, 1.25])
STUDENT_VARIANCE = np.array([1.25, 6.25 - 1.25**2])


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("penalty", [None, "ridge", "lasso", "elasticnet"])
def test_polynomials_under_a_normal_law_are_all_but_exact(degree, penalty):
    draws = normal_draws(np.random.default_rng(1), 400)
    y = draws.x[:, 0] ** degree
    exact = stats.norm(1, 1).moment(degree)
    est = mcvar.estimate(y, draws, control=SteinPolynomial(degree, penalty))
    tolerance = 1e-10 if penalty is None else 2e-3 if penalty == "ridge" else 0.03
    assert est.value == pytest.approx(exact, rel=tolerance)
    assert est.variance_reduction > {None: 1e20, "ridge": 1e6}.get(penalty, 300)


@pytest.mark.parametrize("folds", [1, 4])
def test_estimates_are_those_of_least_squares(folds):
    draws = student_draws(np.random.default_rng(2), 300)
    y = moments(draws.x)
    est = mcvar.estimate(y, draws, control=SteinPolynomial(2, standardise=None), folds=folds)
    x, s = draws.x, draws.grad_logpdf
    features = np.stack(
        [
            s[:, 0],
            s[:, 1],
            2 + 2 * x[:, 0] * s[:, 0],
            x[:, 0] * s[:, 1] + x[:, 1] * s[:, 0],
            2 + 2 * x[:, 1] * s[:, 1],
        ],
        axis=1,
    )
    labels = np.arange(300) % folds
    if folds == 1:
        design = np.column_stack([np.ones(300), features])
        intercept = np.linalg.lstsq(design, y, rcond=None)[0][0]
        np.testing.assert_allclose(est.value, intercept, rtol=1e-9)
    else:
        mean, error = naive.cross_fit(y, features, labels)
        bound = SteinPolynomial(2, standardise=None).for_draws(x)
        fit = cross_fit(bound, draws, y, labels, Measure())
        np.testing.assert_allclose(fit.rows.mean(axis=0), mean, rtol=1e-9)
        np.testing.assert_allclose(stats.sem(fit.rows), error, rtol=0.02)
        # Extremes and the fit itself are allowed for on top of the residuals' spread.
        kept = np.isclose(est.value, mean, rtol=1e-9)
        assert kept.sum() >= 2
        assert (est.standard_error[kept] > 0.99 * error[kept]).all()
        assert (est.standard_error[kept] < 4 * error[kept]).all()


def test_fit_on_one_half_and_correct_the_other():
    """Sample splitting by hand: coefficients from one half, the estimate from the other."""
    rng = np.random.default_rng(3)
    first, second = student_draws(rng, 500), student_draws(rng, 500)
    fitted = SteinPolynomial(2).fit(first.x, first.x[:, 1] ** 2, first.grad_logpdf)
    response = second.x[:, 1] ** 2 - fitted.predict(second.x, second.grad_logpdf) + fitted.mean_
    assert response.mean() == pytest.approx(1.25, abs=5 * response.std() / np.sqrt(500))
    assert response.var() < 0.3 * (second.x[:, 1] ** 2).var()


def weighted(rng, n):
    """Draws from a wider law, weighted back to Student's with 10 degrees of freedom."""
    wide = student_draws(rng, n, df=6.0)
    ratio = stats.t(10).pdf(wide.x) / stats.t(6).pdf(wide.x)
    score = -11 * wide.x / (10 + wide.x**2)
    return mcvar.Draws(
        wide.x, grad_logpdf=score, weights=3e4 * ratio.prod(axis=1), self_normalized=True
    )


def chains(rng, n):
    """Four autoregressive normal chains, mapped to Student's quantiles in each coordinate."""
    rho, steps = 0.6, n // 4
    z = np.empty((4, steps, 2))
    z[:, 0] = rng.standard_normal((4, 2))
    noise = rng.standard_normal((4, steps, 2)) * np.sqrt(1 - rho**2)
    for t in range(1, steps):
        z[:, t] = rho * z[:, t - 1] + noise[:, t]
    x = stats.t(10).ppf(stats.norm.cdf(z)).reshape(-1, 2)
    chain = np.repeat(np.arange(4), steps)
    return mcvar.Draws(x, grad_logpdf=-11 * x / (10 + x * x), chain=chain)


def repeated(rng, n):
    """Rejected proposals: a third of the draws are those before them, chain by chain."""
    draws = student_draws(rng, n)
    stay = rng.random(n) < 1 / 3
    stay[:: n // 4] = False
    source = np.maximum.accumulate(np.where(stay, 0, np.arange(n)))
    return mcvar.Draws(
        draws.x[source],
        grad_logpdf=draws.grad_logpdf[source],
        chain=np.arange(n) // (n // 4),
    )


DESIGNS = [
    (student_draws, "variance"),
    (weighted, "variance"),
    (chains, "variance"),
    (chains, "asymptotic"),
    (repeated, "variance"),
]


def check_design(make, criterion, control, n, repeats):
    @functools.cache
    def run(seed):
        draws = make(np.random.default_rng(seed), n)
        y = np.stack([draws.x[:, 0], draws.x[:, 1] ** 2], axis=1)
        return mcvar.estimate(y, draws, control=control, criterion=criterion)

    check_unbiased(run, STUDENT_EXACT, repeats)
    check_coverage(run, STUDENT_EXACT, 0.88, repeats)
    # Plain weighted or autocorrelated draws are several times worse than this already.
    check_never_worse(run, STUDENT_EXACT, STUDENT_VARIANCE / n, 1.0, repeats)


@pytest.mark.parametrize(("make", "criterion"), DESIGNS)
def test_degree_2_on_every_design(make, criterion):
    check_design(make, criterion, SteinPolynomial(2), 400, 60)


@pytest.mark.parametrize(("make", "criterion"), DESIGNS[:4])
def test_automatic_choice_on_every_design(make, criterion):
    check_design(make, criterion, "auto", 200, 15)


def test_asymptotic_criterion_wins_where_the_spread_of_a_draw_misleads():
    """One control tracks fast noise, the other slow: only the slow one matters for the mean."""

    def run(seed, criterion):
        rng = np.random.default_rng(seed)
        steps = 4000
        slow = np.empty(steps)
        slow[0] = rng.standard_normal()
        noise = rng.standard_normal(steps) * np.sqrt(1 - 0.95**2)
        for t in range(1, steps):
            slow[t] = 0.95 * slow[t - 1] + noise[t]
        fast = rng.standard_normal(steps)
        # The control mixes both, and more of the variance of a draw is in the fast part.
        known = mcvar.control.KnownMean(lambda x: x[:, :1] - x[:, 1:], [0.0])
        x = np.stack([slow, fast], axis=1)
        draws = mcvar.Draws(x, chain=np.zeros(steps, dtype=int))
        return mcvar.estimate(slow + 3 * fast, draws, control=known, criterion=criterion)

    values = np.array(
        [[run(seed, c).value for c in ("variance", "asymptotic")] for seed in range(24)]
    )
    errors = np.sqrt(np.mean(values**2, axis=0))
    assert errors[1] < 0.9 * errors[0]


def test_functions_of_mean_zero_never_harm_the_mean_of_a_chain():
    rng = np.random.default_rng(0)
    slow = np.zeros(4000)
    for t in range(1, 4000):
        slow[t] = 0.95 * slow[t - 1] + 0.3 * rng.standard_normal()
    fast = rng.standard_normal(4000)
    chain = np.zeros(4000, dtype=int)
    draws = mcvar.Draws(fast, chain=chain, zero_mean=(slow - fast)[:, np.newaxis])
    plain = mcvar.estimate(slow + 3 * fast, draws, control=None)
    chosen = mcvar.estimate(slow + 3 * fast, draws, control="auto")
    assert chosen.standard_error <= plain.standard_error


def test_automatic_degree_stops_where_it_should():
    draws = normal_draws(np.random.default_rng(4), 600)
    est = mcvar.estimate(draws.x[:, 0] ** 2, draws, control=SteinPolynomial("auto"))
    assert est.control == "SteinPolynomial(2)"
    noise = np.random.default_rng(5).standard_normal(600)
    assert mcvar.estimate(noise, draws, control=SteinPolynomial("auto")).control == "none"


def test_on_a_target_with_a_score():
    target = mcvar.targets.Normal(CENTRE, ROOT @ ROOT.T)
    est = mcvar.estimate(
        lambda x: x[:, 0] * x[:, 1], target, n=2000, control=SteinPolynomial(2), rng=1
    )
    assert est.value == pytest.approx(-2.0 - 0.8, abs=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degree": 0}, "degree must be"),
        ({"degree": 2, "penalty": "rigde"}, "did you mean 'ridge'"),
        ({"degree": 2, "penalty": "elasticnet", "l1_ratio": 0.0}, r"l1_ratio must lie in \(0, 1\]"),
        ({"degree": 40}, "865 features, and only"),
        ({"degree": 200}, "at most 5000 are supported"),
    ],
)
def test_options_that_cannot_be(options, message):
    draws = normal_draws(np.random.default_rng(6), 100)
    options["degree"] = min(options["degree"], 150)
    with pytest.raises(ValueError, match=message.replace("865", r"\d+")):
        mcvar.estimate(draws.x[:, 0], draws, control=SteinPolynomial(**options))


def test_draws_that_cannot_be():
    rng = np.random.default_rng(7)
    draws = normal_draws(rng, 100)
    with pytest.raises(ValueError, match="needs the score"):
        mcvar.estimate(draws.x[:, 0], mcvar.Draws(draws.x), control=SteinPolynomial(1))
    twice = mcvar.Draws(np.repeat(draws.x[:, :1], 2, axis=1), grad_logpdf=draws.grad_logpdf)
    with pytest.raises(ValueError, match="coordinates 0 and 1"):
        SteinPolynomial(1).for_draws(twice.x)
    flat = draws.x.copy()
    flat[:, 1] = 4.0
    with pytest.raises(ValueError, match=r"coordinate 1 of the draws is constant \(4\)"):
        SteinPolynomial(1).for_draws(flat)
    with pytest.raises(ValueError, match="2 features, and only 2 draws to fit them on"):
        mcvar.estimate(draws.x[:4, 0], draws.take(slice(4)), control=SteinPolynomial(1), folds=2)
    with pytest.raises(ValueError, match="degree='auto' is chosen"):
        SteinPolynomial("auto").fit(draws.x, draws.x[:, 0], draws.grad_logpdf)
    with pytest.raises(ValueError, match="give a degree for a target"):
        SteinPolynomial("auto").for_target(mcvar.targets.Normal([0.0]))
    with pytest.raises(ValueError, match="expected folds >= 3"):
        mcvar.estimate(draws.x[:, 0], draws, control=SteinPolynomial(2, "lasso"), folds=2)


def test_clones_and_describes():
    control = SteinPolynomial(3, "elasticnet", l1_ratio=0.2)
    assert clone(control).get_params() == control.get_params()
    assert control.describe() == "SteinPolynomial(3, 'elasticnet')"
