"""Sending tasks to workers, a bounded number at a time, and yielding their results in order."""

import contextlib
import logging
import queue
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from mcvar.exceptions import LostWorkersError
from mcvar.execution import executors
from mcvar.execution.checkpoint import Checkpoint
from mcvar.execution.clock import Clock
from mcvar.execution.codec import Arrays
from mcvar.execution.failure import Failure, as_exception
from mcvar.execution.worker import compute, compute_remotely, load_quietly

_AHEAD = 3  # tasks in flight a worker: the next one waits where the last one ends
_LEAST_AHEAD = 8
_BUFFERED = 4  # results that may wait for an earlier one, in units of the tasks in flight
_CAREFUL, _GIVE_UP = 2, 4  # losses in a row after which tasks go one by one, and none goes
_START_UP = 60.0  # seconds that workers may take to start before their time begins anyway
_RECOUNT = 5.0  # seconds after which workers are counted again
_IDLE = 0.25  # seconds between looks at what a checkpoint has waiting
_logger = logging.getLogger("mcvar")


class Key(NamedTuple):
    """The place of a task in its run: `size` draws from `start` on, of one replicate."""

    replicate: int
    start: int
    size: int

    @property
    def stop(self) -> int:
        """The first draw after it."""
        return self.start + self.size

    def __str__(self) -> str:
        return f"draws {self.start}-{self.stop - 1} of replicate {self.replicate}"


class Job(Protocol):
    """A computation: a function of a key, and the form in which its results are stored."""

    def input(self, key: Key) -> Any:
        """Return what a task needs beyond the job itself; asked for where the run is."""

    def __call__(self, key: Key, given: Any) -> Any:
        """Return the result of one task; the same wherever it is computed."""

    def pack(self, result: Any) -> Arrays:
        """Return the result as named arrays: what crosses processes, and what is kept."""

    def unpack(self, arrays: Arrays) -> Any:
        """Return the result that `pack` was given."""


