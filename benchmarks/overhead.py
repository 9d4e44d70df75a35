"""Time of whole estimates over that of a bare hand-written loop: one thread, d = 5.

    python -m benchmarks.overhead [--quick]

Every round times the bare loop and then each case; ratios are taken within a round and their
median and range over rounds are given. Compilation is done before the clock starts.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator

import numba
import numpy as np

import mcvar
from benchmarks.record import Claim, interleaved, show, time_ratio

D = 5
BOX = [(0, 1)] * D


@numba.njit(error_model="numpy")
def jitted(x):
    s = 0.0
    for j in range(x.size):
        s += x[j]
    return np.exp(-s)


@numba.njit(error_model="numpy")
def bare(n):
    """What a careful user writes by hand: SFC64 in registers, sums of f and f²."""
    a, b, c, w = np.uint64(11), np.uint64(22), np.uint64(33), np.uint64(1)
    x = np.empty(D)
    total = 0.0
    squares = 0.0
    for _ in range(n):
        for j in range(D):
            r = a + b + w
            w = w + np.uint64(1)
            a = b ^ (b >> np.uint64(11))
            b = c + (c << np.uint64(3))
            c = ((c << np.uint64(24)) | (c >> np.uint64(40))) + r
            x[j] = np.float64(r >> np.uint64(11)) * (1.0 / 9007199254740992.0)
        y = jitted(x)
        total += y
        squares += y * y
    return total / n, squares / n


def vectorised(x):
    return np.exp(-x.sum(axis=1))


CASES = {
    "njit integrand, Monte Carlo": (jitted, {"sampler": "montecarlo", "control": None}),
    "NumPy integrand, Monte Carlo": (vectorised, {"sampler": "montecarlo", "control": None}),
    "NumPy integrand, Sobol'": (vectorised, {"sampler": "sobol", "control": None}),
    "njit integrand, Sobol'": (jitted, {"sampler": "sobol", "control": None}),
    "NumPy integrand, VEGAS map, training included": (
        vectorised,
        {"sampler": "vegas", "control": None},
    ),
    "control regression, degree 2": (
        vectorised,
        {"sampler": "montecarlo", "control": mcvar.control.Polynomial(2)},
    ),
    "control regression, degree 3": (
        vectorised,
        {"sampler": "montecarlo", "control": mcvar.control.Polynomial(3)},
    ),
}


def peak_memory(n: int, control: str) -> float:
    """Peak resident memory in MB of a fresh process that integrates n draws."""
    code = (
        "import numpy as np, mcvar\n"
        f"mcvar.estimate(lambda x: np.exp(-x.sum(axis=1)), [(0, 1)] * 5, n={n}, rng=1,"
        f" sampler='montecarlo', control={control})\n"
        # ru_maxrss would count the parent as it was before the child's own program started.
        "print([line for line in open('/proc/self/status') if 'VmHWM' in line][0].split()[1])"
    )
    return int(subprocess.check_output([sys.executable, "-c", code], text=True)) / 1024


def claims(quick: bool) -> Iterator[Claim]:
    n, rounds = (10**6, 3) if quick else (10**7, 7)
    bare(10)
    for f, arguments in CASES.values():
        mcvar.estimate(f, BOX, n=n, rng=1, **arguments)  # the same n: kernels depend on the plan
    for name, (f, arguments) in CASES.items():
        times = interleaved(
            rounds,
            lambda: bare(n),
            lambda f=f, a=arguments: mcvar.estimate(f, BOX, n=n, rng=1, **a),
        )
        yield Claim(
            "overhead", name, "times the bare loop", **time_ratio(times[:, 1], times[:, 0]),
            peers=("numba",), par=1.0, lower_is_better=True,
        )  # fmt: skip
    draws = 10**6 if quick else 10**8
    for control in ("None", "'auto'"):
        yield Claim(
            "memory", f"n = {draws:.0e}, control={control}", "peak of a fresh process",
            peak_memory(draws, control), unit="MB",
        )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="N = 1e6, 3 rounds")
    show(claims(parser.parse_args().quick))
