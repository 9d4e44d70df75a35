"""Forms of the integrand, what comes out, and what repeats."""

import os
import re
import subprocess
import sys

import numba
import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar.control import KnownMean, Polynomial
from mcvar.samplers import Stratified
from tests import naive

BOX = [(0, 1), (-1, 2)]
NAMES = [
    "auto",
    "montecarlo",
    "antithetic",
    "latin",
    "sobol",
    "halton",
    "lattice",
    "stratified",
    "importance",
    "vegas",
]


def f(x):
    return np.exp(x[:, 0] * x[:, 1])


@numba.njit
def scalar(x):
    return np.exp(x[0] * x[1])


def same(a, b):
    return a.value == b.value and a.standard_error == b.standard_error and a.n == b.n


@pytest.mark.parametrize("n", [1000, 20_000, 300_000])
@pytest.mark.parametrize("sampler", ["montecarlo", "sobol", "auto"])
def test_compiled_functions_see_the_same_points(sampler, n):
    options = {"n": n, "sampler": sampler, "control": None, "rng": 4}
    fused = mcvar.estimate(scalar, BOX, **options)
    plain = mcvar.estimate(f, BOX, **options)
    assert fused.n == plain.n
    assert fused.value == pytest.approx(plain.value, rel=1e-13)
    assert fused.standard_error == pytest.approx(plain.standard_error, rel=1e-6)


@pytest.mark.parametrize("target", [stats.norm(0, 1), [(0, np.inf)], [stats.gamma(2)]])
def test_compiled_functions_beyond_boxes(target):
    compiled = numba.njit(lambda x: np.exp(-(x[0] ** 2)))
    options = {"n": 5000, "sampler": "montecarlo", "rng": 4}
    a = mcvar.estimate(compiled, target, **options)
    b = mcvar.estimate(lambda x: np.exp(-(x[:, 0] ** 2)), target, **options)
    assert a.value == pytest.approx(b.value, rel=1e-13)


def test_long_runs_draw_the_same_bits_compiled_or_not():
    n = 2**20 + 1000
    first = []

    def keep(x):
        if not first:
            first.append(x[:100].copy())
        return x[:, 0]

    mcvar.estimate(keep, [(0, 1)] * 3, n=n, sampler="montecarlo", control=None, rng=3)
    long, first = first[0], []

    def keep_again(x):
        first.append(x[:100].copy())
        return x[:, 0]

    mcvar.estimate(keep_again, [(0, 1)] * 3, n=500, sampler="montecarlo", control=None, rng=3)
    assert (long == first[0][:100]).all()


def test_compiled_functions_with_a_singular_corner():
    est = mcvar.estimate(
        numba.njit(lambda x: 1 / x[0] ** 0.25), [(0, 1)], sampler="montecarlo", control=None, rng=1
    )
    assert est.value == pytest.approx(4 / 3, abs=5 * est.standard_error)


@pytest.mark.parametrize("sampler", ["auto", "montecarlo"])
def test_one_point_at_a_time(sampler):
    def one(x):
        assert x.shape == (2,)
        return float(np.exp(x[0] * x[1]))

    # Without a control, whose folds are cut block by block: blocks are smaller for slow functions.
    options = {"n": 3000, "sampler": sampler, "control": None, "rng": 2}
    a = mcvar.estimate(one, BOX, vectorized=False, **options)
    b = mcvar.estimate(f, BOX, **options)
    assert a.value == pytest.approx(b.value, rel=1e-12)
    rows = mcvar.estimate(
        lambda x: [x[0], x[1]], BOX, n=3000, vectorized=False, sampler=sampler, rng=2
    )
    assert rows.value.shape == (2,)


def test_compiled_functions_of_all_points():
    many = numba.njit(lambda x: x[:, 0] * x[:, 1])
    a = mcvar.estimate(many, BOX, n=3000, vectorized=True, rng=2)
    assert a.value == pytest.approx(0.75, abs=6 * a.standard_error)


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y.tolist(),
        lambda y: np.repeat(y, 3)[::3],
        lambda y: np.broadcast_to(y, y.shape),
        lambda y: y[::-1][::-1],
        lambda y: np.asfortranarray(y),
        tuple,
    ],
)
def test_forms_of_output(form):
    a = mcvar.estimate(lambda x: form(f(x)), BOX, n=4096, rng=1)
    assert a.value == mcvar.estimate(f, BOX, n=4096, rng=1).value


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.float32])
def test_types_of_output(dtype):
    a = mcvar.estimate(lambda x: (x[:, 0] < 0.3).astype(dtype), BOX, n=2**14, rng=1)
    assert isinstance(a.value, float)
    assert a.value == pytest.approx(0.9, abs=0.01)


