"""Running scenarios in this process, in worker processes, or with an executor of the user's."""

import contextlib
import multiprocessing
import multiprocessing.connection
import pickle
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mcvar.execution import Failure, Key, Runner
from mcvar.safety.batch import Record
from mcvar.safety.processes import end_family
from mcvar.safety.proposal import AdversarialProposal
from mcvar.safety.simulate import lost, play


def in_process(
    simulator: Any, proposal: AdversarialProposal, seed: int, chunks: Sequence[Sequence[int]]
) -> Iterator[list[Record]]:
    """Run chunks here, one after the other."""
    for chunk in chunks:
        yield play(simulator, proposal, seed, chunk)


def with_executor(
    executor: Executor,
    simulator: Any,
    proposal: AdversarialProposal,
    seed: int,
    chunks: Sequence[Sequence[int]],
) -> Iterator[list[Record]]:
    """Run chunks in an executor; yield their records in order, though workers may be lost."""
    keys = [Key(0, chunk[0], len(chunk)) for chunk in chunks]
    with Runner(executor, seed=seed) as runner:
        for _, records in runner.run(_ScenarioJob(simulator, proposal, seed), keys):
            yield records


class _ScenarioJob:
    """Consecutive scenarios of a campaign: a `tasks.Job`."""

    def __init__(self, simulator: Any, proposal: AdversarialProposal, seed: int) -> None:
        self._job = simulator, proposal, seed

    def input(self, key: Key) -> None:
        """Scenarios follow from their numbers."""

    def __call__(self, key: Key, given: None) -> list[Record]:
        return play(*self._job, range(key.start, key.stop))

    def pack(self, result: list[Record]) -> dict[str, Any]:
        return {
            f"{name} {i}": np.asarray(value)
            for i, record in enumerate(result)
            for name, value in record._asdict().items()
        }

    def unpack(self, arrays: Mapping[str, Any]) -> list[Record]:
        fields = Record._fields
        records = []
        for i in range(len(arrays) // len(fields)):
            values = (arrays[f"{name} {i}"] for name in fields)
            records.append(Record(*(v if v.ndim else v.item() for v in values)))
        return records


@dataclass(eq=False)
class _Task:
    """Scenarios of chunk `index` that go to one worker together."""

    index: int
    scenarios: list[int]


@dataclass(eq=False)
class _Worker:
    process: Any
    pipe: Any
    task: _Task | None = None
    deadline: float = float("inf")
    told: bytes = field(default=b"", repr=False)  # the job it knows


class Workers:
    """Worker processes that may hang or die without taking the campaign along.

    Parameters
    ----------
    n : int
        Number of processes, each started afresh ("spawn").
    timeout : float, optional
        Seconds that one scenario (or one chunk, for batch simulators) may take before its worker
        is killed. Chunks that hang or die are halved until the scenario that does it stands alone.
    """

    def __init__(self, n: int, timeout: float | None = None) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._timeout = float("inf") if timeout is None else timeout
        self._workers = [self._start() for _ in range(n)]

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            _end(worker)
        self._workers = []

    def run(
        self,
        simulator: Any,
        proposal: AdversarialProposal,
        seed: int,
        chunks: Sequence[Sequence[int]],
    ) -> Iterator[list[Record]]:
        """Run chunks; yield their records in order, whichever worker had them."""
        job = _pickled(simulator, proposal, seed)
        todo = deque(_Task(i, list(chunk)) for i, chunk in enumerate(chunks))
        found: dict[int, dict[int, Record]] = {}
        for i, chunk in enumerate(chunks):
            while len(found.get(i, ())) < len(chunk):
                self._dispatch(job, todo)
                for task, records in self._collect(proposal, seed, todo):
                    known = found.setdefault(task.index, {})
                    known.update((record.scenario, record) for record in records)
            done = found.pop(i, {})
            yield [done[scenario] for scenario in chunk]

    def _dispatch(self, job: bytes, todo: deque[_Task]) -> None:
        for worker in self._workers:
            if worker.task is None and todo:
                worker.task = todo.popleft()
                new = job if worker.told != job else None
                worker.told = job
                # Where it is dead, that shows when its answer is collected.
                with contextlib.suppress(OSError):
                    worker.pipe.send((new, worker.task.scenarios))

    def _collect(
        self, proposal: AdversarialProposal, seed: int, todo: deque[_Task]
    ) -> Iterator[tuple[_Task, list[Record]]]:
        """Wait until a worker says something, dies or is overdue."""
        busy = {worker.pipe: worker for worker in self._workers if worker.task is not None}
        nearest = min(worker.deadline for worker in busy.values())
        wait = None if nearest == float("inf") else max(nearest - time.monotonic(), 0.0)
        ready = multiprocessing.connection.wait(list(busy), wait)
        for pipe, worker in busy.items():
            task = worker.task
            assert task is not None
            if pipe in ready:
                try:
                    kind, answer = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.process.join(5)
                    why = f"the worker process ended with exit code {worker.process.exitcode}"
                    yield from self._replaced(worker, "died", why, proposal, seed, todo)
                    continue
                if kind == "started":  # set up and compiled: from here on the clock runs
                    worker.deadline = time.monotonic() + self._timeout
                    continue
                if kind == "error":
                    raise answer.exception()
                worker.task, worker.deadline = None, float("inf")
                yield task, answer
            elif time.monotonic() >= worker.deadline:
                why = f"no result within {self._timeout:g} s"
                yield from self._replaced(worker, "timeout", why, proposal, seed, todo)

    def _replaced(
        self,
        worker: _Worker,
        status: str,
        why: str,
        proposal: AdversarialProposal,
        seed: int,
        todo: deque[_Task],
    ) -> Iterator[tuple[_Task, list[Record]]]:
        """Put a new worker in the place of one that is lost; say what became of its task."""
        task = worker.task
        assert task is not None
        _end(worker)
        self._workers[self._workers.index(worker)] = self._start()
        if len(task.scenarios) == 1:
            yield task, [lost(proposal, seed, task.scenarios[0], status, why)]
            return
        half = len(task.scenarios) // 2
        for part in (task.scenarios[half:], task.scenarios[:half]):
            todo.appendleft(_Task(task.index, part))


def _pickled(simulator: Any, proposal: AdversarialProposal, seed: int) -> bytes:
    try:
        return pickle.dumps((simulator, proposal, seed))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"worker processes need a simulator and surrogates that can be pickled ({error}): "
            "define them in a module, not in a function or as a lambda, or use executor=None."
        ) from error


def _end(worker: _Worker) -> None:
    if worker.process.is_alive():
        end_family(worker.process.pid)  # programs that its simulator started
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _serve(pipe: Any) -> None:
    """Run what is asked for until the campaign's end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the campaign to handle
    simulator: Any = None
    proposal: Any = None
    seed = 0
    while True:
        try:
            job, scenarios = pipe.recv()
        except EOFError:
            return
        try:
            if job is not None:
                simulator, proposal, seed = pickle.loads(job)
                _warm_up(simulator)
            pipe.send(("started", None))
            answer: Any = "records", play(simulator, proposal, seed, scenarios)
        except Exception as error:
            answer = "error", Failure.of(error)
        pipe.send(answer)


def _warm_up(simulator: Any) -> None:
    """Compile, or load from the cache, what the first scenario would otherwise wait for."""
    trivial = AdversarialProposal(lambda state: [1.0], [lambda state, a: 0.0 * a])
    trivial.decide(np.zeros((1, 1)), np.zeros(1, dtype=np.int64), np.zeros(1))
    warm_up = getattr(simulator, "warm_up", None)
    if warm_up is not None:
        warm_up()
