"""The estimator: exact where it says so, unbiased, covering, and never worse than it should be.

Seeds are fixed, so no test fails by chance; false-positive rates below are over all seeds.
"""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

import mcvar
from mcvar.sliced.projection import Pair, as_cloud


def truth(x, y, p=2.0):
    """The mean over 40,000 spiral directions of d = 3, or of frames elsewhere."""
    pair = Pair(as_cloud("x", x), as_cloud("y", y), p)
    d = x.shape[1]
    theta = mcvar.sliced.directions(40_000, d, "spiral" if d == 3 else "orthogonal", rng=99)
    return pair.costs(theta)


def runs(x, y, count, **options):
    return [mcvar.sliced_wasserstein(x, y, rng=seed, **options) for seed in range(count)]


def test_one_dimension_is_exact():
    x, y = np.array([0.0, 1.0, 3.0]), np.array([5.0, 6.0, 8.0])
    est = mcvar.sliced_wasserstein(x, y)
    assert est.value == pytest.approx(5.0, rel=1e-14)
    assert est.standard_error == 0
    assert est.confidence_interval() == (est.value, est.value)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_two_dimensions_are_exact(p, weighted):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)), rng.normal(0.4, 1.0, size=(5, 2))
    y[1] = y[0]
    a = rng.dirichlet(np.ones(6)) if weighted else None
    est = mcvar.sliced_wasserstein(x, y, a, p=p)
    pair = Pair(as_cloud("x", x, a), as_cloud("y", y), p)

    def cost(angle):
        return pair.costs(np.array([[np.cos(angle), np.sin(angle)]]))[0]

    edges = np.linspace(0, np.pi, 65)
    expected = sum(
        integrate.quad(cost, low, high, epsabs=1e-11, limit=200)[0] for low, high in pairwise(edges)
    )
    assert est.power.value == pytest.approx(expected / np.pi, rel=1e-8)
    assert est.standard_error == 0


def test_larger_planar_clouds_are_estimated():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 2)), rng.normal(0.4, 1.5, size=(300, 2))
    est = mcvar.sliced_wasserstein(x, y, rng=0)
    reference = Pair(as_cloud("x", x), as_cloud("y", y), 2.0).costs(
        mcvar.sliced.directions(20_000, 2, "spiral", rng=0)
    )
    assert est.standard_error > 0
    assert abs(est.power.value - reference.mean()) < 5 * est.power.standard_error


@pytest.mark.parametrize("case", ["translated", "scaled", "identical"])
def test_closed_forms(case):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 6))
    y, expected = {
        "translated": (x + np.array([3.0, 0, 0, 4.0, 0, 0]), 25 / 6),
        "scaled": (3 * x, 4 * (x**2).sum() / 200 / 6),
        "identical": (x, 0.0),
    }[case]
    est = mcvar.sliced_wasserstein(x, y, rng=0)
    assert est.power.value == pytest.approx(expected, rel=1e-9, abs=1e-15)
    low, high = est.confidence_interval()
    assert low <= est.value <= high


def test_shapes_bias_coverage_and_gain(shapes):
    # 1000 seeds: a bias of a sixth of a standard deviation (z = 5.3) would be seen with
    # probability 0.99; |z| < 3 fails by chance in 0.3 %, coverage outside (0.92, 0.98) in 0.01 %.
    x, y = shapes
    costs = truth(x, y)
    found = runs(x, y, 1000, n=64)
    value = np.array([est.power.value for est in found])
    z = (value.mean() - costs.mean()) / (value.std() / np.sqrt(len(value)))
    assert abs(z) < 3
    covered = [
        low <= costs.mean() ** 0.5 <= high for low, high in (e.confidence_interval() for e in found)
    ]
    assert 0.92 < np.mean(covered) < 0.98
    assert costs.var() / 64 / value.var() > 5000


def test_mixture_gain_and_coverage(mixture):
    x, y = mixture
    costs = truth(x, y)
    reference = mcvar.sliced_wasserstein(x, y, n=2**14, rng=10_000).power
    found = runs(x, y, 250, n=128)
    value = np.array([est.power.value for est in found])
    assert costs.var() / 128 / value.var() > 100
    limits = [est.power.confidence_interval() for est in found]
    covered = np.mean([low <= reference.value <= high for low, high in limits])
    # Binomial with 0.95: outside this range in 0.5 %.
    assert 0.91 < covered < 0.99


def whitened(d, n, seed):
    rng = np.random.default_rng(seed)
    points = rng.exponential(size=(n, d)) @ rng.normal(size=(d, d))
    points -= points.mean(axis=0)
    return points @ np.linalg.inv(np.linalg.cholesky(points.T @ points / n)).T


@pytest.mark.parametrize(("d", "size", "least"), [(3, 300, 20), (10, 300, 0.8), (40, 200, 0.8)])
def test_never_worse_than_plain_on_whitened_clouds(d, size, least):
    x, y = whitened(d, size, 0), whitened(d, size, 1)
    costs = truth(x, y)
    value = np.array([est.power.value for est in runs(x, y, 150, n=64)])
    # A ratio of variances from 150 runs has a relative standard deviation of 0.12.
    assert costs.var() / 64 / value.var() > least * (1 - 0.25 * (least < 1))


