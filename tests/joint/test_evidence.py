"""Evidence of a conjugate normal model, whose value is known, by both methods."""

from functools import cache

import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar.control import VectorSteinKernel, VectorSteinPolynomial
from mcvar.control.kernels import Gaussian
from tests.harness import check_coverage, check_unbiased

DATA, LADDER = 1.3, np.linspace(0, 1, 7) ** 2
EXACT = stats.norm.logpdf(DATA, 0, np.sqrt(2))
REPEATS = 24


def log_likelihood(x):
    return stats.norm.logpdf(DATA, x[:, 0], 1)


def draws(seed, n=20, ladder=LADDER):
    """Power posteriors of one normal observation under a standard normal prior."""
    rng = np.random.default_rng(seed)
    # Precision 1 + t, mean t y / (1 + t).
    return [t * DATA / (1 + t) + rng.standard_normal((n, 1)) / np.sqrt(1 + t) for t in ladder]


def ladder_of_draws(seed, n=20):
    """All that `evidence` takes, as arrays."""
    x = draws(seed, n)
    return [log_likelihood(p) for p in x], [DATA - p for p in x], [-p for p in x], x


def means_and_variances(ladder):
    v, m = 1 / (1 + ladder), ladder * DATA / (1 + ladder)
    means = -0.5 * np.log(2 * np.pi) - 0.5 * ((DATA - m) ** 2 + v)
    return means, (DATA - m) ** 2 * v + v**2 / 2


def rule(order, ladder=LADDER):
    """The value of the rule over temperatures, from the exact means and variances."""
    means, variances = means_and_variances(ladder)
    gaps = np.diff(ladder)
    value = (gaps * (means[1:] + means[:-1]) / 2).sum()
    return value - (gaps**2 * np.diff(variances)).sum() / 12 if order == 2 else value


@pytest.mark.parametrize("order", [1, 2])
def test_conjugate_model(order):
    found = mcvar.evidence(*ladder_of_draws(1), LADDER, order)
    np.testing.assert_allclose(found.means.value, means_and_variances(LADDER)[0], atol=2e-2)
    assert found.value == pytest.approx(rule(order), abs=5e-3)
    assert found.value == pytest.approx(EXACT, abs={1: 2e-2, 2: 5e-3}[order])
    # What the rule misses, judged from every other temperature.
    tolerance = {1: 0.2 * abs(rule(1) - EXACT), 2: 3e-4}[order]
    assert found.rule_error == pytest.approx(rule(order) - EXACT, abs=tolerance)
    assert "7 temperatures" in repr(found)


def test_smc_identity_on_the_conjugate_model():
    found = mcvar.evidence(*ladder_of_draws(1), LADDER, method="smc")
    # E_t L^(u − t) is the ratio of the normalising constants at u and t.
    t = LADDER
    constants = -0.5 * t * np.log(2 * np.pi) - 0.5 * np.log1p(t) - 0.5 * DATA**2 * t / (1 + t)
    np.testing.assert_allclose(found.log_ratios, np.diff(constants), atol=2e-3)
    assert found.value == pytest.approx(EXACT, abs=2e-3)
    assert found.value == pytest.approx(found.log_ratios.sum())
    assert found.rule_error == 0.0
    # Two temperatures: no rule would do, the identity does.
    short = mcvar.evidence(
        log_likelihood, lambda x: DATA - x, lambda x: -x, draws(2, 60, [0, 1]), [0, 1],
        method="smc",
    )  # fmt: skip
    assert short.value == pytest.approx(EXACT, abs=4 * short.standard_error)
    assert np.isnan(
        mcvar.evidence(
            log_likelihood, lambda x: DATA - x, lambda x: -x, draws(2, 60, [0, 1]), [0, 1]
        ).rule_error
    )


def test_neighbouring_temperatures_share_errors():
    covariance = mcvar.evidence(*ladder_of_draws(3), LADDER, method="smc").log_ratio_covariance
    assert (covariance - np.diag(np.diagonal(covariance))).any()
    assert np.linalg.eigvalsh(covariance)[0] > -1e-12 * covariance.max()


@cache
def plain(seed):
    """With a control that is of no use: what is known of plain means holds."""
    # Values that draws say nothing of: the guard takes nothing, or little.
    rng = np.random.default_rng([1, seed])
    x = [rng.standard_normal((12, 1)) for _ in range(3)]
    noise = [rng.gamma(2.0, size=12) for _ in range(3)]
    control = VectorSteinPolynomial(1, penalty=10.0)
    return mcvar.evidence(noise, [0 * p for p in x], [-p for p in x], x, [0, 0.3, 1], 2, control)


def test_squares_about_an_estimated_mean_are_unbiased():
    # A penalty this large takes nothing: variances are plain ones, with a divisor of n − 1.
    variances = np.array([plain(seed).variances.value for seed in range(REPEATS)])
    gap = variances.mean(axis=0) - 2.0
    error = variances.std(axis=0, ddof=1) / np.sqrt(REPEATS)
    assert (np.abs(gap) < 5 * error).all()
    rng = np.random.default_rng([1, 0])
    [rng.standard_normal((12, 1)) for _ in range(3)]
    noise = [rng.gamma(2.0, size=12) for _ in range(3)]
    if all(name == "none" for name in (*plain(0).means.control, *plain(0).variances.control)):
        expected = [v.var(ddof=1) for v in noise]
        np.testing.assert_allclose(plain(0).variances.value, expected, rtol=1e-9)


