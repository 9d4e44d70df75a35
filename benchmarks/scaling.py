"""The task layer: what a task costs, what processes gain, where a driver saturates, what faults do.

``python -m benchmarks.scaling [--quick]``; with ``--faults 1000`` the random faults alone.
"""

import argparse
import heapq
import resource
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import mcvar
from benchmarks.record import Claim, show, time_ratio
from mcvar.execution import Checkpoint, Key, Runner

BOX = [(0, 1)] * 3


def smooth(x):
    return np.exp(-(x**2).sum(axis=1))


def waits(x):
    """A tenth of a second for a task of 64 points."""
    time.sleep(0.1 * len(x) / 64)
    return smooth(x)


def works(x):
    """The same, computing."""
    end = time.process_time() + 0.1 * len(x) / 64
    while time.process_time() < end:
        smooth(x)
    return smooth(x)


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def overhead(quick):
    """Wall time beyond that of the integrand, for tasks of 0.1 s."""
    n = 64 * (20 if quick else 100)
    options = {"n": n, "sampler": "montecarlo", "control": None, "batch_size": 64, "rng": 1}
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
    ):
        mcvar.estimate(smooth, BOX, executor=pool, **options)
        for name, extra in (
            ("this process", {}),
            ("this process, checkpoint", {"checkpoint": Path(folder) / "a"}),
            ("one worker process", {"executor": pool}),
            (
                "one worker process, checkpoint",
                {"executor": pool, "checkpoint": Path(folder) / "b"},
            ),
        ):
            seconds = timed(lambda extra=extra: mcvar.estimate(waits, BOX, **options, **extra))
            rows.append((name, seconds / (0.1 * n / 64)))
    return rows


def two_processes(quick):
    """Times of one worker process over those of two, on an integrand that computes."""
    n = 64 * (20 if quick else 60)
    options = {"n": n, "sampler": "montecarlo", "control": None, "batch_size": 64, "rng": 1}
    times = []
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context) as one, ProcessPoolExecutor(2, context) as two:
        for pool in (one, two):
            mcvar.estimate(smooth, BOX, executor=pool, **options)
        for _ in range(2 if quick else 5):
            times.append(
                [
                    timed(lambda pool=pool: mcvar.estimate(works, BOX, executor=pool, **options))
                    for pool in (one, two)
                ]
            )
    return np.array(times)


class Simulated(Executor):
    """Workers whose time is simulated, under a driver whose time is real.

    A task begins once a worker is free, and has landed when the clock says so; between two calls
    of `submit` the clock runs with the driver.
    """

    def __init__(self, workers, seconds, tasks, result):
        self._max_workers = workers
        self._seconds, self._tasks, self._result = seconds, tasks, result
        self._free = [0.0] * workers
        self._running = []
        self._number = 0
        self._last = time.perf_counter()
        self.clock = 0.0

    def submit(self, function, *args):
        self.clock += time.perf_counter() - self._last
        future = Future()
        start = max(heapq.heappop(self._free), self.clock)
        heapq.heappush(self._free, start + self._seconds)
        self._number += 1
        heapq.heappush(self._running, (start + self._seconds, self._number, future))
        # The driver waits once its flight is full, or nothing is left to submit.
        while self._running and (
            len(self._running) >= 3 * self._max_workers or self._number == self._tasks
        ):
            end, _, landed = heapq.heappop(self._running)
            self.clock = max(self.clock, end)
            landed.set_result(self._result)
        self._last = time.perf_counter()
        return future


class Sums:
    """A job whose results are those of a block without a control."""

    def input(self, key):
        return None

    def __call__(self, key, given):
        raise AssertionError

    def pack(self, result):
        return result

    def unpack(self, arrays):
        return arrays


def simulated(workers, seconds, tasks, checkpoint):
    """Return the driver's seconds a task, and the share of their time that workers compute."""
    result = {f"array {i}": np.zeros(3) for i in range(16)}
    executor = Simulated(workers, seconds, tasks, result)
    with tempfile.TemporaryDirectory() as folder:
        kept = Checkpoint(Path(folder) / "run", "key", {}) if checkpoint else None
        start = time.perf_counter()
        with Runner(executor, kept) as runner:
            for _ in runner.run(Sums(), [Key(0, i, 1) for i in range(tasks)], "simulated"):
                pass
        driver = time.perf_counter() - start
    return driver / tasks, tasks * seconds / workers / max(executor.clock, driver)


def memory(quick):
    """Peak memory of a worker process on many draws, in MB."""
    n = 10**7 if quick else 10**9
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        mcvar.estimate(smooth, BOX, n=n, sampler="montecarlo", control=None, rng=1, executor=pool)
        return n, pool.submit(_peak).result(), _peak()


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def faults(count):
    """Run `count` runs under random faults; return what happened and how many failed."""
    from tests.execution.faults import expected, fault_run

    truth, happened, failed = expected(), Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(count):
            try:
                happened.update(fault_run(seed, Path(folder), truth))
            except AssertionError as error:
                failed += 1
                print(f"run {seed}: {error}", flush=True)
            for file in Path(folder).iterdir():
                file.unlink()
    return happened, failed


def claims(quick):
    """Yield what a task costs, what a second process gains, memory, and where drivers saturate."""
    for name, ratio in overhead(quick):
        yield Claim("tasks", name, "time over that of the integrand", ratio,
                    note="tasks of 0.1 s, wall time")  # fmt: skip
    times = two_processes(quick)
    yield Claim("tasks", "two worker processes", "speed over one",
                **time_ratio(times[:, 0], times[:, 1]), note="wall time", par=1.0)  # fmt: skip
    n, worker, driver = memory(quick)
    yield Claim("tasks_memory", f"n = {n:.0e}", "worker", worker, unit="MB")
    yield Claim("tasks_memory", f"n = {n:.0e}", "driver", driver, unit="MB")
    for workers in (100,) if quick else (10, 100, 1000):
        for seconds in (0.1, 1.0, 10.0):
            for checkpoint in (False, True):
                tasks = (3 if quick else 20) * max(workers, 300)
                cost, busy = simulated(workers, seconds, tasks, checkpoint)
                row = f"{workers} workers, {seconds:g} s a task"
                kept = "with a checkpoint" if checkpoint else "without"
                yield Claim("tasks_driver", row, f"driver, µs a task, {kept}", cost * 1e6,
                            unit="µs")  # fmt: skip
                yield Claim("tasks_driver", row, f"workers busy, {kept}", busy, unit="share")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--faults", type=int, metavar="N", help="N runs under random faults alone")
    options = parser.parse_args()
    if options.faults:
        happened, failed = faults(options.faults)
        print(f"{options.faults} runs, {failed} failed: {dict(happened)}")
        sys.exit(failed > 0)
    show(claims(options.quick))
