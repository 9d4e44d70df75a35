"""Runs that something happens to, at random, until one of their calls gets to the end."""

import contextlib
import os
import resource
import signal
import sqlite3
from collections import Counter

import numpy as np

import mcvar
from mcvar.execution import Checkpoint, read_progress
from tests.execution.problems import BOX, digest, smooth

KINDS = ("raise", "kill", "kill", "overwrite", "tear", "second driver", "disk full")
_MOST_CALLS = 40
_OPTIONS = {"n": 3000, "sampler": "montecarlo", "rng": 7, "batch_size": 250}


def expected():
    """Digest of the run that nothing happens to."""
    return digest(mcvar.estimate(smooth, BOX, **_OPTIONS))


def fault_run(seed, folder, truth):
    """Call a run until it ends; return what happened to it. AssertionError where it went wrong.

    Every call ends in the right digest, in an error that says what happened, or by SIGKILL. Rows
    on disk only ever grow in number, but for those that were overwritten.
    """
    rng = np.random.default_rng(seed)
    file = folder / f"run-{seed}.sqlite"
    happened, rows = Counter(), 0
    for _ in range(_MOST_CALLS):
        kind = str(rng.choice(KINDS)) if rng.random() < 0.8 else "none"
        happened[kind] += 1
        if kind in ("overwrite", "tear") and file.exists():
            _damage(file, kind, rng)
            rows = 0
        answer = _in_child(lambda kind=kind: _call(file, kind, int(rng.integers(1, 14))))
        if answer.startswith("error: ") and "Move it away" in answer:
            happened["beyond use"] += 1
            for suffix in ("", "-wal", "-shm", ".lock"):
                (folder / f"{file.name}{suffix}").unlink(missing_ok=True)
            rows = 0
            continue
        if file.exists():
            now = _rows(file)
            assert now >= rows, f"{rows} rows became {now} under {kind!r}"
            rows = now
        if answer.startswith("digest: "):
            assert answer == f"digest: {truth}", f"another result after {dict(happened)}"
            return happened
        assert answer.startswith("error: ") or answer == "killed", answer
        rng.random()
    raise AssertionError(f"no end after {_MOST_CALLS} calls: {dict(happened)}")


def _call(file, kind, at):
    """One call; the fault comes at the `at`-th block."""
    count = 0

    def hurt():
        nonlocal count
        count += 1
        if count == at and kind == "raise":
            raise RuntimeError("at random")
        if count == at and kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)

    _HURT[:] = [hurt]
    if kind == "disk full":
        # Files of this process may not grow further: what a full disk answers to SQLite.
        size = file.stat().st_size if file.exists() else 0
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = size + 4096 * at
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if kind == "second driver":
        first = Checkpoint(str(file) + ".other", "key", {})
        try:
            Checkpoint(str(file) + ".other", "key", {})
        except mcvar.CheckpointError:
            first.close()
        else:
            return "two drivers on one checkpoint"
    try:
        return f"digest: {digest(mcvar.estimate(_integrand, BOX, checkpoint=file, **_OPTIONS))}"
    except (RuntimeError, mcvar.CheckpointError) as error:
        return f"error: {error}"


_HURT: list = []


def _integrand(x):
    _HURT[0]()
    return smooth(x)


def _in_child(call):
    """Return what `call` returns in a process of its own, or "killed"."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        answer = "unset"
        try:
            answer = call()
        except BaseException as error:
            answer = f"unexpected {error!r}"
        finally:
            os.write(write, answer.encode()[:60_000])
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    return "killed" if os.WIFSIGNALED(status) else answer


def _damage(file, kind, rng):
    if rng.random() < 0.5:  # the write-ahead log, or the file itself
        database = sqlite3.connect(file)
        with contextlib.suppress(sqlite3.Error):
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
    names = [path for path in (file, file.with_name(file.name + "-wal")) if path.exists()]
    victim = names[int(rng.integers(len(names)))]
    data = bytearray(victim.read_bytes())
    if len(data) < 200:
        return
    if kind == "tear":
        del data[int(rng.integers(100, len(data))) :]
    else:
        for _ in range(int(rng.integers(1, 6))):
            start = int(rng.integers(0, len(data) - 64))
            data[start : start + 64] = rng.bytes(64)
    victim.write_bytes(bytes(data))


def _rows(file):
    try:
        return read_progress(file).tasks
    except mcvar.CheckpointError:
        return 0
