"""The points themselves: nets, lattices, strata, maps, and what draw() labels."""

import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar.samplers import (
    CHUNK,
    Antithetic,
    BlockedStream,
    Halton,
    LatinHypercube,
    Lattice,
    MonteCarlo,
    Sobol,
    Stratified,
)
from mcvar.samplers.base import MOST_SIZE
from mcvar.samplers.lattice_vector import construct, generating_vector
from mcvar.samplers.rotation import Rotation
from mcvar.samplers.separable_map import SeparableMap
from mcvar.samplers.stratified import _allocate, _bins
from mcvar.targets import as_target

CUBE = [(0, 1)] * 3


def test_table_of_the_lattice_begins_as_constructed():
    weights = 0.02 / np.sqrt(np.arange(1, 7))
    assert (construct(weights, 4, 20) == generating_vector(6)).all()


def test_small_construction_is_the_best_by_brute_force():
    """Second component for 16 points: the least worst-case error over all odd numbers."""

    def omega(x):
        return 2 * np.pi**2 * (x * x - x + 1 / 6)

    weights = np.array([0.5, 0.3])
    found = construct(weights, 4, 4)
    i = np.arange(16)

    def error(z):
        return np.mean(np.prod(1 + weights * omega(np.outer(i, [1, z]) % 16 / 16), axis=1)) - 1

    errors = {z: error(z) for z in range(1, 16, 2)}
    assert errors[int(found[1])] == pytest.approx(min(errors.values()))


@pytest.mark.parametrize("seed", range(3))
def test_scrambled_sobol_points_are_nets(seed):
    """Each elementary interval of volume 1/n in 2 dimensions holds exactly one of n points."""
    draws = Sobol(2).draw([(0, 1)] * 2, 2 * 256, rng=seed)
    for r in range(2):
        u = draws.x[draws.replicate == r]
        for k in range(9):
            cell = np.floor(u[:, 0] * 2**k) * 2 ** (8 - k) + np.floor(u[:, 1] * 2 ** (8 - k))
            assert len(np.unique(cell)) == 256


@pytest.mark.parametrize(
    "sampler", [Sobol(4), Lattice(4), Halton(4), LatinHypercube()], ids=lambda sampler: sampler.name
)
def test_every_coordinate_of_every_replicate_is_stratified(sampler):
    draws = sampler.draw(CUBE, 1024, rng=2)
    size = np.bincount(draws.replicate)[0]
    for r in np.unique(draws.replicate):
        u = draws.x[draws.replicate == r]
        counts = [np.bincount((u[:, j] * 16).astype(int), minlength=16) for j in range(3)]
        assert np.abs(np.array(counts) - size / 16).max() <= (3 if sampler.name == "halton" else 1)


@pytest.mark.parametrize(
    "sampler",
    [MonteCarlo(), Antithetic(), Sobol(), Lattice(), Halton(), LatinHypercube()],
    ids=lambda sampler: sampler.name,
)
def test_single_points_are_uniform(sampler):
    x = np.concatenate([sampler.draw(CUBE, 64, rng=seed).x[:8] for seed in range(400)])
    for j in range(3):
        assert stats.kstest(x[::8, j], "uniform").pvalue > 1e-5
        assert stats.kstest(x[5::8, j], "uniform").pvalue > 1e-5


