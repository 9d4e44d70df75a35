"""Guards of the hot loops, by pytest-benchmark; not part of the normal suite.

    pytest -n 0 benchmarks/test_hot_loops.py --benchmark-autosave
    pytest -n 0 benchmarks/test_hot_loops.py --benchmark-compare --benchmark-compare-fail=median:25%

Each runs the smallest whole call in which one loop is most of the time; what it returns is looked
at, so that a fast wrong loop does not pass.
"""

import time

import numpy as np
import pytest

import mcvar
from benchmarks.overhead import BOX, jitted, vectorised
from mcvar.control import SteinKernel, SteinPolynomial, VectorSteinKernel
from mcvar.sliced import directions, sliced_wasserstein_distance, sliced_wasserstein_gradient

pytest.importorskip("pytest_benchmark")

TRUTH = (1 - np.exp(-1)) ** 5
PLAIN = {"sampler": "montecarlo", "control": None, "rng": 1}


# Seconds of the processor: other programs hardly count.
pytestmark = pytest.mark.benchmark(timer=time.process_time)


@pytest.fixture
def timed(benchmark):
    """Time a call after one that compiles."""

    def run(call, rounds=7):
        return benchmark.pedantic(call, rounds=rounds, warmup_rounds=1)

    return run


@pytest.fixture(scope="module")
def clouds():
    rng = np.random.default_rng(0)
    return rng.normal(size=(10_000, 3)), 0.3 + 1.2 * rng.normal(size=(10_000, 3))


@pytest.fixture(scope="module")
def draws():
    x = np.random.default_rng(1).standard_normal((1000, 10))
    return x, -x, np.exp(x[:, 0] / 2)


@pytest.mark.parametrize(
    ("integrand", "options"),
    [
        pytest.param(jitted, PLAIN, id="compiled integrand"),
        pytest.param(vectorised, PLAIN, id="numpy integrand"),
        pytest.param(jitted, PLAIN | {"sampler": "sobol"}, id="compiled, sobol"),
        pytest.param(vectorised, PLAIN | {"sampler": "lattice"}, id="lattice"),
        pytest.param(vectorised, PLAIN | {"sampler": "vegas"}, id="vegas map"),
        pytest.param(
            vectorised, PLAIN | {"control": mcvar.control.Polynomial(2)}, id="streamed control"
        ),
    ],
)
def test_estimate(timed, integrand, options):
    est = timed(lambda: mcvar.estimate(integrand, BOX, n=2**20, **options))
    assert abs(est.value - TRUTH) < 6 * est.standard_error + 1e-12


def test_stein_polynomial(timed, draws):
    x, s, y = draws
    control = SteinPolynomial(2)
    assert abs(timed(lambda: control.fit(x, y, s)).mean_ - np.exp(1 / 8)) < 0.05


def test_stein_kernel(timed, draws):
    x, s, y = draws
    control = SteinKernel(kernel=mcvar.control.kernels.Gaussian(4.0), ridge=1e-6)
    assert abs(timed(lambda: control.fit(x, y, grad_logpdf=s)).mean_ - np.exp(1 / 8)) < 0.05


def test_vector_stein_kernel(timed):
    x = [np.random.default_rng(k).standard_normal((50, 1)) for k in (0, 1)]
    y = [np.cos(x[0][:, 0]), 2 * np.cos(x[1][:, 0])]
    made = timed(lambda: VectorSteinKernel().fit(x, y, [-p for p in x]), rounds=3)
    assert np.allclose(made.mean_, [np.exp(-0.5), 2 * np.exp(-0.5)], atol=0.02)


@pytest.mark.parametrize("kind", ["equal sizes", "weighted"])
def test_sliced(timed, clouds, kind):
    x, y = clouds
    theta = directions(100, 3, "montecarlo", rng=1)
    weights = np.random.default_rng(2).dirichlet(np.ones(len(x))) if kind == "weighted" else None
    call = timed(lambda: sliced_wasserstein_distance(x, y, weights, projections=theta.T))
    projected = np.sort(x @ theta.T, axis=0) - np.sort(y @ theta.T, axis=0)
    assert abs(call / np.sqrt((projected**2).mean()) - 1) < (1e-9 if weights is None else 0.2)


def test_sliced_gradient(timed, clouds):
    x, y = clouds
    theta = directions(100, 3, "montecarlo", rng=1)
    made = timed(lambda: sliced_wasserstein_gradient(x, y, directions=theta, control=None))
    assert np.isfinite(made.gradient).all()
    assert made.gradient.shape == x.shape


def test_crashes(timed):
    from mcvar.safety.overtaking import crude_run

    rate = timed(lambda: crude_run("attentive", 50_000, 1, threads=1), rounds=3)
    assert rate.crashes <= 10
