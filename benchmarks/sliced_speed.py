"""Speed of sliced Wasserstein distances against POT: same directions, one process, one thread.

Ratios of times measured side by side; the share of the sort limit is 2 n L times what np.sort
takes per value in this process (above 1 where the distribution sort beats np.sort).

    python -m benchmarks.sliced_speed [--quick]
"""

import sys
import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import ot
from threadpoolctl import threadpool_limits

from benchmarks.record import Claim, cpu_seconds, interleaved, show, time_ratio
from mcvar.sliced import SlicedReference, sliced_wasserstein, sliced_wasserstein_distance
from mcvar.sliced.blocks import costs_by_blocks, opened
from mcvar.sliced.projection import Pair, as_cloud


def least_seconds(task, repeats):
    return min(cpu_seconds(task) for _ in range(repeats))


def clouds(n, m, d, dtype=np.float64):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, d)), 0.3 + 1.2 * rng.normal(size=(m, d))
    return x.astype(dtype), y.astype(dtype)


def sort_limit(x, theta, total):
    """Seconds that np.sort takes for `total` projected values, in rows as long as the cloud's."""
    rows = theta[: max(1, 2**18 // len(x))] @ x.T

    def task():
        rows.copy().sort(axis=1)

    copying = least_seconds(rows.copy, 5)
    return (least_seconds(task, 5) - copying) / rows.size * total


def compare(n, m, d, count, *, weighted=False, dtype=np.float64, repeats=6):
    x, y = clouds(n, m, d, dtype)
    rng = np.random.default_rng(1)
    a, b = (rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))) if weighted else (None, None)
    theta = rng.normal(size=(count, d)).astype(dtype)
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)
    weights = [None if w is None else w.astype(dtype) for w in (a, b)]

    def ours():
        return sliced_wasserstein_distance(x, y, a, b, projections=theta.T, log=True)

    def theirs():
        return ot.sliced_wasserstein_distance(x, y, *weights, projections=theta.T, log=True)

    mine, pot = ours()[1]["projected_emds"], theirs()[1]["projected_emds"]
    tasks = [ours, theirs]
    if not weighted and n == m:
        reference = SlicedReference(y, n=count, method="montecarlo", control=None, rng=0)
        tasks.append(lambda: reference.distance(x))
    times = interleaved(repeats, *tasks)
    share = sort_limit(x, theta, count * (n + m)) / times[:, 0].min()
    worst = np.abs(mine / pot - 1).max()
    kind = ("weighted " if weighted else "") + np.dtype(dtype).name
    row = f"{n:.0e} / {m:.0e}, d={d}, L={count}, {kind}"
    common = {"peers": ("pot",), "par": 1.0}
    yield Claim("sliced_speed", row, "POT / ours", **time_ratio(times[:, 1], times[:, 0]),
                note=f"costs differ by {worst:.0e}", **common)  # fmt: skip
    if len(tasks) > 2:
        yield Claim("sliced_speed", row, "POT / ours, cached reference",
                    **time_ratio(times[:, 1], times[:, 2]), **common)  # fmt: skip
    yield Claim("sliced_speed", row, "np.sort limit / ours", float(share), repeats=repeats,
                peers=("numpy",))  # fmt: skip


def threads_and_memory(n, count):
    x, y = clouds(n, n, 3)
    pair = Pair(as_cloud("x", x), as_cloud("y", y), 2.0)
    theta = np.random.default_rng(0).normal(size=(count, 3))
    theta /= np.linalg.norm(theta, axis=1, keepdims=True)

    def run(workers):
        with opened(workers, None, None, {}, 0) as runner:
            costs_by_blocks(pair.costs, theta, pair.n, runner)

    one, two = (min(_wall(lambda w=w: run(w)) for _ in range(4)) for w in (1, 2))
    yield Claim("sliced_limits", "two threads against one, wall time", "", float(one / two),
                repeats=4)  # fmt: skip
    tracemalloc.start()
    sliced_wasserstein(x, y, n=100, rng=0)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    yield Claim("sliced_limits", f"peak memory at n={n}, L=100, MB", "", peak, unit="MB")


def _wall(task):
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def claims(quick: bool) -> Iterator[Claim]:
    with threadpool_limits(1):
        sizes = [(1000, 3, 1000), (10_000, 3, 1000), (100_000, 3, 200), (1_000_000, 3, 50)]
        sizes.append((10_000, 64, 500))
        if quick:
            sizes = [(1000, 3, 100)]
        for n, d, count in sizes:
            for dtype in (np.float64, np.float32):
                repeats = max(3, min(12, 10**8 // (3 * n * count * d)))
                yield from compare(n, n, d, count, dtype=dtype, repeats=repeats)
        sizes = [(1000, 1500, 300), (10_000, 7000, 100), (100_000, 70_000, 50)]
        for n, m, count in [(1000, 1500, 50)] if quick else sizes:
            yield from compare(n, m, 3, count)
            yield from compare(n, m, 3, count, weighted=True)
        yield from threads_and_memory(10_000 if quick else 100_000, 100)


if __name__ == "__main__":
    show(claims("--quick" in sys.argv))
