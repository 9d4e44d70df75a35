"""Checkpoints and logs: how fast they are read, and how soon damage shows.

python -m benchmarks.files --megabytes 200 --scenarios 100000
"""

import argparse
import contextlib
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

import mcvar
from mcvar import safety
from mcvar.execution import Checkpoint, read_progress, recover


class OneDecision:
    """Batch simulator of scenarios with one decision, which crash where action 1 is taken."""

    version, chunk = "one decision", 5_000

    def __call__(self, batch):
        action = batch.decide(np.ones((batch.n, 1)))
        batch.finish(range(batch.n), action == 1, np.full((batch.n, 1), 2.0))


class Constant:
    """Probabilities, or challenges, that are the same at every state."""

    def __init__(self, *row):
        self.version, self._row = f"constant {row}", row

    def batch(self, states):
        return np.tile(self._row, (len(states), 1))


_REFUSALS = mcvar.CheckpointError, safety.LogError  # imported before anything is measured


def _measure(name, call):
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        found = str(call())
    except _REFUSALS as error:
        found = type(error).__name__
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:36} {wall:8.2f} s {cpu:8.2f} s of the processor {memory:8.0f} MB  {found[:40]}")


def _checkpoint(folder, megabytes):
    path = folder / "run.sqlite"
    rng = np.random.default_rng(0)
    with contextlib.closing(Checkpoint(path, "key", {})) as kept:
        for start in range(0, 100 * megabytes, 10):
            kept.put("here", (0, start, 10), {"a": rng.random(12_500)})
    return path


def _overwritten(path, *places):
    with path.open("r+b") as file:
        for place, length in places:
            file.seek(place)
            file.write(os.urandom(length))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--scenarios", type=float, default=1e5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = _checkpoint(folder, options.megabytes)
        size = path.stat().st_size
        print(f"checkpoint of {size / 1e6:.0f} MB")
        _measure("status", lambda: read_progress(path).tasks)
        _overwritten(path, *((int(p), 64) for p in np.linspace(size / 2, size - 64, 20)))
        _measure("status, 20 places overwritten", lambda: read_progress(path).tasks)
        _measure("recover", lambda: recover(path))
        for what, place in (("header", (0, 100)), ("schema", (100, 3000))):
            _overwritten(path, place)
            _measure(f"status, {what} overwritten", lambda: read_progress(path).tasks)
        store = folder / "log.sqlite"
        proposal = safety.AdversarialProposal(Constant(0.999, 0.001), [Constant(0.001, 0.9)])
        campaign = safety.Campaign(OneDecision(), proposal, store, 1)
        n = int(options.scenarios)
        _measure(f"{n:,} scenarios", lambda: campaign.run(max_scenarios=n, progress=False).value)
        campaign.close()
        print(f"log of {store.stat().st_size / 1e6:.0f} MB")
        _measure("estimate", lambda: safety.estimate(store).value)
        _measure("export", lambda: safety.export(store, folder / "log.csv"))
        _measure("import", lambda: safety.import_table(folder / "log.csv", folder / "again.sqlite"))


if __name__ == "__main__":
    main()