def test_compiled_types_of_output():
    for g in (lambda x: x[0] < 0.3, lambda x: int(x[0] < 0.3)):
        a = mcvar.estimate(numba.njit(g), BOX, sampler="montecarlo", control=None, rng=1)
        assert a.value == pytest.approx(0.9, abs=5 * a.standard_error)


@pytest.mark.parametrize("sampler", NAMES)
def test_many_integrals_are_each_as_if_alone(sampler):
    est = mcvar.estimate(
        lambda x: np.stack([f(x), x[:, 0] < 0.3, x[:, 1] ** 3], axis=1),
        BOX,
        n=4096,
        sampler=sampler,
        control=None,
        rng=1,
    )
    assert est.value.shape == est.standard_error.shape == est.variance_reduction.shape == (3,)
    np.testing.assert_allclose(est.value, [4.5, 0.9, 3.75], rtol=0.5)
    if sampler not in ("auto", "importance", "vegas"):  # whose training sees all components
        alone = mcvar.estimate(f, BOX, n=4096, sampler=sampler, control=None, rng=1)
        assert est.value[0] == pytest.approx(alone.value, rel=1e-12)
        assert est.standard_error[0] == pytest.approx(alone.standard_error, rel=1e-9)
    low, high = est.confidence_interval(0.9)
    assert low.shape == high.shape == (3,)


@pytest.mark.parametrize("sampler", NAMES)
@pytest.mark.parametrize("control", [None, Polynomial(2)])
def test_covariance(sampler, control):
    def g(x):
        return np.stack([f(x), f(x) ** 2 - x[:, 0], np.sin(3 * x[:, 1] + 1)], axis=1)

    options = {"n": 4096, "sampler": sampler, "control": control, "rng": 1}
    off = mcvar.estimate(g, BOX, **options)
    on = mcvar.estimate(g, BOX, covariance=True, **options)
    assert off.covariance is None
    np.testing.assert_allclose(on.value, off.value, rtol=1e-12)
    np.testing.assert_allclose(on.standard_error, off.standard_error, rtol=1e-5)
    np.testing.assert_allclose(np.sqrt(np.diagonal(on.covariance)), on.standard_error)
    assert np.linalg.eigvalsh(on.covariance)[0] > -1e-9 * np.trace(on.covariance)
    # The variance of a sum needs what lies off the diagonal.
    total = mcvar.estimate(lambda x: g(x).sum(axis=1), BOX, **options)
    if sampler not in ("auto", "importance", "vegas"):
        # Equal spreads; but each column's bar allows for its own tail, and so does the sum's.
        assert on.covariance.sum() == pytest.approx(total.standard_error**2, rel=0.4)


@pytest.mark.parametrize("covariance", [False, True])
@pytest.mark.parametrize("sampler", ["montecarlo", "antithetic", "sobol"])
def test_controls_that_explain_everything(sampler, covariance):
    est = mcvar.estimate(
        lambda x: np.stack([x[:, 0] ** 2, x[:, 0] * x[:, 1] + 1e6], axis=1),
        BOX,
        n=4096,
        sampler=sampler,
        control=Polynomial(2),
        covariance=covariance,
        rng=1,
    )
    np.testing.assert_allclose(est.value, [1, 0.75 + 3e6], rtol=1e-10)
    assert (est.standard_error < 1e-6).all()


@pytest.mark.parametrize("sampler", [*NAMES, Stratified("neyman")])
def test_seeds_repeat_and_differ(sampler):
    def run(rng):
        return mcvar.estimate(f, BOX, n=4096, sampler=sampler, rng=rng)

    first = run(7)
    assert same(first, run(7))
    assert same(first, run(first.seed))
    assert first.value != run(8).value
    rng = np.random.default_rng(7)
    a, b = run(rng), run(rng)
    assert a.value != b.value
    assert same(a, run(np.random.default_rng(7)))
    assert same(b, run(b.seed))
    sequence = np.random.SeedSequence(3)
    assert same(run(sequence), run(np.random.SeedSequence(3)))
    assert run(None).value != run(None).value


def test_global_random_state_is_left_alone():
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for sampler in NAMES:
        mcvar.estimate(f, BOX, n=2048, sampler=sampler, rng=1)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("sampler", [*NAMES, Stratified("neyman")])
