"""What controls gain: known means on Asian options, polynomials on independent draws.

python -m benchmarks.controls [--quick]
"""

import argparse
from collections.abc import Iterator

import numpy as np

import mcvar
from benchmarks.problems import Problem, fresh, shared
from benchmarks.record import (
    Claim,
    bootstrapped,
    cpu_seconds,
    geometric_mean,
    root_mean_square,
    show,
)

CHOICES = {
    "degree 1": mcvar.control.Polynomial(1),
    "degree 2": mcvar.control.Polynomial(2),
    "degree 3": mcvar.control.Polynomial(3),
    "auto": "auto",
}


def runs(problem: Problem, n: int, seeds: int, **options) -> tuple[np.ndarray, float]:
    """Return errors of many seeds, and the seconds of one run."""
    box = [(0, 1)] * problem.d
    errors: list[float] = []

    def every_seed() -> None:
        for seed in range(seeds):
            value = mcvar.estimate(problem.f, box, n=n, rng=seed, **options).value
            errors.append(value - problem.exact)

    seconds = cpu_seconds(every_seed) / seeds
    return np.array(errors), seconds


def gain(plain: np.ndarray, own: np.ndarray) -> float:
    return root_mean_square(plain) / root_mean_square(own)


def known_means(problems: list[Problem], n: int, seeds: int) -> Iterator[Claim]:
    """Gain in RMSE of the geometric option as control; and in variance times time."""
    for problem in problems:
        if problem.control is None:
            continue
        control = mcvar.control.KnownMean(*problem.control)
        for sampler in ("montecarlo", "sobol", "auto"):
            plain, t_plain = runs(problem, n, seeds, sampler=sampler, control=None)
            own, t_own = runs(problem, n, seeds, sampler=sampler, control=control)
            row = f"{problem.name}, {sampler}"
            yield Claim("known_means", row, "RMSE", **bootstrapped(gain, (plain, own)), par=1.0)
            yield Claim(
                "known_means", row, "variance x time",
                **bootstrapped(lambda p, o, t=t_plain / t_own: gain(p, o) ** 2 * t, (plain, own)),
                par=1.0,
            )  # fmt: skip


def polynomials(problems: list[Problem], n: int, seeds: int) -> Iterator[Claim]:
    """Gain in RMSE on independent draws, and in variance times time, over problems."""
    gains: dict[str, list[float]] = {name: [] for name in CHOICES}
    work: dict[str, list[float]] = {name: [] for name in CHOICES}
    for problem in problems:
        plain, t_plain = runs(problem, n, seeds, sampler="montecarlo", control=None)
        for name, control in CHOICES.items():
            own, t_own = runs(problem, n, seeds, sampler="montecarlo", control=control)
            gains[name].append(gain(plain, own))
            work[name].append(gain(plain, own) ** 2 * t_plain / t_own)
    for name, found in gains.items():
        ratios = np.array(found)
        worst = problems[int(ratios.argmin())].name
        measured = {
            "geometric mean": (geometric_mean(ratios), ""),
            "least": (ratios.min(), worst),
            "most": (ratios.max(), ""),
            "geometric mean of variance x time": (geometric_mean(np.array(work[name])), ""),
        }
        for column, (value, note) in measured.items():
            yield Claim(
                "polynomials", name, column, float(value), repeats=seeds, par=1.0,
                note=f"least on {note}" if note else "",
            )  # fmt: skip


def claims(quick: bool) -> Iterator[Claim]:
    problems = shared() or fresh()
    seeds = 3 if quick else 40
    small = [p for p in problems if p.d <= 20]
    sixteen = [p for p in problems if p.name == "asian16"]
    yield from known_means(sixteen if quick else problems, 2**12 if quick else 2**16, seeds)
    yield from polynomials(small[::8] if quick else small, 8192, seeds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer seeds")
    show(claims(parser.parse_args().quick))