class Runner:
    """Runs jobs on an executor or in this process, and keeps results in a checkpoint.

    Parameters
    ----------
    executor : Executor, int or None
        Where tasks run: see `executors.as_executor`.
    checkpoint : Checkpoint, optional
        Where results are kept, and looked up before anything is computed.
    max_seconds : float, optional
        OutOfTimeError is raised between results once they have passed since the first task began;
        neither starting worker processes nor compiling in this one counts.
    seed : int
        Named where a task fails.
    """

    def __init__(
        self,
        executor: Any = None,
        checkpoint: Checkpoint | None = None,
        *,
        max_seconds: float | None = None,
        seed: int | None = None,
    ) -> None:
        self._executor, self._owned = executors.as_executor(executor)
        self.checkpoint = checkpoint
        self._seed = seed
        self._clock = Clock(max_seconds)

    @property
    def is_limited(self) -> bool:
        """Whether there is an end to its time."""
        return self._clock.max_seconds is not None

    @property
    def seconds(self) -> float:
        """Time since the runner was made."""
        return self._clock.seconds

    def run(self, job: Job, keys: Sequence[Key], context: str = "") -> Generator[tuple[Key, Any]]:
        """Yield (key, result) in the order of the keys.

        Parameters
        ----------
        job : Job
        keys : sequence of Key
        context : str
            What results depend on besides the key: rows of a checkpoint are found by both.

        Raises
        ------
        LostWorkersError
            A task on which workers die again and again.
        Exception
            Whatever the job raises, with a note that names the task and the seed.
        """
        if self._executor is None:
            yield from self._here(job, keys, context)
        else:
            yield from _Flight(self, job, keys, context).results()

    def close(self) -> None:
        """Write down what is finished, and end the workers that were started here."""
        try:
            if self.checkpoint is not None:
                self.checkpoint.close()
        finally:
            if self._owned and self._executor is not None:
                executors.end(self._executor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _here(self, job: Job, keys: Sequence[Key], context: str) -> Iterator[tuple[Key, Any]]:
        for key in keys:
            found = self._stored(job, key, context)
            if found is None:
                self._clock.check()
                try:
                    with self._clock.compilation_excluded():
                        found = job(key, job.input(key))
                except Exception as error:
                    self._locate(error, key)
                    raise
                if self.checkpoint is not None:
                    self._keep(key, context, job.pack(found))
            yield key, found

    def _stored(self, job: Job, key: Key, context: str) -> Any:
        if self.checkpoint is None:
            return None
        arrays = self.checkpoint.get(context, key)
        if arrays is None:
            return None
        with self.checkpoint.reading(key):
            return job.unpack(arrays)

    def _keep(self, key: Key, context: str, arrays: Arrays) -> None:
        if self.checkpoint is not None:
            self.checkpoint.put(context, key, arrays)

    def _locate(self, error: BaseException, key: Key) -> None:
        seed = "" if self._seed is None else f", seed {self._seed}"
        error.add_note(f"mcvar: in {key}{seed}")

    def _replace(self, broken: Executor) -> None:
        """Take over from an executor whose workers died, once for all tasks it had."""
        if broken is not self._executor:
            return
        fresh, ours = executors.replacement(broken)
        if fresh is not broken:
            if self._owned:
                executors.end(broken)
            self._executor, self._owned = fresh, ours


class _Flight:
    """One job's tasks on an executor."""

    def __init__(self, runner: Runner, job: Job, keys: Sequence[Key], context: str) -> None:
        self._runner = runner
        self._job = job
        self._keys = keys
        self._context = context
        self._waiting: deque[int] = deque()  # numbers of tasks to submit, in order
        self._flying: dict[int, Future[Any]] = {}
        self._ready: dict[int, Any] = {}
        self._landed: queue.SimpleQueue[tuple[int, Executor, Future[Any]]] = queue.SimpleQueue()
        self._losses = 0
        self._executor: Executor | None = None  # whose workers were counted, and when
        self._counted = 0.0
        self._capacity = 0
        self._shared: executors.Shared | None = None
        self._looked = 0  # tasks that the checkpoint was asked for

    def results(self) -> Iterator[tuple[Key, Any]]:
        """Yield (key, result) in order; whatever ends this early cancels what is in flight."""
        try:
            for number, key in enumerate(self._keys):
                while number not in self._ready:
                    self._submit(number)
                    if number not in self._ready:
                        self._receive()
                yield key, self._ready.pop(number)
        finally:
            self._end()

    def _end(self) -> None:
        """Cancel what has not begun, and keep what has landed."""
        for future in self._flying.values():
            future.cancel()
        if self._shared is not None:
            self._shared.release()
        while self._runner.checkpoint is not None and not self._landed.empty():
            number, _, future = self._landed.get()
            if self._flying.get(number) is not future or _error(future) is not None:
                continue
            found = future.result()
            if not isinstance(found, Failure):
                key = self._keys[number]
                self._runner._keep(key, self._context, _answer(found, key))

    def _full(self, executor: Executor) -> int:
        """Tasks that keep all workers busy; asked for anew from time to time, as clusters grow."""
        if self._executor is not executor or time.monotonic() - self._counted > _RECOUNT:
            self._executor, self._counted = executor, time.monotonic()
            self._capacity = max(_LEAST_AHEAD, _AHEAD * executors.n_workers(executor))
        return self._capacity

    def _submit(self, head: int) -> None:
        """Fill the flight, from what `head` waits for on."""
        while True:
            executor = self._runner._executor
            assert executor is not None
            full = self._full(executor)
            if len(self._flying) >= (1 if self._losses >= _CAREFUL else full):
                return
            if not self._waiting:
                if not self._look(head + full * _BUFFERED):
                    return
                continue
            number = self._waiting.popleft()
            self._wait_for_workers(executor)
            self._runner._clock.check()
            try:
                future = executor.submit(*self._call(executor, self._keys[number]))
            except Exception as error:
                self._waiting.appendleft(number)
                if not executors.is_loss(error):
                    raise
                self._lost(number, executor, error)
                continue
            self._flying[number] = future
            future.add_done_callback(self._landing(number, executor))

    def _look(self, end: int) -> bool:
        """Ask the checkpoint for the next task; False where the flight is far enough ahead."""
        if self._looked >= min(end, len(self._keys)):
            return False
        number = self._looked
        self._looked += 1
        found = self._runner._stored(self._job, self._keys[number], self._context)
        if found is None:
            self._waiting.append(number)
        else:
            self._ready[number] = found
        return True

    def _landing(self, number: int, executor: Executor) -> Callable[[Future[Any]], None]:
        return lambda future: self._landed.put((number, executor, future))

    def _call(self, executor: Executor, key: Key) -> tuple[Any, ...]:
        if executors.shares_memory(executor):
            return compute, self._job, key, self._job.input(key)
        return compute_remotely, *self._reference(executor), key, self._job.input(key)

    def _reference(self, executor: Executor) -> tuple[str, Any]:
        """Return what worker processes have the job from."""
        if self._shared is None or self._shared.executor is not executor:
            if self._shared is not None:
                self._shared.release()
            self._shared = executors.Shared(executor, self._job)
        return self._shared.reference

    def _wait_for_workers(self, executor: Executor) -> None:
        """Before the time starts, have a worker process import what tasks need.

        Where that fails, so will they, and say why.
        """
        clock = self._runner._clock
        if not clock.awaits_start or executors.shares_memory(executor):
            return
        with contextlib.suppress(Exception):
            loading = executor.submit(load_quietly, *self._reference(executor))
            loading.exception(timeout=_START_UP)

    def _receive(self) -> None:
        """Wait until a task has landed."""
        checkpoint, runner = self._runner.checkpoint, self._runner
        while self._flying:
            try:
                number, executor, future = self._landed.get(timeout=_IDLE)
                break
            except queue.Empty:
                if checkpoint is not None:
                    checkpoint.settle(now=True)
                runner._clock.check()
        else:
            return
        if self._flying.get(number) is not future:
            return  # a task that was given up with its pool
        del self._flying[number]
        key = self._keys[number]
        error = _error(future)
        if error is not None and executors.is_loss(error):
            self._again(number)
            self._lost(number, executor, error)
            return
        found: Any = None if error is not None else future.result()
        if isinstance(found, Failure):
            error = found.exception()
        if error is not None:
            raised = as_exception(error)
            runner._locate(raised, key)
            raise raised
        self._losses = 0
        arrays = _answer(found, key)
        runner._keep(key, self._context, arrays)
        self._ready[number] = self._job.unpack(arrays)

    def _lost(self, number: int, executor: Executor, error: BaseException) -> None:
        """Go on without the workers that are gone."""
        if executor is not self._runner._executor:
            return  # the pool was replaced when the first of its tasks came back
        self._losses += 1
        if self._losses > _GIVE_UP:
            seed = "" if self._runner._seed is None else f", seed {self._runner._seed}"
            raise LostWorkersError(
                f"workers died {self._losses} times in a row, the last time on "
                f"{self._keys[number]}{seed} ({type(error).__name__}: {error}). Its computation "
                "may exhaust their memory or crash them; or they never began, as in a script whose "
                'calls are not under `if __name__ == "__main__":`.'
            ) from error
        _logger.warning("lost workers (%s); what they had is sent again", type(error).__name__)
        self._runner._replace(executor)
        if self._runner._executor is not executor:
            for other in list(self._flying):
                self._again(other)
            self._flying.clear()

    def _again(self, number: int) -> None:
        """Put a task back where it was in the order."""
        self._waiting = deque(sorted({*self._waiting, number}))


def _error(future: Future[Any]) -> BaseException | None:
    try:
        return future.exception(timeout=0)
    except BaseException as error:  # cancelled, which is not an exception of the task
        return error


def _answer(answer: Any, key: Key) -> Arrays:
    """The arrays that a task came to; TypeError where they are those of another."""
    if not (isinstance(answer, tuple) and len(answer) == 2 and answer[0] == key):
        of = f"that of {answer[0]}" if isinstance(answer, tuple) and answer else repr(answer)[:80]
        raise TypeError(f"the executor answered {key} with {of}; expected the result of that task.")
    arrays: Arrays = answer[1]
    return arrays