GIVEN = VectorSteinKernel(
    Gaussian(2.0),
    task_covariance=np.exp(-np.abs(np.subtract.outer(range(7), range(7))) / 4),
    ridge=1e-2,
)


@cache
def repeated(method, seed):
    values, likelihood, prior, x = ladder_of_draws(seed, 12)
    # Rough values, so that there is an error to cover.
    rough = [v + 0.2 * np.sin(7 * p[:, 0]) for v, p in zip(values, x, strict=True)]
    control = GIVEN
    if method == "smc":
        control = VectorSteinKernel(
            Gaussian(2.0), task_covariance=GIVEN.task_covariance[:6, :6], ridge=1e-2
        )
    return mcvar.evidence(rough, likelihood, prior, x, LADDER, 2, control, method=method, folds=3)


def rough_exact(method):
    """Of the likelihood with its ripple: the same draws, so not a power posterior's evidence."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(180)
    share = weights / weights.sum()
    means, variances, logs = [], [], []
    for t, step in zip(LADDER, np.append(np.diff(LADDER), 0), strict=True):
        x = t * DATA / (1 + t) + nodes / np.sqrt(1 + t)
        value = stats.norm.logpdf(DATA, x, 1) + 0.2 * np.sin(7 * x)
        means.append(share @ value)
        variances.append(share @ (value - means[-1]) ** 2)
        logs.append(np.log(share @ np.exp(step * value)))
    if method == "smc":
        return sum(logs)
    gaps = np.diff(LADDER)
    first = (gaps * (np.array(means[1:]) + means[:-1]) / 2).sum()
    return first - (gaps**2 * np.diff(variances)).sum() / 12


@pytest.mark.parametrize("method", ["thermodynamic", "smc"])
def test_unbiased_and_intervals_cover(method):
    check_unbiased(lambda seed: repeated(method, seed), rough_exact(method), REPEATS)
    check_coverage(lambda seed: repeated(method, seed), rough_exact(method), 0.92, REPEATS)


def test_callables_are_values():
    values, likelihood, prior, x = ladder_of_draws(5)
    by_array = mcvar.evidence(values, likelihood, prior, x, LADDER, 1)
    by_call = mcvar.evidence(log_likelihood, lambda p: DATA - p, lambda p: -p, x, LADDER, 1)
    assert by_call.value == by_array.value


def test_polynomials_are_exact_for_a_normal_model():
    control = VectorSteinPolynomial(2, penalty=1e-9)
    found = mcvar.evidence(*ladder_of_draws(6), LADDER, 1, control)
    assert found.value == pytest.approx(rule(1), abs=1e-4)


def test_far_better_than_plain_means():
    values, *rest = ladder_of_draws(2)
    found = mcvar.evidence(values, *rest, LADDER)
    assert np.median(found.means.variance_reduction) > 50
    low, high = found.confidence_interval()
    assert low < found.value < high
    assert (found.status == "suspect") == bool(found.means.reasons or found.variances.reasons)
    assert found.status in repr(found)


def test_picture_of_what_tasks_share():
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    ax = mcvar.evidence(*ladder_of_draws(3), LADDER, order=1).means.plot()
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(np.diagonal(shown), 1)
    assert shown[0, 1] == pytest.approx(np.exp(-0.25))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [str(t) for t in range(7)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperatures": LADDER[::-1]}, "must rise from 0 to 1"),
        ({"temperatures": LADDER[1:]}, "must rise from 0 to 1"),
        ({"temperatures": [0.0, 1.0]}, "7 entries for 2 temperatures"),
        ({"order": 3}, "order must be 1 or 2"),
        ({"method": "sms"}, "did you mean 'smc'"),
        ({"control": "best"}, "control must be 'auto'"),
        ({"grad_log_prior": [np.zeros((20, 2))] * 7}, r"grad_log_prior\[0\] has shape \(20, 2\)"),
        ({"grad_log_prior": lambda x: x[:5]}, r"grad_log_prior\(x\[0\]\) has shape \(5, 1\)"),
        ({"log_likelihood": lambda x: x}, r"log_likelihood\(x\[0\]\) has shape \(20, 1\)"),
        ({"log_likelihood": [np.full(20, np.nan)] * 7}, "expected finite numbers"),
        (
            {"log_likelihood": [np.arange(20.0) * 1e5] * 7, "method": "smc"},
            "expected a finer ladder",
        ),
    ],
)
def test_wrong_input(change, message):
    values, likelihood, prior, x = ladder_of_draws(3)
    given = {
        "log_likelihood": values,
        "grad_log_likelihood": likelihood,
        "grad_log_prior": prior,
        "x": x,
        "temperatures": LADDER,
    }
    with pytest.raises(ValueError, match=message):
        mcvar.evidence(**(given | change))


def test_x_is_no_function():
    with pytest.raises(TypeError, match="x must hold one array for each temperature"):
        mcvar.evidence(log_likelihood, lambda x: x, lambda x: x, lambda t: t, LADDER)
