"""Stein thinning and the kernel Stein discrepancy against greedy and dense twins."""

import numpy as np
import pytest

import mcvar
from mcvar.control.kernels import Gaussian, InverseMultiquadric
from mcvar.control.standardise import Coordinates
from mcvar.control.stein_gram import SteinGram
from tests import naive_stein


def matrix_of(x, s, kernel):
    coordinates = Coordinates.of(x, None, "cholesky")
    gram = SteinGram(kernel, 1)
    return gram.matrix(gram.at(coordinates.points(x), coordinates.scores(s)))


def test_thinning_is_greedy():
    x = np.random.default_rng(1).normal(size=(80, 2)) * [1, 3]
    s = -x / [1, 9]
    matrix = matrix_of(x, s, InverseMultiquadric(1.0))
    np.testing.assert_array_equal(mcvar.stein_thinning(x, s, 25), naive_stein.thinning(matrix, 25))


@pytest.mark.parametrize("weighted", [False, True])
def test_discrepancy_is_the_quadratic_form(weighted):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1500, 2))
    w = rng.uniform(size=1500) if weighted else np.ones(1500)
    kernel = Gaussian(2.0)
    share = w / w.sum()
    expected = np.sqrt(share @ matrix_of(x, -x, kernel) @ share)
    weights = w if weighted else None
    found = mcvar.kernel_stein_discrepancy(x, -x, weights=weights, kernel=kernel)
    assert found == pytest.approx(expected, rel=1e-9)


def test_thinned_points_stand_for_the_target_better_than_as_many_draws():
    x = np.random.default_rng(3).normal(size=(2000, 3))
    kept = mcvar.stein_thinning(x, -x, 50)
    thinned = mcvar.kernel_stein_discrepancy(x[kept], -x[kept])
    plain = mcvar.kernel_stein_discrepancy(x[:50], -x[:50])
    assert thinned < 0.7 * plain


def test_wrong_input_is_told():
    x = np.random.default_rng(4).normal(size=(30, 2))
    with pytest.raises(ValueError, match="expected that of X"):
        mcvar.stein_thinning(x, x[:, 0], 5)
    with pytest.raises(ValueError, match="m must be at least 1, got 0"):
        mcvar.stein_thinning(x, -x, 0)
    with pytest.raises(ValueError, match="has no length-scale"):
        mcvar.kernel_stein_discrepancy(x, -x, kernel=Gaussian())
