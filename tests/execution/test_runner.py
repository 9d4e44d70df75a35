"""Order, back-pressure, errors, lost workers, interrupts and time."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import types
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import mcvar
from mcvar.execution import Key, OutOfTimeError, Runner
from tests.execution.problems import (
    BOX,
    FailsAtRandom,
    KillsAlways,
    Raises,
    TwoArgumentsError,
    digest,
    smooth,
)

ROOT = Path(__file__).resolve().parents[2]
KEYS = [Key(0, start, 1) for start in range(60)]


class Job:
    """Squares of starts, out of order in time."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.now = self.most = 0
        self.lock = threading.Lock()

    def input(self, key):
        return key.start

    def __call__(self, key, given):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds * (key.start % 3))
        with self.lock:
            self.now -= 1
        return given**2

    def pack(self, result):
        return {"square": np.asarray(result)}

    def unpack(self, arrays):
        return int(arrays["square"])


class Counting(Executor):
    """Threads that count what was submitted and not yet taken."""

    def __init__(self, workers):
        self._max_workers = workers
        self.pool = ThreadPoolExecutor(workers)
        self.submitted = 0

    def submit(self, function, *args):
        self.submitted += 1
        return self.pool.submit(function, *args)


class Unreliable(Executor):
    """Runs tasks at once, in this process; loses some."""

    _max_workers = 2

    def __init__(self, losses):
        self.losses = iter(losses)

    def submit(self, function, *args):
        future: Future = Future()
        if next(self.losses, False):
            future.set_exception(BrokenExecutor("a worker is gone"))
        else:
            future.set_result(function(*args))
        return future


def test_results_are_in_order():
    with ThreadPoolExecutor(4) as pool, Runner(pool) as runner:
        found = list(runner.run(Job(1e-3), KEYS))
    assert found == [(key, key.start**2) for key in KEYS]


def test_the_number_in_flight_is_bounded():
    """A consumer that stops for a while is not run over."""
    pool = Counting(2)
    with pool.pool, Runner(pool) as runner:
        results = runner.run(PlainJob(), [Key(0, start, 1) for start in range(5000)])
        for _ in range(10):
            next(results)
        time.sleep(0.2)
        assert pool.submitted < 10 + 5 * 8 + 8
        results.close()


class PlainJob:
    def input(self, key):
        return None

    def __call__(self, key, given):
        return key.start**2

    pack, unpack = Job.pack, Job.unpack


def test_lost_tasks_are_sent_again():
    losses = np.random.default_rng(0).random(200) < 0.3
    with Runner(Unreliable(losses)) as runner:
        assert [result for _, result in runner.run(PlainJob(), KEYS)] == [k.start**2 for k in KEYS]


def test_workers_that_die_on_everything_are_given_up():
    with (
        Runner(Unreliable([True] * 1000), seed=5) as runner,
        pytest.raises(mcvar.LostWorkersError, match=r"draws \d+-\d+ of replicate 0, seed 5"),
    ):
        list(runner.run(PlainJob(), KEYS))


class Closed(Executor):
    """Refuses whatever it is given."""

    _max_workers = 2

    def submit(self, function, *args):
        raise BrokenExecutor("closed")


def test_a_pool_that_takes_nothing_is_given_up():
    with Runner(Closed()) as runner, pytest.raises(mcvar.LostWorkersError, match="under `if"):
        list(runner.run(PlainJob(), KEYS))


def test_a_block_that_kills_its_worker_is_named(tmp_path):
    with (
        ProcessPoolExecutor(2, get_context("spawn")) as pool,
        pytest.raises(mcvar.LostWorkersError, match=r"draws \d+-\d+ of replicate 0, seed 3"),
    ):
        mcvar.estimate(
            KillsAlways(), BOX, n=4000, sampler="montecarlo", control=None, rng=3, executor=pool
        )


@pytest.mark.parametrize("workers", [None, 2])
def test_an_error_names_block_and_seed_and_loses_nothing(workers, tmp_path):
    calls = []

    def fails(x):
        calls.append(len(x))
        if len(calls) > 9:
            raise ZeroDivisionError("my own")
        return smooth(x)

    pool = None if workers is None else ThreadPoolExecutor(workers)
    options = {"n": 6000, "sampler": "montecarlo", "control": None, "rng": 11}
    with pytest.raises(ZeroDivisionError, match="my own") as caught:
        mcvar.estimate(fails, BOX, checkpoint=tmp_path / "a", executor=pool, **options)
    assert any("draws" in note and "seed 11" in note for note in caught.value.__notes__)
    done = mcvar.execution.read_progress(tmp_path / "a").tasks
    assert 8 <= done <= 9


