"""Reservoirs: unbiased where they say so, biased by what they say, and repeatable."""

import numpy as np
import pytest

from mcvar._jit import reservoir as kernels
from mcvar.sliced import ReservoirSliced, sliced_wasserstein
from mcvar.sliced.reservoir import _near

MODES = pytest.mark.parametrize("mode", ["compiled", "python"])


def kernel(function, mode):
    return function if mode == "compiled" else function.py_func


def pair(n=24, d=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)), [0.3, 1.0, 2.0] * rng.normal(size=(n, d)) + [1.0, 0, 0]


def test_unbiased_over_many_steps():
    x, y = pair()
    truth = sliced_wasserstein(x, y, method="bank", n=2**14, rng=1).power
    means, gradients = [], []
    for seed in range(100):
        loss = ReservoirSliced(8, 2, rng=seed)
        means.append(np.mean([loss.step(x, y).value for _ in range(150)]))
        gradients.append(loss.step(x, y).gradient)
    error = np.hypot(np.std(means, ddof=1) / 10, truth.standard_error)
    assert abs(np.mean(means) - truth.value) < 3 * error
    fine = [ReservoirSliced(2048, 2048, rng=s).step(x, y).gradient for s in range(8)]
    z = (np.mean(gradients, axis=0) - np.mean(fine, axis=0)) / (np.std(gradients, axis=0) / 10)
    assert np.abs(z).max() < 5


def test_energy_overstates_by_what_the_module_says():
    x, y = pair()
    f = sliced_wasserstein(x, y, n=4096, method="montecarlo", control=None, rng=1).contributions
    largest = 1 + f.var() / f.mean() ** 2
    means = []
    for seed in range(10):
        loss = ReservoirSliced(64, 4, "energy", ess_threshold=0, decay=1e6, rng=seed)
        means.append(np.mean([loss.step(x, y).value for _ in range(100)][50:]))
    assert 1.2 * f.mean() < np.mean(means)
    # Sampling in proportion to costs, on top of weights in that proportion, adds to it.
    assert np.mean(means) > largest * f.mean()


@pytest.mark.parametrize("objective", ["unbiased", "energy"])
def test_state_goes_on_where_it_was(objective):
    x, y = pair()
    loss = ReservoirSliced(16, 4, objective, rng=3)
    for _ in range(5):
        loss.step(x, y)
    state = loss.get_state()
    after = [loss.step(x, y) for _ in range(3)]
    resumed = ReservoirSliced(16, 4, objective, rng=99)
    resumed.set_state(state)
    for first, again in zip(after, [resumed.step(x, y) for _ in range(3)], strict=True):
        assert first.value == again.value
        np.testing.assert_array_equal(first.gradient, again.gradient)
    assert resumed.steps == 8


@pytest.mark.parametrize("objective", ["unbiased", "energy"])
def test_same_seed_same_steps(objective):
    x, y = pair()
    a, b = (ReservoirSliced(16, 4, objective, rng=7) for _ in range(2))
    assert [a.step(x, y).value for _ in range(5)] == [b.step(x, y).value for _ in range(5)]


def test_what_it_holds():
    x, y = pair()
    loss = ReservoirSliced(20, 5, ess_threshold=0, rng=0)
    assert loss.directions.shape == (0, 0)
    loss.step(x, y)
    assert loss.directions.shape == (15, 3)
    assert loss.weights.sum() == pytest.approx(1)
    assert loss.ess == pytest.approx(1 / np.sum(loss.weights**2))
    loss.reset()
    assert len(loss.directions) == 0
    assert loss.ess == 0
    strict = ReservoirSliced(20, 5, ess_threshold=1, rng=0)
    strict.step(x, y)
    assert len(strict.directions) == 0
    assert len(ReservoirSliced(8, 8, rng=0).directions) == 0


def test_sizes_may_change_and_dimensions_not():
    x, y = pair()
    loss = ReservoirSliced(16, 4, rng=0)
    for n in (24, 10, 24, 1):
        value, gradient = loss.step(x[:n], y)
        assert gradient.shape == (n, 3)
        assert np.isfinite(value)
    with pytest.raises(ValueError, match="3 dimensions, the points have 2: reset"):
        loss.step(x[:, :2], y[:, :2])
    loss.reset()
    assert loss.step(x[:, :2], y[:, :2]).gradient.shape == (24, 2)