def test_pairs_are_antithetic():
    draws = Antithetic().draw(CUBE, 100, rng=1)
    np.testing.assert_allclose(draws.x[0::2] + draws.x[1::2], 1)
    assert (draws.replicate == np.arange(100) // 2).all()


def test_plans_stop_where_a_sequence_would_repeat():
    assert Sobol().plan(2**36).size == MOST_SIZE
    assert Sobol().plan(2**36).n == 2**36
    assert Sobol().plan(10_000) == mcvar.samplers.Plan(9, 1024)


@pytest.mark.parametrize("d", [1, 2, 3, 7])
@pytest.mark.parametrize("cells", [1, 2, 5, 16, 100, 1000])
def test_bins_fill_but_never_exceed(cells, d):
    bins = _bins(cells, d)
    assert cells / 2 < np.prod(bins) <= cells
    assert max(bins) <= 2 * min(bins)


def test_allocation_is_exact_and_fair():
    shares = np.array([0.1, 0.2, 0.7])
    for size in (3, 10, 101):
        counts = np.stack([_allocate(shares, size, np.random.default_rng(s)) for s in range(50)])
        assert (counts.sum(axis=1) == size).all()
        assert (counts >= 1).all()
        assert np.abs(counts - (1 + shares * (size - 3))).max() < 1


def test_strata_hold_what_they_were_allotted():
    sampler = Stratified(bins=(4, 2), shares=np.array([0.3] + [0.1] * 7))
    draws = sampler.draw([(0, 1)] * 2, 8 * 80, rng=1)
    u = draws.x[draws.replicate == 0]
    cell = np.floor(u[:, 0] * 4).astype(int) * 2 + np.floor(u[:, 1] * 2).astype(int)
    counts = np.bincount(cell, minlength=8)
    weights = draws.weights[draws.replicate == 0]
    np.testing.assert_allclose(weights, counts.sum() / 8 / counts[cell])
    assert counts[0] > 2 * counts[1:].max() - 3


@pytest.mark.parametrize("d", [1, 3, 7])
@pytest.mark.parametrize("n", [64, 1000, 20_000])
def test_proportional_strata_weigh_all_draws_alike(n, d):
    """Unequal cells would cost up to an eighth where there is nothing to gain."""
    draws = Stratified().draw([(0, 1)] * d, n, rng=1)
    assert draws.weights is None


def test_separable_map_is_a_change_of_variables():
    rng = np.random.default_rng(3)
    moved = SeparableMap(rng.uniform(0.05, 4, (2, 17)))
    u = Sobol(2).draw([(0, 1)] * 2, 2**14, rng=1).x
    warping = moved(u)
    assert warping.weights.mean() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(moved.density(warping.u), 1 / warping.weights, rtol=1e-8)
    assert (warping.weights * warping.u[:, 0] ** 2).mean() == pytest.approx(1 / 3, abs=1e-3)


@pytest.mark.parametrize("how", ["gradient", "spread"])
def test_rotations_keep_the_law(how):
    rng = np.random.default_rng(4)
    u, values = rng.random((500, 4)), rng.standard_normal((500, 2))
    rotation = (
        Rotation.along_gradient(u, values)
        if how == "gradient"
        else Rotation.along_spread(u, np.ones(500), np.abs(values[:, 0]))
    )
    np.testing.assert_allclose(rotation.matrix @ rotation.matrix.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(rotation.inverse(rotation(u).u), u, atol=1e-9)
    for column in rotation(u).u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("m", [1, 2])
def test_neyman_without_spread_in_the_pilot_is_proportional(m):
    """As of a corner that the pilot misses, on half of all seeds."""

    def corner(x):
        values = ((x > 0.97).all(axis=1)).astype(float)
        return values if m == 1 else np.stack([values] * m, axis=1)

    runs = [
        mcvar.estimate(
            corner, CUBE[:2], n=4096, sampler=Stratified("neyman"), control=None, rng=seed
        )
        for seed in range(20)
    ]
    assert np.mean([est.value for est in runs]) == pytest.approx(9e-4, abs=3e-4)


def test_auto_says_what_it_chose():
    peak = lambda x: np.exp(-50 * ((x - 0.3) ** 2).sum(axis=1))  # noqa: E731
    est = mcvar.estimate(peak, [(0, 1)] * 4, rng=1)
    assert est.sampler != "auto"
    law = stats.multivariate_t([0, 0], df=8)
    assert mcvar.estimate(lambda x: x[:, 0], law, rng=1).sampler == "montecarlo"


def test_auto_judges_by_the_worst_component():
    """Of Sobol' indices of Ishigami's function a lattice integrates some columns to rounding,
    others worse than plain Monte Carlo does."""

    def ishigami(x):
        x = np.pi * (2 * x - 1)
        return np.sin(x[:, 0]) * (1 + 0.1 * x[:, 2] ** 4) + 7 * np.sin(x[:, 1]) ** 2

    def columns(u):
        a, b = u[:, :3], u[:, 3:]
        mixed = np.stack([a[:, 0], a[:, 1], b[:, 2]], axis=1)
        f, other, both = ishigami(a), ishigami(b), ishigami(mixed)
        return np.stack([f, f**2, other * (both - f), (f - both) ** 2 / 2], axis=1)

    variance = columns(np.random.default_rng(0).random((100_000, 6))).var(axis=0)
    errors = [
        mcvar.estimate(columns, [(0, 1)] * 6, n=8192, control=None, rng=seed).standard_error
        for seed in range(5)
    ]
    assert (np.mean(np.square(errors), axis=0) < variance / 8192).all()


def test_auto_does_not_choose_by_what_is_constant():
    def periodic(x):
        return np.prod(1 + 0.3 * np.cos(2 * np.pi * x), axis=1)

    def rounding(x):
        return x[:, 0] * 3 / 3 / x[:, 0]

    box = [(0, 1)] * 3
    assert mcvar.estimate(periodic, box, n=20_000, control=None, rng=1).sampler == "lattice"
    both = mcvar.estimate(
        lambda x: np.stack([periodic(x), rounding(x)], axis=1), box, n=20_000, control=None, rng=1
    )
    assert both.sampler == "lattice"
    assert mcvar.estimate(rounding, box, n=20_000, control=None, rng=1).sampler == "sobol"


def test_independent_draws_are_the_same_however_they_are_asked_for():
    """By a kernel or NumPy, in order or not, whole chunks or single rows; and none comes twice."""
    target, seed = as_target([(0, 1)] * 2), np.random.SeedSequence(5)
    n = 600_000  # blocks of several chunks from 2**17 on
    plain, compiled = BlockedStream(target, seed), BlockedStream(target, seed)
    compiled.compile()
    x = plain(0, n).x
    assert len(np.unique(x, axis=0)) == n
    again = np.concatenate(
        [compiled(start, min(CHUNK, n - start)).x for start in range(0, n, CHUNK)]
    )
    np.testing.assert_array_equal(again, x)
    fresh = BlockedStream(target, seed)
    for start, count in [(300_000, 7), (5, 1), (299_990, 40_000), (0, 3), (524_280, 20)]:
        np.testing.assert_array_equal(fresh(start, count).x, x[start : start + count])
        np.testing.assert_array_equal(compiled(start, count).x, x[start : start + count])