@pytest.mark.parametrize("n", [64, 100, 999, 2048, 5000, 12_345])
def test_n_is_never_exceeded(sampler, n):
    calls = 0

    def counted(x):
        nonlocal calls
        calls += len(x)
        return f(x)

    est = mcvar.estimate(counted, BOX, n=n, sampler=sampler, rng=1)
    assert est.n == calls <= n
    assert calls > 0.7 * n
    calls = 0
    est = mcvar.estimate(counted, BOX, rtol=1e-12, max_n=n, sampler=sampler, rng=1)
    assert est.n == calls <= n
    assert est.status != "converged"
    assert "raise max_n" in est.reasons[-1] or "no spread" in est.reasons[-1]


def test_history_ends_with_the_estimate():
    for sampler in ("auto", "montecarlo", "latin"):
        est = mcvar.estimate(f, BOX, sampler=sampler, rng=1)
        counts = [look.n for look in est.history]
        assert counts == sorted(set(counts))
        assert sampler == "latin" or len(counts) > 2
        last = est.history[-1]
        assert (last.n, last.value[0], last.standard_error[0]) == (
            est.n,
            est.value,
            est.standard_error,
        )


def test_results_are_frozen():
    est = mcvar.estimate(lambda x: x, BOX, n=1000, rng=1, covariance=True)
    with pytest.raises(AttributeError):
        est.value = 3
    for array in (est.value, est.standard_error, est.variance_reduction, est.covariance):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 3


def test_confidence_intervals_are_students():
    est = mcvar.Estimate(value=1.0, standard_error=2.0, n=8, df=7)
    for level in (0.5, 0.9, 0.95, 0.999):
        low, high = est.confidence_interval(level)
        assert (low, high) == pytest.approx(stats.t(7, 1, 2).interval(level))
    low, high = mcvar.Estimate(value=1.0, standard_error=2.0, n=8).confidence_interval(0.95)
    assert (low, high) == pytest.approx(stats.norm(1, 2).interval(0.95))
    for level in (0, 1, -1, 95, np.nan):
        with pytest.raises(ValueError, match="level must lie strictly between 0 and 1"):
            est.confidence_interval(level)


def test_repr_is_what_a_paper_would_say():
    est = mcvar.estimate(f, BOX, rng=1)
    assert re.fullmatch(
        r"Estimate\(\d\.\d+\(\d\d\), n=\d+, [\d.e+]+x plain .*, completed\)", repr(est)
    )
    many = mcvar.estimate(
        lambda x: np.repeat(x, 5, axis=1), BOX, n=1000, sampler="montecarlo", control=None, rng=1
    )
    assert "... 10 components]" in repr(many)


@pytest.mark.parametrize("scale", [1.0, 1e5])
def test_streaming_cross_fit_equals_the_one_in_memory(scale):
    """Folds take turns, as for existing draws."""
    chunk, n = mcvar.samplers.CHUNK, 4 * mcvar.samplers.CHUNK
    kept = []

    def g(x):
        kept.append(x.copy())
        return scale + np.exp(x[:, 0] * x[:, 1])

    h = KnownMean(
        lambda x: np.stack([x[:, 0], x[:, 1], x[:, 0] * x[:, 1]], axis=1), [1.5, 1.5, 0.75]
    )
    est = mcvar.estimate(g, BOX, n=n, sampler="montecarlo", control=h, folds=4, rng=5)
    x = np.concatenate(kept)
    labels = np.arange(len(x)) % 4
    assert chunk * 4 == len(x)
    features = np.stack([x[:, 0] - 0.5, x[:, 1] - 0.5, x[:, 0] * x[:, 1] - 0.25], axis=1)
    values = (scale + np.exp(x[:, 0] * x[:, 1]))[:, None]
    mean, error = naive.cross_fit(values, features, labels)
    assert est.value == pytest.approx(3 * mean[0], rel=1e-11)
    assert 3 * error[0] * 0.999 < est.standard_error < 3 * error[0] * 2


def test_coefficients_frozen_in_long_runs_stay_honest():
    """Beyond 2^17 draws coefficients are fixed; the error must still be that of the residuals."""
    n = 400_000
    est = mcvar.estimate(f, BOX, n=n, sampler="montecarlo", control=Polynomial(2), rng=1)
    short = mcvar.estimate(f, BOX, n=100_000, sampler="montecarlo", control=Polynomial(2), rng=2)
    assert 0.3 < est.standard_error / short.standard_error < 0.7
    exact = mcvar.estimate(f, BOX, n=2**20, sampler="lattice", rng=3)
    assert abs(est.value - exact.value) < 5 * est.standard_error


