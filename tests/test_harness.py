"""The harness must reject estimators that are biased, under-cover or are worse, and no others."""

import numpy as np
import pytest

from mcvar import Estimate
from tests.harness import check_coverage, check_never_worse, check_unbiased

REPEATS = 200


def normal_estimate(seed, *, bias=0.0, claimed=1.0, spread=1.0):
    value = 3.0 + bias + spread * np.random.default_rng(seed).standard_normal()
    return Estimate(value=value, standard_error=claimed, n=1)


def test_right_estimator_passes():
    check_unbiased(normal_estimate, 3.0, REPEATS)
    observed = check_coverage(normal_estimate, 3.0, 0.95, REPEATS, upper=0.95)
    assert 0.87 < observed < 1
    ratio = check_never_worse(normal_estimate, 3.0, 1.0, 1.0, REPEATS)
    assert 0.6 < ratio[0] < 1.6


def test_biased_estimator_is_rejected_at_the_stated_power():
    with pytest.raises(AssertionError, match="biased"):
        check_unbiased(lambda seed: normal_estimate(seed, bias=0.52), 3.0, REPEATS)


def test_bias_of_one_component_is_rejected():
    def run(seed):
        value = np.random.default_rng(seed).standard_normal(3) + [0, 0, 0.7]
        return Estimate(value=value, standard_error=np.ones(3), n=1)

    with pytest.raises(AssertionError, match="biased"):
        check_unbiased(run, np.zeros(3), REPEATS)


def test_exact_estimates_pass_and_tiny_biases_do_not():
    check_unbiased(lambda seed: normal_estimate(seed, spread=0.0), 3.0, 10)
    with pytest.raises(AssertionError, match="biased"):
        check_unbiased(lambda seed: normal_estimate(seed, spread=0.0, bias=1e-6), 3.0, 10)


def test_under_coverage_is_rejected():
    with pytest.raises(AssertionError, match="intervals cover"):
        check_coverage(lambda seed: normal_estimate(seed, claimed=0.55), 3.0, 0.95, REPEATS)


def test_over_coverage_is_rejected_where_asked():
    with pytest.raises(AssertionError, match="intervals cover"):
        # 200 of 200 happens too often at 95 % to be rejected.
        check_coverage(lambda s: normal_estimate(s, claimed=5), 3.0, 0.95, 400, upper=0.95)


def test_worse_estimator_is_rejected():
    with pytest.raises(AssertionError, match="mean squared error"):
        check_never_worse(lambda seed: normal_estimate(seed, spread=1.7), 3.0, 1.0, 1.0, REPEATS)
