"""How little controls help where they cannot: python -m benchmarks.limits [--quick]

Gain over plain Monte Carlo with as many evaluations, as estimates say it; median of the seeds.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from scipy import stats

import mcvar
from benchmarks.record import Claim, show

N, DRAWS, EXACT = 2**16, (4, 250), 1e20


def smooth(x: np.ndarray) -> np.ndarray:
    return np.exp(x.mean(axis=1))


def step(x: np.ndarray) -> np.ndarray:
    return (x.sum(axis=1) > np.sqrt(x.shape[1])).astype(float)


def chessboard(x: np.ndarray) -> np.ndarray:
    return np.sign(np.sin(40 * x)).prod(axis=1)


def drawn(f, target, seeds: int, **options) -> np.ndarray:
    return np.array(
        [
            mcvar.estimate(f, target, n=N, rng=seed, **options).variance_reduction
            for seed in range(seeds)
        ]
    )


def given(d: int, seeds: int) -> dict[str, np.ndarray]:
    """Functions of posterior draws of N(0, I), with gradients: three rows of a summary."""
    functions = {
        "x²": lambda p: p["x"][..., 0] ** 2,
        "Σ abs(x)": lambda p: np.abs(p["x"]).sum(axis=-1),
        "P(x > 1)": lambda p: p["x"][..., 0] > 1,
    }
    gains = []
    for seed in range(seeds):
        x = np.random.default_rng(seed).standard_normal((*DRAWS, d))
        table = mcvar.summary(x, -x, functions=functions)
        gains.append([table[name].gain for name in functions])
    return dict(zip(functions, np.array(gains).T, strict=True))


def claim(table: str, row: str, column: str, gains: np.ndarray) -> Claim:
    # Where the fit is exact the gain is what rounding leaves, up to a division by zero.
    note = "1e20 or more: exact" if np.median(gains) >= EXACT else ""
    low, median, high = np.quantile(np.minimum(gains, EXACT), (0, 0.5, 1))
    return Claim(
        table, row, column, float(median), float(low), float(high),
        "range of seeds", len(gains), par=1.0, note=note,
    )  # fmt: skip


def claims(quick: bool) -> Iterator[Claim]:
    seeds = 3 if quick else 15
    independent = {"sampler": "montecarlo"}
    for d in (2,) if quick else (2, 20):
        box, law, column = [(0, 1)] * d, [stats.norm()] * d, f"d = {d}"
        for row, f, target, options in (
            ("smooth, polynomials", smooth, box, independent),
            ("step, polynomials", step, law, independent),
            ("step, automatic", step, law, {}),
            ("chessboard, automatic", chessboard, box, {}),
        ):
            yield claim("limits", row, column, drawn(f, target, seeds, **options))
    for d in (1,) if quick else (1, 20):
        for name, gains in given(d, seeds).items():
            yield claim("limits_draws", name, f"d = {d}", gains)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 seeds")
    show(claims(parser.parse_args().quick))
