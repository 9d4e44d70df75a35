"""What the run asks of executors beyond ``submit``: how many workers, and what replaces a pool."""

import contextlib
import hashlib
import importlib
import multiprocessing
import os
import pickle
import signal
import threading
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from multiprocessing import shared_memory
from typing import Any

from mcvar._checks import as_count

_LARGE = 2**18  # bytes of a job beyond which it is worth a place of its own
_LOSSES = {"KilledWorker", "CommClosedError", "FutureCancelledError"}  # Dask's, by name


def as_executor(executor: Any) -> tuple[Executor | None, bool]:
    """Return the executor that is meant, and whether it is ours to shut down.

    None computes in this process; a number is that many worker processes.
    """
    if executor is None:
        return None, False
    if isinstance(executor, bool) or not (
        isinstance(executor, int) or callable(getattr(executor, "submit", None))
    ):
        raise TypeError(
            "executor must be a concurrent.futures.Executor (threads, processes, loky, "
            "dask.distributed's Client.get_executor(), ...), a number of processes or None, got "
            f"{executor!r}."
        )
    if isinstance(executor, int):
        return _processes(as_count("executor", executor)), True
    if type(executor).__name__ == "Client" and hasattr(executor, "get_executor"):
        raise TypeError("executor is a Dask Client; pass client.get_executor().")
    return executor, False


def shares_memory(executor: Executor) -> bool:
    """Whether workers see the objects of this process as they are."""
    return isinstance(executor, ThreadPoolExecutor)


def n_workers(executor: Executor) -> int:
    """Return how many tasks the executor runs at a time, as far as it tells."""
    count = getattr(executor, "_max_workers", None)
    if isinstance(count, int) and count > 0:
        return count
    client = getattr(executor, "_client", None)  # Dask's
    if client is not None:
        with contextlib.suppress(Exception):
            return max(1, int(sum(client.nthreads().values())))
    return os.cpu_count() or 1


def is_loss(error: BaseException) -> bool:
    """Whether a task failed because its worker went away, not because of what it computes."""
    lost = isinstance(error, BrokenExecutor | CancelledError)
    return lost or bool({kind.__name__ for kind in type(error).__mro__} & _LOSSES)


def replacement(executor: Executor) -> tuple[Executor, bool]:
    """Replacement for a broken executor, and whether mcvar must shut it down.

    Pools of the standard library and of loky are done for once a worker dies: a new one like it
    takes over. Others look after their workers themselves.
    """
    if isinstance(executor, ThreadPoolExecutor):
        return executor, False
    if type(executor).__module__.startswith("loky"):
        loky = importlib.import_module("loky")
        return loky.get_reusable_executor(max_workers=n_workers(executor)), False
    if isinstance(executor, ProcessPoolExecutor):
        known: Any = executor  # these attributes are the arguments that it was made with
        fresh = ProcessPoolExecutor(
            n_workers(executor), known._mp_context, known._initializer, known._initargs
        )
        return fresh, True
    return executor, False


def end(pool: Executor) -> None:
    """End a pool of our own at once, with whatever its workers are at."""
    workers = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()


class Shared:
    """A job on its way to worker processes: small ones go with every task, large ones once.

    Attributes
    ----------
    executor : Executor
        Whose workers it is for.
    reference : tuple of str and object
        A digest, by which workers remember the job, and what `load` makes it from.
    """

    def __init__(self, executor: Executor, job: Any) -> None:
        blob = dump(job)
        self.executor = executor
        self._memory: shared_memory.SharedMemory | None = None
        source: Any = blob
        client = getattr(executor, "_client", None)  # Dask's, which keeps data at its workers
        if len(blob) > _LARGE and client is not None:
            source = client.scatter(blob)
        elif len(blob) > _LARGE and type(executor) is ProcessPoolExecutor:
            self._memory = shared_memory.SharedMemory(create=True, size=len(blob))
            view: Any = self._memory.buf
            view[: len(blob)] = blob
            source = self._memory.name, len(blob)
        self.reference = hashlib.sha256(blob).hexdigest(), source

    def release(self) -> None:
        """Give the memory back; tasks that have not begun can no longer be computed."""
        if self._memory is not None:
            self._memory.close()
            self._memory.unlink()
            self._memory = None


def load(source: Any) -> Any:
    """Return the job that a `Shared` was made for. It came through a pipe or memory, not a disk."""
    if isinstance(source, tuple):
        memory = shared_memory.SharedMemory(source[0])
        view: Any = memory.buf
        try:
            return pickle.loads(bytes(view[: source[1]]))
        finally:
            memory.close()
    return pickle.loads(source)


def dump(thing: Any) -> bytes:
    """Pickle what goes to worker processes; by cloudpickle, which takes lambdas, if it is there."""
    try:
        return bytes(importlib.import_module("cloudpickle").dumps(thing))
    except ImportError:
        pass
    except Exception as error:
        raise TypeError(_UNPICKLABLE.format(error)) from error
    try:
        return pickle.dumps(thing)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(_UNPICKLABLE.format(error)) from error


_UNPICKLABLE = (
    "what is computed cannot be sent to worker processes ({}): define the functions in a module, "
    "install cloudpickle, or use a ThreadPoolExecutor."
)


def _processes(count: int) -> Executor:
    # Not by fork, which copies the locks of whatever threads Numba and BLAS have running.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_end_with_the_driver)
    if threading.current_thread() is threading.main_thread():
        # Ctrl-C reaches all processes of a terminal, and is for this one to handle. What is ignored
        # here stays ignored in processes that start now, which the first task makes them do.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        pool.submit(int)
        signal.signal(signal.SIGINT, before)
    return pool


def _end_with_the_driver() -> None:
    """Have this worker process end when the one that started it is gone, however it went."""
    driver = multiprocessing.parent_process()

    def wait() -> None:
        if driver is not None:
            driver.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
