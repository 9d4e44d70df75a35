"""How little controls help where they cannot: python -m benchmarks.limits

Gain over plain Monte Carlo with as many evaluations, as estimates say it; median of the seeds.
"""

import numpy as np
from scipy import stats

import mcvar

SEEDS, N, DRAWS = 15, 2**16, (4, 250)


def smooth(x: np.ndarray) -> np.ndarray:
    return np.exp(x.mean(axis=1))


def step(x: np.ndarray) -> np.ndarray:
    return (x.sum(axis=1) > np.sqrt(x.shape[1])).astype(float)


def chessboard(x: np.ndarray) -> np.ndarray:
    return np.sign(np.sin(40 * x)).prod(axis=1)


def drawn(f, target, **options) -> float:
    return float(
        np.median(
            [
                mcvar.estimate(f, target, n=N, rng=seed, **options).variance_reduction
                for seed in range(SEEDS)
            ]
        )
    )


def given(d: int) -> dict[str, float]:
    """Functions of posterior draws of N(0, I), with gradients: three rows of a summary."""
    functions = {
        "x²": lambda p: p["x"][..., 0] ** 2,
        "Σ|x|": lambda p: np.abs(p["x"]).sum(axis=-1),
        "P(x > 1)": lambda p: p["x"][..., 0] > 1,
    }
    gains = []
    for seed in range(SEEDS):
        x = np.random.default_rng(seed).standard_normal((*DRAWS, d))
        table = mcvar.summary(x, -x, functions=functions)
        gains.append([table[name].gain for name in functions])
    return dict(zip(functions, np.median(gains, axis=0), strict=True))


def main() -> None:
    independent = {"sampler": "montecarlo"}
    for d in (2, 20):
        box, law = [(0, 1)] * d, [stats.norm()] * d
        print(f"d = {d}")
        print(f"  smooth, polynomials      {drawn(smooth, box, **independent):10.3g}")
        print(f"  step, polynomials        {drawn(step, law, **independent):10.3g}")
        print(f"  step, automatic          {drawn(step, law):10.3g}")
        print(f"  chessboard, automatic    {drawn(chessboard, box):10.3g}")
    for d in (1, 20):
        print(f"{DRAWS[0]} chains of {DRAWS[1]} draws with gradients, d = {d}")
        for name, gain in given(d).items():
            print(f"  {name:24} {gain:10.3g}")


if __name__ == "__main__":
    main()
