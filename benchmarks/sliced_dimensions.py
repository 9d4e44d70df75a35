"""Defaults from d = 2 to 2,048: the torch loss against torch by hand, and variance times time.

`claims_loss`: forward and backward with the defaults, the time of a hand-written projection and
torch.sort with as many independent directions over it, one process and one thread. `claims_work`:
on ten data sets, variance x time of ``ot.sliced_wasserstein_distance`` (powers, 128 directions)
over that of `sliced_wasserstein`, the variances from repeated runs; below 1 mcvar loses. The first
needs the extra `torch`.

    python -m benchmarks.sliced_dimensions [loss] [work] [--quick]
"""

import sys
import time
from collections.abc import Iterator

import numpy as np
import ot
from threadpoolctl import threadpool_limits

from benchmarks.record import Claim, Skipped, interleaved, show, time_ratio
from benchmarks.sliced_variance import digits, helix_and_ellipsoid, mixtures, torus_and_sphere
from mcvar.sliced import sliced_wasserstein

SIZES = [(64, 2, 50), (1024, 3, 128), (2048, 16, 128), (1024, 64, 128), (512, 512, 256),
         (256, 2048, 512)]  # fmt: skip


def claims_loss(quick: bool) -> Iterator[Claim]:
    try:
        import torch

        from mcvar.torch import SlicedWassersteinLoss
    except ImportError as error:
        raise Skipped(f"torch is not installed: {error}") from error
    torch.set_num_threads(1)
    for n, d, count in SIZES[:2] if quick else SIZES:
        x = torch.randn(n, d, requires_grad=True)
        y = torch.randn(n, d) * 1.2 + 0.3
        loss = SlicedWassersteinLoss(count)

        def by_hand(x=x, y=y, d=d, count=count):
            theta = torch.nn.functional.normalize(torch.randn(count, d), dim=1)
            gap = torch.sort(x @ theta.T, dim=0)[0] - torch.sort(y @ theta.T, dim=0)[0]
            (gap**2).mean().backward()

        def pot(x=x, y=y, count=count):
            ot.sliced_wasserstein_distance(x, y, n_projections=count).backward()

        def ours(x=x, y=y, loss=loss):
            loss(x, y).backward()

        with threadpool_limits(1):
            for task in (ours, by_hand, pot):
                task()
            times = interleaved(5 if quick else 15, ours, by_hand, pot)
        row = f"n = {n}, d = {d}, L = {count}"
        for k, name in ((1, "torch.sort by hand"), (2, "POT + torch")):
            found = time_ratio(times[:, k], times[:, 0])
            yield Claim("sliced_loss", row, name, **found, peers=("torch",), par=1.0)


def moons(rng, n=300):
    angle = np.pi * rng.random((2, n))
    noise = 0.05 * rng.normal(size=(2, n, 2))
    upper = np.stack([np.cos(angle[0]), np.sin(angle[0])], axis=1)
    lower = np.stack([1 - np.cos(angle[1]), 0.5 - np.sin(angle[1])], axis=1)
    return upper + noise[0], lower + noise[1]


def spikes(rng, n=300, d=512):
    clouds = np.zeros((2, n, d))
    for cloud in clouds:
        for point in cloud:
            point[rng.integers(0, d, 4)] = rng.exponential(5, 4)
    return clouds[0], 1.5 * clouds[1]


def halves(rng):
    threes = rng.permutation(digits()[0])
    return threes[::2], threes[1::2]


DATA = {
    "moons, d=2": moons,
    "torus / sphere, d=3": lambda rng: torus_and_sphere(1000),
    "helix / ellipsoid, d=3": lambda rng: helix_and_ellipsoid(1000),
    "digits 3 / 8, d=64": lambda rng: digits(),
    "halves of the threes, d=64": halves,
    "Student t, d=16": lambda rng: tuple(s * rng.standard_t(3, (400, 16)) for s in (1, 1.3)),
    "lognormal, d=16": lambda rng: tuple(np.exp(s * rng.normal(size=(400, 16))) for s in (1, 1.2)),
    "one law, d=16": lambda rng: tuple(rng.normal(size=(2, 400, 16))),
    "sparse spikes, d=512": spikes,
    "mixtures, d=10": lambda rng: mixtures(400),
}  # fmt: skip


def claims_work(quick: bool) -> Iterator[Claim]:
    runs = 10 if quick else 100
    for name, make in list(DATA.items())[: 2 if quick else None]:
        x, y = make(np.random.default_rng(0))
        tasks = {
            "pot": lambda seed, x=x, y=y: ot.sliced_wasserstein_distance(
                x, y, n_projections=128, seed=seed
            ) ** 2,
            "ours": lambda seed, x=x, y=y: sliced_wasserstein(x, y, rng=seed).power.value,
        }  # fmt: skip
        values: dict[str, list[float]] = {key: [] for key in tasks}
        seconds: dict[str, list[float]] = {key: [] for key in tasks}
        with threadpool_limits(1):
            for task in tasks.values():
                task(runs)
            for seed in range(runs):
                for key, task in tasks.items():
                    start = time.process_time()
                    values[key].append(task(seed))
                    seconds[key].append(time.process_time() - start)
        variance = {key: np.var(made, ddof=1) for key, made in values.items()}
        slower = np.median(seconds["pot"]) / np.median(seconds["ours"])
        yield Claim("sliced_defaults", name, "time, POT / ours", float(slower), repeats=runs,
                    peers=("pot",), par=1.0)  # fmt: skip
        if variance["ours"] > 1e-24 * np.mean(values["pot"]) ** 2:
            gain = variance["pot"] / variance["ours"]
            yield Claim("sliced_defaults", name, "variance, POT / ours", float(gain), repeats=runs,
                        peers=("pot",), par=1.0)  # fmt: skip
            yield Claim("sliced_defaults", name, "variance x time", float(gain * slower),
                        repeats=runs, peers=("pot",), par=1.0)  # fmt: skip
        else:
            yield Claim("sliced_defaults", name, "exact", 1.0, repeats=runs, unit="")


if __name__ == "__main__":
    chosen = [name for name in sys.argv[1:] if not name.startswith("--")]
    for name, claims in {"loss": claims_loss, "work": claims_work}.items():
        if not chosen or name in chosen:
            show(claims("--quick" in sys.argv))
