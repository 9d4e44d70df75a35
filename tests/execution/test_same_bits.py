"""One hash, wherever and however often interrupted an estimate is computed."""

import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import mcvar
from tests.execution.problems import BOX, KillsOnce, digest, product, smooth, two

SAMPLERS = (
    "auto",
    "montecarlo",
    "antithetic",
    "latin",
    "sobol",
    "halton",
    "lattice",
    "stratified",
    "vegas",
)
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def processes(count):
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        yield pool


@contextmanager
def threads(count):
    with ThreadPoolExecutor(count) as pool:
        yield pool


@contextmanager
def loky_pool(count):
    loky = pytest.importorskip("loky", reason="loky is not installed")
    pool = loky.get_reusable_executor(max_workers=count, timeout=30)
    try:
        yield pool
    finally:
        loky.get_reusable_executor(max_workers=count).shutdown(kill_workers=True)


@contextmanager
def dask_cluster(count):
    distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    with (
        distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=None, processes=True
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor()


def run(executor=None, integrand=smooth, **options):
    return mcvar.estimate(
        integrand, BOX, n=6000, sampler="montecarlo", rng=7, executor=executor, **options
    )


@pytest.fixture(scope="module")
def expected():
    return digest(run())


@pytest.mark.parametrize(
    ("pool", "count"),
    [(threads, 2), (threads, 5), (processes, 1), (processes, 2), (processes, 3), (loky_pool, 2)],
)
def test_any_pool(expected, pool, count):
    with pool(count) as executor:
        assert digest(run(executor)) == expected


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_dask_and_a_dask_worker_that_is_killed(expected, tmp_path):
    with dask_cluster(2) as executor:
        assert digest(run(executor)) == expected
        assert digest(run(executor, KillsOnce(tmp_path / "flag"))) == expected
        assert (tmp_path / "flag").exists()


@pytest.mark.parametrize("pool", [processes, loky_pool])
def test_a_worker_that_is_killed(expected, pool, tmp_path, caplog):
    with pool(2) as executor:
        assert digest(run(executor, KillsOnce(tmp_path / "flag"))) == expected
    assert (tmp_path / "flag").exists()
    assert "sent again" in caplog.text


def test_a_driver_that_is_killed_three_times(expected, tmp_path):
    """By SIGKILL in its sixth block, each time; the last call is as if nothing had been."""
    log, file = tmp_path / "calls", tmp_path / "run.sqlite"
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path.insert(0, {str(ROOT)!r})
        import mcvar
        import mcvar.execution.checkpoint
        from tests.execution.problems import BOX, digest, smooth

        mcvar.execution.checkpoint._COMMITS_SHARE = 0  # every block as soon as it is there
        calls = 0

        def f(x):
            global calls
            calls += 1
            killed = calls == 6 and sys.argv[1] == "kill"
            with open({str(log)!r}, "a") as lines:
                print(len(x), killed, file=lines)
            if killed:
                os.kill(os.getpid(), signal.SIGKILL)
            return smooth(x)

        est = mcvar.estimate(f, BOX, n=6000, sampler="montecarlo", rng=7,
                             checkpoint={str(file)!r})
        print(digest(est))
    """)
    program = [sys.executable, "-c", script]
    for _ in range(3):
        assert subprocess.run([*program, "kill"]).returncode == -signal.SIGKILL
    last = subprocess.run([*program, "finish"], capture_output=True, text=True, check=True)
    assert last.stdout.strip() == expected
    blocks = [line.split() for line in log.read_text().splitlines()]
    # What was being computed at each kill, and nothing else, was computed twice.
    assert sum(killed == "True" for _, killed in blocks) == 3
    assert sum(int(n) for n, killed in blocks if killed == "False") == 6000


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler(sampler):
    options = {"n": 9000, "sampler": sampler, "rng": 3, "covariance": True}
    serial = mcvar.estimate(two, BOX, **options)
    with threads(3) as executor:
        assert digest(mcvar.estimate(two, BOX, executor=executor, **options)) == digest(serial)
    many = mcvar.estimate(two, BOX, batch_size=100, **options)
    with threads(3) as executor:
        again = mcvar.estimate(two, BOX, batch_size=100, executor=executor, **options)
    assert digest(again) == digest(many)
    assert np.allclose(many.value, serial.value, atol=4 * np.max(serial.standard_error))


@pytest.mark.parametrize(
    ("integrand", "target", "options"),
    [
        (product, BOX, {"control": mcvar.control.Polynomial(2)}),
        (product, BOX, {"control": mcvar.control.Polynomial(3, penalty="lasso")}),
        (smooth, BOX, {"control": mcvar.control.NearestNeighbors(), "n": 1000}),
        (lambda x: x[:, 0] > 3, scipy.stats.norm(), {"sampler": "importance"}),
        (smooth, [scipy.stats.gamma(2.0)] * 3, {}),
        (
            smooth,
            mcvar.Unnormalized(
                lambda x: -0.5 * (x**2).sum(axis=1), proposal=[scipy.stats.norm(0, 2)] * 2
            ),
            {},
        ),
        (lambda x: float(x.sum() ** 2), BOX, {"vectorized": False}),
        (
            smooth,
            BOX,
            {"n": 300_000, "control": mcvar.control.Polynomial(2)},
        ),  # coefficients freeze
    ],
)
@pytest.mark.parametrize("sampler", ["montecarlo", "auto"])
def test_controls_targets_and_forms(integrand, target, options, sampler, tmp_path):
    options = {"n": 4000, "rng": 5, "sampler": sampler} | options
    serial = digest(mcvar.estimate(integrand, target, **options))
    with threads(3) as executor:
        assert digest(mcvar.estimate(integrand, target, executor=executor, **options)) == serial
    for _ in range(2):  # written, and read
        kept = mcvar.estimate(integrand, target, checkpoint=tmp_path / "run.sqlite", **options)
        assert digest(kept) == serial


def test_linear_algebra_in_other_processes():
    """Its bits depend on how points lie in memory: pilots, training, draws and directions."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40_000, 3)), rng.normal(size=(40_000, 3))
    with processes(1) as executor:
        for options in ({}, {"sampler": "vegas"}, {"sampler": "montecarlo"}):
            here = mcvar.estimate(product, BOX, n=4000, rng=5, **options)
            there = mcvar.estimate(product, BOX, n=4000, rng=5, executor=executor, **options)
            assert digest(here) == digest(there)
        # A job of a megabyte, which workers find in shared memory.
        options = {"n": 16, "method": "orthogonal", "rng": 1}
        here = mcvar.sliced_wasserstein(x, y, **options)
        assert here.value == mcvar.sliced_wasserstein(x, y, executor=executor, **options).value


def test_a_tolerance_that_is_tightened(tmp_path):
    options = {"rng": 1, "sampler": "montecarlo", "max_n": 2**18}
    whole = mcvar.estimate(smooth, BOX, rtol=2e-5, **options)
    rough = mcvar.estimate(smooth, BOX, rtol=1e-3, checkpoint=tmp_path / "run.sqlite", **options)
    assert rough.n < whole.n
    assert digest(rough.resume(rtol=2e-5)) == digest(whole)


def test_sliced_wasserstein_and_pairwise_matrices(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3000, 4)), rng.normal(0.3, 1.5, size=(2000, 4))
    serial = mcvar.sliced_wasserstein(x, y, n=256, rng=1)
    matrix = mcvar.sliced.pairwise_sliced_wasserstein([x, y, x[:1000]], n=64, rng=1)
    with processes(2) as executor:
        spread = mcvar.sliced_wasserstein(x, y, n=256, rng=1, executor=executor)
        again = mcvar.sliced.pairwise_sliced_wasserstein(
            [x, y, x[:1000]], n=64, rng=1, executor=executor
        )
    assert (spread.value, spread.standard_error) == (serial.value, serial.standard_error)
    assert (again == matrix).all()
    for _ in range(2):
        kept = mcvar.sliced_wasserstein(x, y, n=256, rng=1, checkpoint=tmp_path / "sw.sqlite")
        assert (kept.value, kept.standard_error) == (serial.value, serial.standard_error)
    with pytest.raises(mcvar.CheckpointError, match="another problem"):
        mcvar.sliced_wasserstein(x, 2 * y, n=256, rng=1, checkpoint=tmp_path / "sw.sqlite")
