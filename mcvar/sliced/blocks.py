"""Costs along many directions, computed block by block wherever an executor has room.

Blocks depend on the sizes of the clouds alone: so do the bits of the result.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from mcvar._checks import as_count
from mcvar._typing import FloatArray
from mcvar.execution import Checkpoint, Key, Runner, fingerprint, stored_about
from mcvar.sliced.projection import blocks_of

Costs = Callable[[FloatArray], FloatArray]  # of directions (L, d): shape (..., L)


def costs_by_blocks(costs: Costs, theta: FloatArray, n: int, runner: Runner | None) -> FloatArray:
    """Return ``costs(theta)`` for clouds of n points, in blocks that fit the cache."""
    blocks = blocks_of(len(theta), n)
    # The layout in memory, on which the bits of linear algebra depend, is the same everywhere.
    theta = np.ascontiguousarray(theta)
    if runner is None:
        return np.concatenate([costs(theta[rows]) for rows in blocks], axis=-1)
    keys = [Key(0, rows.start, rows.stop - rows.start) for rows in blocks]
    context = ""
    if runner.checkpoint is not None:
        context = f"costs along {hashlib.sha256(theta.tobytes()).hexdigest()[:32]}"
    found = [block for _, block in runner.run(_CostsJob(costs, theta), keys, context)]
    return np.concatenate(found, axis=-1)


@contextmanager
def opened(
    workers: Any, executor: Any, checkpoint: Any, problem: Mapping[str, Any], seed: int
) -> Iterator[Runner | None]:
    """Open what computes blocks: this thread (None), `workers` threads, or an executor."""
    count = as_count("workers", workers)
    if executor is not None and count > 1:
        raise ValueError(f"give workers (threads) or executor, not both; got workers={count}.")
    if count == 1 and executor is None and checkpoint is None:
        yield None
        return
    with ExitStack() as stack:
        if count > 1:
            executor = stack.enter_context(ThreadPoolExecutor(count))
        kept = None
        if checkpoint is not None:
            about = {"integrand": "sliced Wasserstein distance", "seed": seed} | {
                name: value for name, value in problem.items() if not isinstance(value, list)
            }
            kept = Checkpoint(checkpoint, fingerprint(dict(problem), seed), about)
            stack.callback(kept.close)
        yield stack.enter_context(Runner(executor, kept, seed=seed))


def stored_seed(checkpoint: Any, rng: Any) -> Any:
    """Return the seed of the run in this file, where none is given."""
    if rng is not None or checkpoint is None:
        return rng
    about = stored_about(checkpoint)
    return None if about is None else about.get("seed")


class _CostsJob:
    """Costs of blocks of given directions: a `tasks.Job`."""

    def __init__(self, costs: Costs, theta: FloatArray) -> None:
        self._costs = costs
        self._theta: FloatArray | None = theta

    def input(self, key: Key) -> FloatArray:
        assert self._theta is not None
        return self._theta[key.start : key.stop]

    def __call__(self, key: Key, given: FloatArray) -> FloatArray:
        return self._costs(given)

    def pack(self, result: FloatArray) -> dict[str, Any]:
        return {"costs": result}

    def unpack(self, arrays: Mapping[str, Any]) -> FloatArray:
        costs: FloatArray = arrays["costs"]
        return costs

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_theta": None}  # workers are given the rows of their block