@contextlib.contextmanager
def _pool(kind):
    with (
        ThreadPoolExecutor(2)
        if kind == "threads"
        else ProcessPoolExecutor(2, get_context("spawn")) as pool
    ):
        yield pool


@pytest.mark.parametrize(
    ("integrand", "kind", "raised", "text"),
    [
        (Raises(TwoArgumentsError, 7, "no licence"), "processes", RuntimeError, "TwoArguments"),
        (Raises(ZeroDivisionError, "my own"), "processes", ZeroDivisionError, "my own"),
        (Raises(SystemExit, "no licence"), "processes", RuntimeError, "SystemExit"),
        (Raises(SystemExit, "no licence"), "threads", RuntimeError, "SystemExit"),
        (Raises(TwoArgumentsError, 7, "no licence"), "threads", TwoArgumentsError, "no licence"),
    ],
)
def test_what_a_worker_raises_arrives(integrand, kind, raised, text):
    """Type, text, block and the traceback in the worker, even of what does not unpickle."""
    with _pool(kind) as pool, pytest.raises(raised, match=text) as caught:
        mcvar.estimate(integrand, BOX, n=4000, sampler="montecarlo", rng=3, executor=pool)
    assert any("draws" in note and "seed 3" in note for note in caught.value.__notes__)
    shown = "".join(traceback.format_exception(caught.value))
    assert integrand.kind.__name__ in shown
    assert str(integrand.args[-1]) in shown
    assert "raise self.kind(*self.args)" in shown


def test_a_flaky_integrand_gets_there_in_the_end(tmp_path):
    """Called again and again over its checkpoint, without one evaluation more than it needs."""
    options = {"n": 6000, "sampler": "montecarlo", "rng": 11, "batch_size": 250}
    flaky, failures = FailsAtRandom(0.3, 0), 0
    while True:
        try:
            # A key of its own would change with the counter it keeps.
            est = mcvar.estimate(_plain(flaky), BOX, checkpoint=tmp_path / "a", **options)
            break
        except RuntimeError:
            failures += 1
    assert failures > 3
    assert digest(est) == digest(mcvar.estimate(smooth, BOX, **options))
    assert flaky.calls == failures + mcvar.execution.read_progress(tmp_path / "a").tasks


_flaky: list = []


def _plain(flaky):
    _flaky[:] = [flaky]
    return _calls_it


def _calls_it(x):
    return _flaky[0](x)


@pytest.fixture
def tick(monkeypatch):
    """A function that lets time pass: for runs it stands still otherwise."""
    now = [0.0]
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("mcvar.execution.clock.time", clock)

    def pass_time(seconds):
        now[0] += seconds

    return pass_time


def test_time(tmp_path, tick):
    def slow(x):
        tick(0.02)
        return smooth(x)

    options = {"n": 10**8, "sampler": "montecarlo", "control": None, "rng": 1}
    est = mcvar.estimate(slow, BOX, max_seconds=3.0, checkpoint=tmp_path / "a", **options)
    assert est.status == "budget"
    assert 0 < est.n < 10**8
    assert "out of time" in est.reasons[-1]
    low, high = est.confidence_interval(0.9999)
    assert low < 0.4165383858866 < high
    # What it saw is what a run of that length would have seen.
    whole = mcvar.estimate(
        smooth, BOX, n=est.history[-1].n, sampler="montecarlo", control=None, rng=1
    )
    assert est.value == pytest.approx(whole.value, rel=1e-12)
    with pytest.raises(TimeoutError, match="before there was a first estimate"):
        mcvar.estimate(slow, BOX, max_seconds=1e-9, **options | {"sampler": "sobol"})
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="max_seconds must be positive"):
            mcvar.estimate(slow, BOX, max_seconds=wrong, **options)


def test_a_real_clock_runs_out():
    with Runner(max_seconds=1e-9) as runner, pytest.raises(OutOfTimeError):
        list(runner.run(PlainJob(), KEYS))


class OneSecond(PlainJob):
    def __init__(self, tick):
        self.tick = tick

    def __call__(self, key, given):
        self.tick(1.0)
        return super().__call__(key, given)


def test_the_time_begins_with_the_first_task(tick):
    with Runner(max_seconds=9.5) as runner:
        tick(100.0)  # imports, say
        results = runner.run(OneSecond(tick), KEYS)
        assert [next(results)[0] for _ in range(10)] == KEYS[:10]
        with pytest.raises(OutOfTimeError):
            next(results)
        assert runner.seconds == 110.0


