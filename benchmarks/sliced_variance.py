"""Variance of sliced Wasserstein estimators at L directions, as ratios to plain Monte Carlo.

Each estimator runs with many seeds; the ratio is Var f / L over the variance of its values. The
last columns are for "auto": its time over that of plain Monte Carlo with the same L, coverage of
its 95 % intervals, and z of its bias.

    python -m benchmarks.sliced_variance [--quick]
"""

import sys
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.record import Claim, bootstrapped, show
from mcvar.sliced import directions, sliced_wasserstein
from mcvar.sliced.blocks import costs_by_blocks
from mcvar.sliced.projection import Pair, as_cloud

PEERS = {
    "lower": ("montecarlo", "lower"),
    "upper": ("montecarlo", "upper"),
    "harmonics": ("montecarlo", "harmonics"),
    "orthogonal": ("orthogonal", None),
    "Sobol'": ("sobol", None),
    "spiral": ("spiral", None),
    "auto": ("auto", "auto"),
}


def torus_and_sphere(n):
    rng = np.random.default_rng(0)
    u, v = rng.uniform(0, 2 * np.pi, (2, n))
    r = 1 + 0.4 * np.cos(v)
    sphere = rng.normal(size=(n, 3))
    torus = np.stack([r * np.cos(u), r * np.sin(u), 0.4 * np.sin(v)], axis=1)
    return torus, sphere / np.linalg.norm(sphere, axis=1, keepdims=True)


def cube_and_cylinder(n):
    rng = np.random.default_rng(0)
    cube = rng.uniform(-1, 1, (n, 3))
    face = rng.integers(0, 3, n)
    cube[np.arange(n), face] = np.sign(cube[np.arange(n), face])
    t = rng.uniform(0, 2 * np.pi, n)
    tube = np.stack([0.6 * np.cos(t) + 0.3, 0.6 * np.sin(t), rng.uniform(-2, 2, n)], axis=1)
    return cube, tube


def helix_and_ellipsoid(n):
    rng = np.random.default_rng(0)
    t = rng.uniform(0, 6 * np.pi, n)
    helix = np.stack([np.cos(t), np.sin(t), t / 6], axis=1) + 0.05 * rng.normal(size=(n, 3))
    ball = rng.normal(size=(n, 3))
    return helix, [2, 1, 0.5] * ball / np.linalg.norm(ball, axis=1, keepdims=True)


def mixtures(n, d=10):
    rng = np.random.default_rng(0)

    def cloud():
        return (2 * rng.normal(size=(5, d)))[rng.integers(0, 5, n)] + rng.normal(size=(n, d))

    return cloud(), cloud()


def normals(n, d):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d) for _ in range(2)]


def digits(first=3, second=8):
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.data[data.target == first], data.data[data.target == second]


def whitened(n, d):
    rng = np.random.default_rng(0)

    def cloud(points):
        points = points - points.mean(axis=0)
        return points @ np.linalg.inv(np.linalg.cholesky(points.T @ points / n)).T

    mixing = rng.normal(size=(2, d, d))
    return cloud(rng.exponential(size=(n, d)) @ mixing[0]), cloud(rng.random((n, d)) @ mixing[1])


CASES = {
    "torus / sphere, 1000": lambda: torus_and_sphere(1000),
    "torus / sphere, 2048": lambda: torus_and_sphere(2048),
    "cube / cylinder, 1000": lambda: cube_and_cylinder(1000),
    "helix / ellipsoid, 1000": lambda: helix_and_ellipsoid(1000),
    "mixtures, d=10": lambda: mixtures(1000),
    "normal, d=10": lambda: normals(1000, 10),
    "normal, d=50": lambda: normals(1000, 50),
    "digits 3 / 8, d=64": digits,
    "whitened, d=3": lambda: whitened(1000, 3),
    "whitened, d=10": lambda: whitened(1000, 10),
    "whitened, d=50": lambda: whitened(1000, 50),
}


def reference(x, y):
    """Var f, and an estimate of E f with an error far below those compared."""
    pair = Pair(as_cloud("x", x), as_cloud("y", y), 2.0)
    theta = directions(10_000, x.shape[1], "montecarlo", rng=12345)
    f = costs_by_blocks(pair.costs, theta, pair.n, None)
    return f.var(), sliced_wasserstein(x, y, n=2**14, rng=54321).power


def claims(quick: bool) -> Iterator[Claim]:
    runs = 20 if quick else 150
    cases = dict(list(CASES.items())[:1]) if quick else CASES
    for name, make in cases.items():
        x, y = make()
        variance, truth = reference(x, y)
        for count in (64,) if quick else (64, 128, 256):
            yield from ratios(f"{name}, L = {count}", x, y, count, runs, variance, truth)


def ratios(row, x, y, count, runs, variance, truth) -> Iterator[Claim]:
    """Var f / L over the variance of each method, the same times its time, and how "auto" holds."""
    methods = {"plain": ("montecarlo", None)}
    for peer, (method, control) in PEERS.items():
        small = peer == "harmonics" and x.shape[1] > 3 and count < x.shape[1] ** 2
        if not small and not (method == "spiral" and x.shape[1] != 3):
            methods[peer] = (method, control)
    results: dict[str, list] = {peer: [] for peer in methods}
    seconds: dict[str, list[float]] = {peer: [] for peer in methods}
    for seed in range(runs):
        for peer, (method, control) in methods.items():
            if peer == "plain" and seed >= 10:  # its variance is known; its time is wanted
                continue
            start = time.process_time()
            made = sliced_wasserstein(x, y, n=count, method=method, control=control, rng=seed)
            seconds[peer].append(time.process_time() - start)
            results[peer].append(made)
    for peer in list(methods)[1:]:
        value = np.array([r.power.value for r in results[peer]])
        plain = variance / results[peer][0].n
        par = 1.0 if peer == "auto" else None  # the others are pieces, for comparison
        found = bootstrapped(lambda v, plain=plain: plain / v.var(ddof=1), (value,))
        yield Claim("sliced_variance", row, peer, **found, par=par)
        slower = np.median(seconds["plain"]) / np.median(seconds[peer])
        found |= {key: found[key] * slower for key in ("value", "low", "high")}
        yield Claim("sliced_work", row, peer, **found, par=par)
        if peer == "auto":
            limits = [r.power.confidence_interval() for r in results[peer]]
            covered = np.mean([low <= truth.value <= high for low, high in limits])
            error = np.hypot(value.std() / np.sqrt(runs), truth.standard_error)
            z = (value.mean() - truth.value) / error
            yield Claim("sliced_variance", row, "auto: coverage of 95 %", float(covered),
                        repeats=runs, unit="share", note=f"z of the bias {z:.1f}")  # fmt: skip


if __name__ == "__main__":
    show(claims("--quick" in sys.argv))