def test_weights_d1_and_equal_clouds():
    x, y = pair()
    a = np.arange(24) / np.arange(24).sum()
    for objective in ("unbiased", "energy"):
        loss = ReservoirSliced(16, 4, objective, rng=0)
        for _ in range(3):
            value, gradient = loss.step(x, y, a)
        assert (gradient[0] == 0).all()
        assert np.isfinite(gradient).all()
        loss = ReservoirSliced(16, 4, objective, rng=0)
        for _ in range(3):
            value, gradient = loss.step(x, x)
            assert value == pytest.approx(0, abs=1e-12)
            assert np.isfinite(gradient).all()
        loss = ReservoirSliced(4, 2, objective, rng=0)
        exact = np.mean((np.sort(x[:, 0]) - np.sort(y[:, 0])) ** 2)
        for _ in range(3):
            assert loss.step(x[:, 0], y[:, 0]).value == pytest.approx(exact)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_directions": 8, "n_fresh": 9}, ValueError, "n_fresh must be at most n_directions=8"),
        ({"n_fresh": 0}, ValueError, "n_fresh must be at least 1"),
        ({"objective": "energi"}, ValueError, "did you mean 'energy'"),
        ({"decay": 0}, ValueError, "decay must be a positive"),
        ({"decay": np.nan}, ValueError, "nan"),
        ({"ess_threshold": 1.5}, ValueError, "between 0 and 1"),
        ({"p": 0.5}, ValueError, "at least 1"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        ReservoirSliced(**options)


def test_bad_state_and_points():
    x, y = pair()
    loss = ReservoirSliced(16, 4, rng=0)
    with pytest.raises(ValueError, match="must come from get_state"):
        loss.set_state({"steps": 3})
    large = ReservoirSliced(64, 4, ess_threshold=0, rng=0)
    large.step(x, y)
    with pytest.raises(ValueError, match="at most n_directions - n_fresh = 12"):
        loss.set_state(large.get_state())
    with pytest.raises(ValueError, match="nan at index"):
        loss.step(np.where(np.eye(24, 3) > 0, np.nan, x), y)
    assert loss.steps == 0


@MODES
def test_keep_prefers_weight(mode):
    rng = np.random.default_rng(0)
    costs, ages = np.array([0.0, 1.0, 2.0, 4.0]), np.array([0, 0, 0, 40])
    counts = np.zeros(4)
    kept, weights = np.zeros(1, np.int64), np.zeros(1)
    runs = 3000
    for _ in range(runs):
        ess = kernel(kernels.keep, mode)(costs, ages, rng.random(4), 30.0, 1, kept, weights)
        assert (ess, weights[0]) == (1.0, 1.0)
        counts[kept[0]] += 1
    # One place: the keys choose in proportion to the weights (Efraimidis & Spirakis, prop. 2).
    expected = costs * np.exp(-ages / 30)
    expected /= expected.sum()
    assert counts[0] == 0
    np.testing.assert_allclose(counts / runs, expected, atol=4 * 0.5 / runs**0.5)


@MODES
def test_keep_against_sorting(mode):
    rng = np.random.default_rng(1)
    costs, ages, u = rng.exponential(size=30), rng.integers(0, 50, 30), rng.random(30)
    kept, weights = np.zeros(7, np.int64), np.zeros(7)
    ess = kernel(kernels.keep, mode)(costs, ages, u, 30.0, 7, kept, weights)
    mass = costs * np.exp(-ages / 30)
    order = np.argsort(u ** (1 / mass))[::-1][:7]
    np.testing.assert_array_equal(kept, order)
    np.testing.assert_allclose(weights, mass[order] / mass[order].sum())
    assert ess == pytest.approx(mass[order].sum() ** 2 / (mass[order] ** 2).sum())


@MODES
def test_mixture_density(mode):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    weights = np.array([0.1, 0.2, 0.3, 0.4, 0.0])
    theta = rng.normal(size=(4000 if mode == "compiled" else 50, 3))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    density = np.empty(len(theta))
    kernel(kernels.mixture_density, mode)(theta, centres, weights, 2.0, density)
    naive = 0
    for c, w in zip(centres, weights, strict=True):
        covariance = np.eye(3) + 3 * np.outer(c, c)
        form = np.einsum("ij,jk,ik->i", theta, np.linalg.inv(covariance), theta)
        naive = naive + w * np.linalg.det(covariance) ** -0.5 * form**-1.5
    np.testing.assert_allclose(density, naive, rtol=1e-12)
    if mode == "compiled":
        assert density.mean() == pytest.approx(1, abs=0.05)
        # Draws have that density: the mean of 1/density over them is the sphere's volume, one.
        near = _near(centres, weights, 2.0, 4000, rng)
        kernel(kernels.mixture_density, mode)(near, centres, weights, 2.0, density)
        assert np.mean(1 / density) == pytest.approx(1, abs=0.05)
