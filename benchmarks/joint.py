"""Related integrals together: mean absolute errors of joint and scalar Stein controls.

python -m benchmarks.joint [--quick]

The problems are those of Sun, Barp & Briol (ICML 2023): two polynomials with a bump (South et
al.) under one or two normal targets, a step, and the borehole function in two fidelities.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import mcvar
from mcvar.control import (
    SteinKernel,
    SteinPolynomial,
    VectorSteinKernel,
    VectorSteinPolynomial,
)

FIRST_SEED = 13_000  # of the replications; no choice was made on them


class Problem(NamedTuple):
    """Integrands under independent normals with means and variances of their own, and truths."""

    functions: tuple[Callable[[np.ndarray], np.ndarray], ...]
    means: tuple[np.ndarray, ...]
    variances: tuple[np.ndarray, ...]
    n: int
    exact: np.ndarray

    def tasks(self, seed: int) -> list[tuple[np.ndarray, mcvar.Draws]]:
        """Return values and draws of each task, every task with draws of its own."""
        rng = np.random.default_rng(seed)
        made = []
        for function, mean, variance in zip(
            self.functions, self.means, self.variances, strict=True
        ):
            x = mean + np.sqrt(variance) * rng.standard_normal((self.n, len(mean)))
            made.append((function(x), mcvar.Draws(x, grad_logpdf=-(x - mean) / variance)))
        return made


def south(variance: float, n: int = 50) -> Problem:
    """Two polynomials with a bump; the second task's target has `variance`."""

    def bump(x: np.ndarray) -> np.ndarray:
        return np.sin(np.pi * x) * np.exp(-(x**2))

    return Problem(
        (
            lambda x: (1 + x + x**2 + bump(x))[:, 0],
            lambda x: (1.5 + x + 1.5 * x**2 + 1.75 * bump(x))[:, 0],
        ),
        (np.zeros(1), np.zeros(1)),
        (np.ones(1), np.full(1, variance)),
        n,
        np.array([2.0, 1.5 + 1.5 * variance]),
    )


def step(n: int = 40) -> Problem:
    """A step from −1 to 2, and one from 0 to 1."""
    return Problem(
        (
            lambda x: 0.5 + 1.5 * (2.0 * (x[:, 0] >= 0) - 1),
            lambda x: (x[:, 0] >= 0).astype(float),
        ),
        (np.zeros(1),) * 2,
        (np.ones(1),) * 2,
        n,
        np.array([0.5, 0.5]),
    )


def borehole(n: int) -> Problem:
    """Water flow through a borehole, by a crude formula and by a good one."""

    def flow(x: np.ndarray, front: float, first: float) -> np.ndarray:
        r_w, r, t_u, t_l, h_u, h_l, length, k_w = x.T
        ratio = np.log(r / r_w)
        inner = first + 2 * length * t_u / (ratio * r_w**2 * k_w) + t_u / t_l
        return front * t_u * (h_u - h_l) / (ratio * inner)

    mean = np.array([0.1, 100, 89335, 89.55, 1050, 760, 1400, 10950])
    variance = np.array([0.0161812**2, 0.01, 20, 1, 1, 1, 10, 30])
    return Problem(
        (lambda x: flow(x, 5.0, 1.5), lambda x: flow(x, 2 * np.pi, 1.0)),
        (mean,) * 2,
        (variance,) * 2,
        n,
        np.array([57.994880, 72.878638]),  # randomised QMC, standard error 3e-5
    )


PROBLEMS = {
    "South, s2 = 1": lambda: south(1.0),
    "South, s2 = 1.1": lambda: south(1.1),
    "South, s2 = 1.25": lambda: south(1.25),
    "step": step,
    "borehole, m = 20": lambda: borehole(20),
    "borehole, m = 50": lambda: borehole(50),
}


def _arrays(tasks: list[tuple[np.ndarray, mcvar.Draws]]) -> tuple[list, list, list]:
    """Return draws, values and scores of every task."""
    rows = [(draws.x, values, draws.grad_logpdf) for values, draws in tasks]
    x, values, scores = zip(*rows, strict=True)
    return list(x), list(values), list(scores)


def fitted_mean(tasks: list[tuple[np.ndarray, mcvar.Draws]], order: int) -> np.ndarray:
    """Return the expectations of one fit on all draws."""
    return VectorSteinKernel(order=order).fit(*_arrays(tasks)).mean_


def vector_polynomial_mean(tasks: list[tuple[np.ndarray, mcvar.Draws]]) -> np.ndarray:
    """Return the expectations of one fit of polynomials on all draws."""
    return VectorSteinPolynomial(2).fit(*_arrays(tasks)).mean_


def scalar_mean(control: SteinKernel | SteinPolynomial, tasks: list) -> np.ndarray:
    """Return the expectations of a fit for every task on its own."""
    return np.array([control.fit(draws.x, y, draws.grad_logpdf).mean_ for y, draws in tasks])


def estimates_apart(tasks: list) -> np.ndarray:
    """Return what `estimate` makes of every task on its own."""
    return np.array([mcvar.estimate(values, draws).value for values, draws in tasks])


def accuracy(repeats: int) -> None:
    """Mean absolute errors of both tasks, and the coverage of nominal 95 %."""
    methods: dict[str, Callable[[list], np.ndarray]] = {
        "Monte Carlo": lambda tasks: np.array([values.mean() for values, _ in tasks]),
        "polynomial": lambda tasks: scalar_mean(SteinPolynomial(1), tasks),
        "kernel": lambda tasks: scalar_mean(SteinKernel(), tasks),
        "kernel, order 2": lambda tasks: scalar_mean(SteinKernel(order=2), tasks),
        "joint kernel": lambda tasks: fitted_mean(tasks, 1),
        "joint, order 2": lambda tasks: fitted_mean(tasks, 2),
        "joint polynomial": vector_polynomial_mean,
        "`estimate`": estimates_apart,
    }
    print(f"mean absolute errors, {repeats} replications")
    print(f"| problem | {' | '.join(methods)} | `estimate_jointly` | cover | bar |")
    for name, make in PROBLEMS.items():
        problem = make()
        errors: dict[str, list[np.ndarray]] = {key: [] for key in [*methods, "jointly"]}
        covered, bars = [], []
        for seed in range(FIRST_SEED, FIRST_SEED + repeats):
            tasks = problem.tasks(seed)
            for key, method in methods.items():
                errors[key].append(np.abs(method(tasks) - problem.exact))
            joint = mcvar.estimate_jointly(tasks)
            low, high = joint.confidence_interval(0.95)
            errors["jointly"].append(np.abs(joint.value - problem.exact))
            covered.append((low <= problem.exact) & (problem.exact <= high))
            bars.append(joint.standard_error)
        cells = ["/".join(f"{e:.2g}" for e in np.mean(each, axis=0)) for each in errors.values()]
        share = "/".join(f"{c:.2f}" for c in np.mean(covered, axis=0))
        bar = "/".join(f"{b:.2g}" for b in np.mean(bars, axis=0))
        print(f"| {name} | {' | '.join(cells)} | {share} | {bar} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few replications")
    accuracy(3 if parser.parse_args().quick else 30)


if __name__ == "__main__":
    main()