def test_compiling_takes_no_time_from_the_tasks(monkeypatch, tick):
    from numba.core import event

    now = [0.0]
    monkeypatch.setattr(event, "timer", lambda: now[0])

    class Compiles(OneSecond):
        def __call__(self, key, given):
            with event.trigger_event("numba:compile"):
                now[0] += 100.0
                self.tick(100.0)
            return super().__call__(key, given)

    with Runner(max_seconds=9.5) as runner:
        results = runner.run(Compiles(tick), KEYS)
        assert [next(results)[0] for _ in range(10)] == KEYS[:10]
        with pytest.raises(OutOfTimeError):
            next(results)


def test_starting_workers_takes_no_time_from_the_tasks(tick):
    class SlowToStart(Unreliable):
        started = False

        def submit(self, function, *args):
            if not self.started:
                tick(100.0)
                self.started = True
            return super().submit(function, *args)

    with Runner(SlowToStart([]), max_seconds=50) as runner:
        assert [key for key, _ in runner.run(PlainJob(), KEYS)] == KEYS


def test_replicated_runs_under_a_time_limit_have_an_early_look(tick):
    def slow(x):
        tick(2e-4 * len(x))
        return smooth(x)

    est = mcvar.estimate(slow, BOX, n=2**20, sampler="sobol", max_seconds=3.0, rng=1)
    assert est.status == "budget"
    assert est.value == pytest.approx(0.41654, abs=1e-3)


def test_jumps_of_the_clock_change_nothing(monkeypatch, tmp_path):
    clock = iter(np.random.default_rng(0).normal(0, 1e9, size=100_000))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    est = mcvar.estimate(smooth, BOX, n=4000, rng=1, checkpoint=tmp_path / "a", max_seconds=60)
    assert digest(est) == digest(mcvar.estimate(smooth, BOX, n=4000, rng=1, max_seconds=60))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("end", ["SIGINT", "SIGKILL"])
def test_an_end_from_outside_leaves_a_checkpoint_and_no_orphans(tmp_path, end):
    script = textwrap.dedent(f"""
        import signal, sys
        sys.path.insert(0, {str(ROOT)!r})
        import mcvar
        from tests.execution.problems import BOX, slow

        if __name__ == "__main__":
            # Programs that a shell starts in the background ignore it.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            print("ready", flush=True)
            est = mcvar.estimate(slow, BOX, n=10**6, sampler="montecarlo", control=None, rng=1,
                                 executor=2, checkpoint={str(tmp_path / "run")!r})
            print(est.status, est.n)
    """)
    file = tmp_path / "script.py"
    file.write_text(script)
    process = subprocess.Popen(
        [sys.executable, file],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    run = tmp_path / "run"
    while not (run.exists() and _tasks(run) > 20):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    if end == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does, to all of them
        out, err = process.communicate(timeout=60)
        assert "budget" in out, err
        assert "Traceback" not in err
    else:
        process.kill()  # the driver alone
        process.communicate(timeout=60)
    for _ in range(1200):  # their parent is gone: whoever takes over may need a while
        if not _is_alive(process.pid):
            break
        time.sleep(0.05)
    assert not _is_alive(process.pid)
    assert _tasks(run) > 20


def _is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _tasks(path):
    try:
        return mcvar.execution.read_progress(path).tasks
    except mcvar.CheckpointError:
        return 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"executor": "threads"}, TypeError, "executor must be"),
        ({"executor": True}, TypeError, "executor must be"),
        ({"executor": 0}, ValueError, "at least 1"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": 2.5}, TypeError, "whole number"),
        ({"max_seconds": "1"}, TypeError, "max_seconds must be a number"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be the path of a file, got 3"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        mcvar.estimate(smooth, BOX, n=100, **options)


def test_draws_that_exist_have_no_run():
    draws = mcvar.Draws(np.zeros((10, 1)))
    with pytest.raises(ValueError, match="is not used with existing draws"):
        mcvar.estimate(smooth, draws, checkpoint="a")
    with pytest.raises(ValueError, match="no checkpoint to resume from"):
        mcvar.estimate(smooth, BOX, n=100).resume(n=200)


def test_what_cannot_be_sent(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
        pytest.raises(TypeError, match="cannot be sent to worker processes"),
    ):
        mcvar.estimate(lambda x: x[:, 0], BOX, n=100, executor=pool)


def test_log(caplog):
    with caplog.at_level(logging.INFO, logger="mcvar"):
        mcvar.estimate(smooth, BOX, n=4096, rng=1)
    assert "trained on" in caplog.text
