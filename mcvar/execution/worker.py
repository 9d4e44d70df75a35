"""Code that runs in worker processes and threads."""

import contextlib
from typing import TYPE_CHECKING, Any

from mcvar.execution import executors
from mcvar.execution.codec import Arrays
from mcvar.execution.failure import Failure

if TYPE_CHECKING:
    from mcvar.execution.runner import Job, Key

_REMEMBERED = 4  # jobs that a worker process keeps


def compute(job: "Job", key: "Key", given: Any) -> "tuple[Key, Arrays]":
    """Result of a task as named arrays, with its key: an executor may confuse tasks."""
    return key, job.pack(job(key, given))


_jobs: dict[str, Any] = {}  # of a worker process, by the digest of what they were pickled to


def compute_remotely(
    digest: str, source: Any, key: "Key", given: Any
) -> "tuple[Key, Arrays] | Failure":
    """Result of a task in a worker process, which unpickles a job once; or what it raised."""
    try:
        return compute(_load(digest, source), key, given)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Failure.of(error)


def load_quietly(digest: str, source: Any) -> None:
    """Load a job ahead of its tasks; what is wrong with it shows there."""
    with contextlib.suppress(BaseException):
        _load(digest, source)


def _load(digest: str, source: Any) -> Any:
    """Return the job of this digest, unpickled once in each process."""
    job = _jobs.get(digest)
    if job is None:
        job = executors.load(source)
        while len(_jobs) >= _REMEMBERED:
            _jobs.pop(next(iter(_jobs)))
        _jobs[digest] = job
    return job
