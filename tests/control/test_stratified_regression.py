"""Coefficients per stratum: exact where they should be, harmless where strata are thin."""

import numpy as np
import pytest

import mcvar
from mcvar.control import KnownMean, StratifiedRegression
from tests.harness import check_coverage, check_never_worse, check_unbiased

BOX = [(-1, 1)]


def side(x):
    return (x[:, 0] > 0).astype(int)


def first(x):
    return x[:, 0]


def kinked(x):
    return np.abs(x[:, 0]) * (1 + 0.5 * np.sin(9 * x[:, 0]))


# The sine is odd: it drops out of the integral over the box.
EXACT = 1.0


def estimate(control, seed, f=kinked, n=400):
    return mcvar.estimate(f, BOX, n=n, sampler="montecarlo", control=control, rng=seed)


def test_unbiased_and_covering():
    control = StratifiedRegression(side, first, [[-0.5], [0.5]], [0.5, 0.5])

    def run(seed):
        return estimate(control, seed)

    check_unbiased(run, EXACT, 100)
    check_coverage(run, EXACT, 0.95, 100)


def test_slopes_of_their_own_beat_a_common_one():
    own = estimate(StratifiedRegression(side, first, [[-0.5], [0.5]], [0.5, 0.5]), 1)
    common = estimate(KnownMean(first, 0.0), 1)
    assert own.variance_reduction > 2 * common.variance_reduction


def test_a_stratum_of_three_draws_does_no_harm():
    edge = 0.985  # of 400 draws, three or so lie beyond it

    def thin(x):
        return (x[:, 0] > edge).astype(int)

    means = [[(edge - 1) / 2], [(1 + edge) / 2]]
    control = StratifiedRegression(thin, first, means, [(1 + edge) / 2, (1 - edge) / 2])

    def run(seed):
        return estimate(control, seed, lambda x: x[:, 0] + 0.1 * np.cos(20 * x[:, 0]))

    plain = 4 * (1 / 3 + 2 * 0.1**2) / 400
    check_never_worse(run, 0.1 * 2 * np.sin(20) / 20, plain, 1.0, 60)
    assert np.median([run(seed).variance_reduction for seed in range(10)]) > 20


def test_it_is_a_regressor():
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (500, 1))
    control = StratifiedRegression(side, first, [[-0.5], [0.5]], [0.5, 0.5], prior=0.0)
    control.fit(x, np.abs(x[:, 0]))
    np.testing.assert_allclose(control.predict(x), np.abs(x[:, 0]), atol=1e-8)
    assert float(control.mean_) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((side, first, [[0.0], [0.0]], [0.5, 0.6]), "shares of sum 1"),
        ((lambda x: side(x) + 1, first, [[0.0], [0.0]]), "expected 0 to 1"),
        ((lambda x: x[:, 0], first, [[0.0], [0.0]]), "whole numbers"),
        ((side, first, [[0.0, 0.0], [0.0, 0.0]]), "h\\(x\\) has 1 columns and mean 2"),
        ((side, first, [0.0]), "the number H of strata is unknown"),
    ],
)
def test_wrong_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        estimate(StratifiedRegression(*arguments), 1)
