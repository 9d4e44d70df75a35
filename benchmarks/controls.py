"""What controls gain: known means on Asian options, polynomials on independent draws.

python -m benchmarks.controls [--quick]
"""

import argparse

import numpy as np

import mcvar
from benchmarks.problems import Problem, fresh, shared


def rmse(problem: Problem, n: int, seeds: int, **options) -> float:
    box = [(0, 1)] * problem.d
    errors = [
        mcvar.estimate(problem.f, box, n=n, rng=seed, **options).value - problem.exact
        for seed in range(seeds)
    ]
    return float(np.sqrt(np.mean(np.square(errors))))


def known_means(problems: list[Problem], n: int, seeds: int) -> None:
    print("gain in RMSE of the geometric option as control")
    for problem in problems:
        if problem.control is None:
            continue
        control = mcvar.control.KnownMean(*problem.control)
        for sampler in ("montecarlo", "sobol", "auto"):
            without = rmse(problem, n, seeds, sampler=sampler, control=None)
            with_it = rmse(problem, n, seeds, sampler=sampler, control=control)
            print(f"  {problem.name:8} on {sampler:11} {without / with_it:6.1f}", flush=True)


def polynomials(problems: list[Problem], n: int, seeds: int) -> None:
    choices = {
        "degree 1": mcvar.control.Polynomial(1),
        "degree 2": mcvar.control.Polynomial(2),
        "degree 3": mcvar.control.Polynomial(3),
        "auto": "auto",
    }
    gains: dict[str, list[float]] = {name: [] for name in choices}
    for problem in problems:
        plain = rmse(problem, n, seeds, sampler="montecarlo", control=None)
        for name, control in choices.items():
            own = rmse(problem, n, seeds, sampler="montecarlo", control=control)
            gains[name].append(plain / own)
    print(f"gain in RMSE of polynomial controls on {n} independent draws, {len(problems)} problems")
    for name, values in gains.items():
        ratios = np.array(values)
        worst = problems[int(ratios.argmin())].name
        print(
            f"  {name:9} geometric mean {np.exp(np.log(ratios).mean()):5.2f}, "
            f"least {ratios.min():.2f} ({worst}), most {ratios.max():.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer seeds")
    options = parser.parse_args()
    problems = shared() or fresh()
    seeds = 10 if options.quick else 40
    known_means(problems, 65_536, seeds)
    polynomials([p for p in problems if p.d <= 20], 8192, seeds)


if __name__ == "__main__":
    main()