MEMORY = """
import resource, sys, numpy as np, mcvar
mcvar.estimate(lambda x: np.exp(x[:, 0]), [(0, 1)] * 5, n=int(sys.argv[1]), rng=1,
               sampler="montecarlo", control=mcvar.control.Polynomial(2))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_n():
    def peak(n):
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(n)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return int(done.stdout)

    # The points of the first look at 3.2e7 draws alone would take 80 MB, of all 1.3 GB.
    assert peak(32_000_000) < peak(200_000) + 60_000


@pytest.mark.parametrize("control", [None, Polynomial(2)])
@pytest.mark.parametrize("sampler", ["montecarlo", "sobol", "latin", "halton"])
def test_interrupted_runs_return_what_they_have(sampler, control):
    calls = 0

    def interrupted(x):
        nonlocal calls
        calls += 1
        if calls > 90:
            raise KeyboardInterrupt
        return f(x)

    est = mcvar.estimate(
        interrupted, BOX, rtol=1e-12, max_n=2**22, sampler=sampler, control=control, rng=1
    )
    assert est.status == "budget"
    assert "interrupted after" in est.reasons[0]
    assert est.n < 2**22
    assert abs(est.value - 4.4804) < 0.1 + 6 * est.standard_error


def test_interrupted_before_the_first_look():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mcvar.estimate(interrupted, BOX, rng=1)


@pytest.mark.parametrize("sampler", ["montecarlo", "auto", "latin", "antithetic", "vegas"])
def test_tolerances_are_met(sampler):
    exact = mcvar.estimate(f, BOX, n=2**19, sampler="lattice", rng=3).value
    repeats, hits = 60, 0
    for seed in range(repeats):
        est = mcvar.estimate(f, BOX, rtol=4e-3, sampler=sampler, control=None, rng=seed)
        assert est.status == "converged"
        hits += abs(est.value - exact) <= 4e-3 * abs(exact)
    assert hits >= stats.binom.ppf(1e-6, repeats, 0.95)


def test_tolerances_are_met_per_component():
    def g(x):
        return np.stack([f(x), 1000 * x[:, 0] * x[:, 1]], axis=1)

    est = mcvar.estimate(g, BOX, atol=[0.05, 5.0], sampler="montecarlo", control=None, rng=1)
    half = np.subtract(*est.confidence_interval(0.95)[::-1]) / 2
    assert (half <= [0.05, 5.0]).all()
    tighter = mcvar.estimate(g, BOX, atol=[0.05, 2.0], sampler="montecarlo", control=None, rng=1)
    assert tighter.n > 4 * est.n
    loose = mcvar.estimate(
        g, BOX, rtol=1e-12, atol=[0.05, 5.0], sampler="montecarlo", control=None, rng=1
    )
    assert loose.n == est.n
    few = mcvar.estimate(
        g, BOX, atol=[0.05, 1e-9], max_n=5000, sampler="montecarlo", control=None, rng=1
    )
    assert few.status == "budget"
    assert "in component 1" in few.reasons[0]


def test_progress_bar_counts_the_draws(capsys):
    mcvar.estimate(f, BOX, n=4096, sampler="sobol", rng=1, progress=True)
    assert "100%" in capsys.readouterr().err


def test_variance_reduction_is_that_of_the_squared_errors():
    """100 repeats: the mean squared error of plain Monte Carlo over the claimed gain."""
    runs = [mcvar.estimate(f, BOX, n=2048, sampler="sobol", rng=seed) for seed in range(100)]
    exact = mcvar.estimate(f, BOX, n=2**19, sampler="lattice", rng=3).value
    u = np.random.default_rng(1).random((10**6, 2))
    variance = 9 * np.exp(u[:, 0] * (3 * u[:, 1] - 1)).var()
    measured = variance / 2048 / np.mean([(run.value - exact) ** 2 for run in runs])
    claimed = 1 / np.mean([1 / run.variance_reduction for run in runs])
    assert claimed == pytest.approx(measured, rel=0.5)


def test_effective_sample_size_of_an_infinite_box_is_n():
    """Its weights are no likelihood ratios: they say nothing of the sample's worth."""
    est = mcvar.estimate(lambda x: np.exp(-(x[:, 0] ** 2)), [(-np.inf, np.inf)], n=4096, rng=1)
    assert est.ess > 0.9 * est.n * 0.8
