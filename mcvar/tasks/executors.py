"""What the run asks of executors beyond ``submit``: how many workers, and what replaces a pool."""

import contextlib
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
from typing import Any

from mcvar._checks import as_count

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
    """Return what goes on in place of an executor that lost workers, and whether it is ours.

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
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))
    if threading.current_thread() is threading.main_thread():
        # Ctrl-C reaches all processes of a terminal, and is for this one to handle. What is ignored
        # here stays ignored in processes that start now, which the first task makes them do.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        pool.submit(int)
        signal.signal(signal.SIGINT, before)
    return pool
