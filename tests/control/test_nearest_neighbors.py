"""Nearest-neighbour controls: prediction, expectation and its error, statistics, wrong input."""

import functools

import numpy as np
import pytest

import mcvar
from mcvar.control import NearestNeighbors
from tests.harness import check_coverage, check_never_worse, check_unbiased

SQUARE = mcvar.targets.as_target([(0, 1), (0, 1)])


def f(x):
    return np.stack([np.sin(3 * x[:, 0]) + x[:, 1], x[:, 0] * x[:, 1]], axis=1)


EXACT = np.array([(1 - np.cos(3.0)) / 3 + 0.5, 0.25])
VARIANCE = np.array(
    [(0.5 - np.sin(6.0) / 12) - ((1 - np.cos(3.0)) / 3) ** 2 + 1 / 12, 1 / 9 - 1 / 16]
)


def test_prediction_is_the_nearest_value_and_its_mean_is_that_of_the_cells():
    x = np.array([[0.1], [0.5], [0.8]])
    fitted = NearestNeighbors(mcvar.targets.as_target([(0, 1)])).fit(x, [1.0, 2.0, 4.0])
    np.testing.assert_array_equal(fitted.predict([[0.29], [0.31], [0.66], [2.0]]), [1, 2, 4, 4])
    # Cells end at 0.3 and 0.65.
    assert fitted.mean_ == pytest.approx(0.3 + 0.35 * 2 + 0.35 * 4, abs=1e-4)
    assert 0 <= fitted.mean_error_ < 1e-4


def test_points_in_place_of_a_target():
    rng = np.random.default_rng(1)
    points, x = rng.random((4000, 2)), rng.random((300, 2))
    fitted = NearestNeighbors(points=points).fit(x, f(x))
    predicted = fitted.predict(points)
    np.testing.assert_allclose(fitted.mean_, predicted.mean(axis=0))
    np.testing.assert_allclose(fitted.mean_error_, predicted.std(axis=0, ddof=1) / np.sqrt(4000))


def test_statistics():
    @functools.cache
    def run(seed):
        control = NearestNeighbors(n_mean=2**13)
        return mcvar.estimate(f, SQUARE, n=300, sampler="montecarlo", control=control, rng=seed)

    check_unbiased(run, EXACT, 60)
    check_coverage(run, EXACT, 0.92, 60)
    assert (check_never_worse(run, EXACT, VARIANCE / 300, 0.2, 60) > 0).all()


def test_few_points_for_the_mean_widen_the_error_bar():
    """The error of the prediction's expectation is part of the error of the estimate."""

    @functools.cache
    def run(seed):
        rng = np.random.default_rng(seed)
        x = rng.random((400, 2))
        control = NearestNeighbors(points=rng.random((800, 2)))
        return mcvar.estimate(f(x), mcvar.Draws(x), control=control)

    check_coverage(run, EXACT, 0.92, 100)
    # Most of the variance of 800 points is in it; 400 draws alone would promise less.
    assert run(0).standard_error[1] > 0.9 * np.sqrt(VARIANCE[1] / 800)


def test_wrong_input_is_told():
    x, y = np.zeros((5, 2)), np.zeros(5)
    with pytest.raises(TypeError, match="over target= or points=, got neither"):
        NearestNeighbors().fit(x, y)
    with pytest.raises(TypeError, match="over target= or points=, got both"):
        NearestNeighbors(SQUARE, points=x).fit(x, y)
    with pytest.raises(ValueError, match=r"y has shape \(4,\); expected one row per point, 5"):
        NearestNeighbors(SQUARE).fit(x, y[:4])
    with pytest.raises(ValueError, match=r"points have shape \(5, 3\); expected \(N, 2\)"):
        NearestNeighbors(points=np.zeros((5, 3))).fit(x, y)
    weighted = mcvar.Unnormalized(
        lambda x: -(x**2).sum(axis=1), proposal=mcvar.targets.Normal([0.0])
    )
    with pytest.raises(TypeError, match="drawn from without weights"):
        NearestNeighbors(weighted).fit(np.zeros((5, 1)), y)
