"""Work in pieces: on any executor, kept in a file that survives what the run does not.

A job is a function of a `Key`: the place of a block in a run. Its result depends on the key alone,
never on who computes it or when; results are used in the order of the keys. So any number of
workers, any order and any crash give the same bits.

* `runner` : sends keys to an executor, bounded in number, and yields results in order.
* `checkpoint` : one row for each result in an SQLite file; `recovery` of a damaged one.
* `store` : the layer of such files: format, digests, locks (`lock`), names and outputs (`files`).
* `progress`, `status` : what such a file says of its run, as data and as text.
* `clock` : the time that a run was given, from its first task on.
* `executors` : how many workers there are, and what replaces a pool whose workers died.
* `failure` : exceptions of worker processes, on their way to the process that waits for them.
* `fingerprint` : what makes two problems the same.
* `codec` : arrays to bytes and back, without pickle.
"""

from mcvar.execution.checkpoint import Checkpoint, recover
from mcvar.execution.clock import OutOfTimeError
from mcvar.execution.failure import Failure
from mcvar.execution.fingerprint import fingerprint
from mcvar.execution.progress import Progress, read_progress, stored_about
from mcvar.execution.runner import Job, Key, Runner

__all__ = [
    "Checkpoint",
    "Failure",
    "Job",
    "Key",
    "OutOfTimeError",
    "Progress",
    "Runner",
    "fingerprint",
    "read_progress",
    "recover",
    "stored_about",
]
