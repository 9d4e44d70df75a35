"""Vector-valued controls against what the paper's own code recorded (Sun, Barp & Briol 2023).

python -m benchmarks.vector [--quick]

Mean absolute errors of both tasks over replications, ours on draws of our own; theirs are the
figures recorded with the paper's code, on theirs, and are not measured here. Monte Carlo on our
draws stands beside, to show that both face the same difficulty.
"""

import argparse
from collections.abc import Iterator

import numpy as np

import mcvar
from benchmarks.joint import FIRST_SEED, PROBLEMS, fitted_mean
from benchmarks.record import Claim, bootstrapped, show

# Mean absolute errors of both tasks: the vector-valued control, and Monte Carlo beside it.
RECORDED = {
    "South, s2 = 1": ((0.083, 0.129), (0.222, 0.223)),
    "South, s2 = 1.1": ((0.081, 0.146), (0.222, 0.241)),
    "South, s2 = 1.25": ((0.078, 0.170), (0.222, 0.268)),
    "step": ((0.138, 0.033), (0.205, 0.063)),
    "borehole, m = 20": ((2.26, 1.79), (3.89, 4.47)),
    "borehole, m = 50": ((1.88, 1.20), (2.32, 2.52)),
}


def claims(quick: bool) -> Iterator[Claim]:
    repeats = 3 if quick else 20
    for name, (theirs, of_monte_carlo) in list(RECORDED.items())[:: 3 if quick else 1]:
        problem = PROBLEMS[name]()
        errors: dict[str, list[np.ndarray]] = {"plain": [], "fit": [], "estimate": []}
        for seed in range(FIRST_SEED, FIRST_SEED + repeats):
            tasks = problem.tasks(seed)
            found = {
                "plain": np.array([values.mean() for values, _ in tasks]),
                "fit": fitted_mean(tasks, 1),
                "estimate": mcvar.estimate_jointly(tasks).value,
            }
            for key, value in found.items():
                errors[key].append(np.abs(value - problem.exact))
        made = {key: np.array(found) for key, found in errors.items()}
        for k in (0, 1):
            row = f"{name}, task {k + 1}"
            columns = {
                "recorded over fit on all draws": (theirs[k], "fit", 1.0),
                "recorded over `estimate_jointly`": (theirs[k], "estimate", 1.0),
                "Monte Carlo: recorded over ours": (of_monte_carlo[k], "plain", None),
            }
            for column, (recorded, key, par) in columns.items():
                yield Claim(
                    "vector", row, column,
                    **bootstrapped(lambda e, r=recorded: r / e.mean(), (made[key][:, k],)),
                    par=par,
                )  # fmt: skip
            yield Claim(
                "vector", row, "Monte Carlo over `estimate_jointly`",
                **bootstrapped(lambda p, e: p.mean() / e.mean(),
                               (made["plain"][:, k], made["estimate"][:, k])),
                par=1.0,
            )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 replications")
    show(claims(parser.parse_args().quick))