@pytest.mark.parametrize("method", ["montecarlo", "orthogonal", "sobol", "spiral", "bank"])
@pytest.mark.parametrize("control", [None, "full", "lower", "upper", "harmonics", "cumulants"])
def test_every_published_estimator_is_right_within_its_error(shapes, method, control):
    x, y = shapes
    expected = truth(x, y).mean()
    for seed in range(3):
        power = mcvar.sliced_wasserstein(
            x, y, n=256, method=method, control=control, rng=seed
        ).power
        # Beyond 8 standard errors by t with 7 degrees of freedom: 1e-4.
        assert abs(power.value - expected) < 8 * power.standard_error
        assert 250 < power.n <= 256


def test_plain_monte_carlo_is_the_plain_mean(shapes):
    est = mcvar.sliced_wasserstein(*shapes, n=50, method="montecarlo", control=None, rng=3)
    assert est.power.value == pytest.approx(est.contributions.mean(), rel=1e-14)
    assert est.power.standard_error == pytest.approx(stats.sem(est.contributions), rel=1e-12)
    assert est.variance_reduction == pytest.approx(1.0)


def test_controls_reduce_the_variance_as_published():
    rng = np.random.default_rng(6)
    shift = np.zeros(8)
    shift[0] = 4.0
    x, y = rng.normal(size=(200, 8)) + shift, 1.2 * rng.normal(size=(200, 8))
    gains = {
        control: np.median(
            [
                est.variance_reduction
                for est in runs(x, y, 10, n=128, method="montecarlo", control=control)
            ]
        )
        for control in ("lower", "full", "auto")
    }
    # The mean difference dominates, so the lower bound is nearly everything.
    assert gains["lower"] > 50
    assert gains["full"] > gains["lower"]
    assert gains["auto"] > gains["lower"]


@pytest.mark.parametrize("p", [1, 1.5, 3, 4])
def test_other_exponents(mixture, p):
    x, y = mixture
    costs = truth(x, y, p)
    found = runs(x, y, 20, n=128, p=p)
    value = np.array([est.power.value for est in found])
    error = np.sqrt(np.mean([est.power.standard_error**2 for est in found]))
    assert abs(value.mean() - costs.mean()) < 5 * np.hypot(
        error / np.sqrt(20), costs.std() / np.sqrt(40_000)
    )
    assert costs.var() / 128 / error**2 > 3


def test_rtol_is_met(mixture):
    x, y = mixture
    loose = mcvar.sliced_wasserstein(x, y, rng=0, rtol=1e-2, n=16)
    tight = mcvar.sliced_wasserstein(x, y, rng=0, rtol=1e-3, n=16)
    assert loose.status == tight.status == "converged"
    assert loose.n < tight.n
    reference = mcvar.sliced_wasserstein(x, y, rng=5, n=2**13)
    assert abs(tight.value / reference.value - 1) < 2e-3
    stopped = mcvar.sliced_wasserstein(x, y, rng=0, rtol=1e-9, max_n=64, n=16)
    assert stopped.status == "budget"
    assert stopped.n <= 64
    assert "max_n" in stopped.reasons[0]


def test_workers_and_seeds_give_the_same_bits():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(30_000, 3)), rng.normal(0.1, 1.0, size=(20_000, 3))
    one, three = (mcvar.sliced_wasserstein(x, y, n=64, rng=5, workers=w) for w in (1, 3))
    assert one.value == three.value
    assert one.standard_error == three.standard_error
    np.testing.assert_array_equal(one.contributions, three.contributions)
    generator = np.random.default_rng(5)
    first, second = (mcvar.sliced_wasserstein(x, y, n=8, rng=generator) for _ in range(2))
    assert first.value != second.value
    again = mcvar.sliced_wasserstein(x, y, n=8, rng=first.power.seed)
    assert again.value == first.value


def test_result_is_frozen_and_readable(shapes):
    est = mcvar.sliced_wasserstein(*shapes, rng=0)
    with pytest.raises(AttributeError):
        est.p = 1
    with pytest.raises(ValueError, match="read-only"):
        est.contributions[0] = 0
    assert "SlicedWasserstein(" in repr(est)
    assert "completed" in repr(est)
    slope = est.value / (2 * est.power.value)
    assert est.standard_error == pytest.approx(slope * est.power.standard_error)


def test_plot(shapes):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    est = mcvar.sliced_wasserstein(*shapes, rng=0)
    assert len(est.plot().lines[0].get_xdata()) == est.n
    plt.close("all")


def test_few_directions_say_what_they_lack(shapes):
    one = mcvar.sliced_wasserstein(*shapes, n=1, rng=0)
    assert one.status == "suspect"
    assert np.isnan(one.standard_error)
    few = mcvar.sliced_wasserstein(*shapes, n=5, rng=0)
    assert few.n == 5
    assert few.standard_error > 0


def test_memory_is_blocked():
    import tracemalloc

    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(100_000, 3)), rng.normal(size=(100_000, 3))
    mcvar.sliced_wasserstein(x[:100], y[:100], n=100, rng=0)
    tracemalloc.start()
    mcvar.sliced_wasserstein(x, y, n=100, rng=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


def test_planar_intervals_from_few_directions_cover():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(300, 2)), rng.normal(size=(280, 2)) @ [[1.5, 0.4], [0.0, 0.7]] + 0.2
    truth = mcvar.sliced_wasserstein(x, y, n=4000, control=None, rng=99).power.value
    for n in (8, 16):
        found = [mcvar.sliced_wasserstein(x, y, n=n, rng=seed).power for seed in range(400)]
        limits = [est.confidence_interval() for est in found]
        # 0.93 less two and a half standard errors of 400 runs.
        assert np.mean([low <= truth <= high for low, high in limits]) > 0.905
