"""Log evidence of the van der Pol oscillator from power posteriors, against quadrature.

python -m benchmarks.evidence [--draws 20 40 60 80] [--replications 20] [--intervals]

q'' = θ(1 − q²)q' − q from q = 0, q' = 2; eleven observations at t = 0, 1, ..., 10 with noise of sd
0.1, made at θ = 1; prior log θ ~ N(0, 0.25²); 31 temperatures (i/30)⁵. Draws are independent, of
log θ, by inversion of the distribution function. Thermodynamic integration is of second order; the
last column is the SMC identity. With --intervals also `mcvar.evidence`, cross-fitted.
"""

import argparse

import numpy as np
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

import mcvar
from mcvar.control import SteinKernel, SteinPolynomial, VectorSteinKernel

NOISE, PRIOR, FIRST_SEED = 0.1, 0.25, 1000
LADDER = (np.arange(31) / 30) ** 5
STEPS = np.diff(LADDER)
OF_MEANS = 0.5 * (np.append(STEPS, 0) + np.append(0, STEPS))
OF_VARIANCES = (np.append(STEPS**2, 0) - np.append(0, STEPS**2)) / 12
APART = np.abs(np.subtract.outer(np.arange(31), np.arange(31)))


def observed(theta: float) -> np.ndarray:
    """Return q at the times of the observations."""
    solution = solve_ivp(
        lambda _, u: [u[1], theta * (1 - u[0] ** 2) * u[1] - u[0]],
        (0, 10),
        [0, 2],
        t_eval=np.arange(11.0),
        rtol=1e-9,
        atol=1e-10,
    )
    return solution.y[0]


class Oscillator:
    """Log likelihood by splines over log θ, power posteriors by inversion, exact evidence."""

    def __init__(self) -> None:
        data = observed(1.0) + NOISE * np.random.default_rng(7).standard_normal(11)
        coarse = np.linspace(-1.5, 1.5, 1201)
        squares = [((observed(np.exp(z)) - data) ** 2).sum() for z in coarse]
        self.likelihood = CubicSpline(
            coarse, -0.5 * np.array(squares) / NOISE**2 - 11 * np.log(NOISE * np.sqrt(2 * np.pi))
        )
        self.slope = self.likelihood.derivative()
        z = np.linspace(-1.5, 1.5, 200_001)
        values = self.likelihood(z)
        prior = -0.5 * (z / PRIOR) ** 2 - np.log(PRIOR * np.sqrt(2 * np.pi))
        top = (values + prior).max()
        self.exact = top + np.log(np.exp(values + prior - top).sum() * (z[1] - z[0]))
        powers = [np.exp(t * values + prior - (t * values + prior).max()) for t in LADDER]
        self.grid, self.distributions = z, [np.cumsum(p) / p.sum() for p in powers]

    def draws(self, seed: int, n: int) -> tuple[list, list, list, list]:
        """Return values, gradients of likelihood and prior, and n draws of every temperature."""
        rng = np.random.default_rng(seed)
        x = [np.interp(rng.random(n), f, self.grid)[:, np.newaxis] for f in self.distributions]
        values = [self.likelihood(p[:, 0]) for p in x]
        return values, [self.slope(p) for p in x], [-p / PRIOR**2 for p in x], x


def thermodynamic(expect, values: list) -> float:
    """Second-order rule from a function that takes values to expectations."""
    means = expect(values)
    variances = expect([(v - m) ** 2 for v, m in zip(values, means, strict=True)])
    return OF_MEANS @ means + OF_VARIANCES @ variances


def identity(expect, values: list) -> float:
    """SMC identity from a function that takes values to expectations."""
    centres = np.array([v.mean() for v in values[:-1]])
    rows = zip(values, centres, STEPS, strict=False)
    ratios = expect([np.expm1(step * (v - c)) / step for v, c, step in rows])
    return (STEPS * centres + np.log1p(STEPS * ratios)).sum()


def errors(problem: Oscillator, n: int, seed: int) -> list[float]:
    """Absolute errors of fits on all draws."""
    y, of_likelihood, of_prior, x = problem.draws(seed, n)
    s = [b + t * a for a, b, t in zip(of_likelihood, of_prior, LADDER, strict=True)]

    def alone(control) -> object:
        return lambda values: np.array(
            [control.fit(*row).mean_ for row in zip(x, values, s, strict=False)]
        )

    def jointly(values: list) -> np.ndarray:
        k = len(values)
        joint = VectorSteinKernel(task_covariance=np.exp(-APART[:k, :k] / 4))
        return joint.fit(x[:k], values, s[:k]).mean_

    estimates = [
        thermodynamic(lambda values: np.array([v.mean() for v in values]), y),
        thermodynamic(alone(SteinPolynomial(2)), y),
        thermodynamic(alone(SteinKernel()), y),
        thermodynamic(jointly, y),
        identity(jointly, y),
    ]
    return [abs(estimate - problem.exact) for estimate in estimates]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, nargs="+", default=[20, 40, 60, 80])
    parser.add_argument("--replications", type=int, default=20)
    parser.add_argument("--intervals", action="store_true")
    options = parser.parse_args()
    problem = Oscillator()
    seeds = range(FIRST_SEED, FIRST_SEED + options.replications)
    print(f"exact log evidence {problem.exact:.5f}; mean absolute errors")
    print("| draws | Monte Carlo | polynomial | scalar kernel | joint kernel | joint, identity |")
    for n in options.draws:
        found = np.mean([errors(problem, n, seed) for seed in seeds], axis=0)
        print(f"| {n} | {' | '.join(f'{e:.2g}' for e in found)} |", flush=True)
    if not options.intervals:
        return
    print("| draws | method | error | standard error | rule | cover |")
    for n in options.draws:
        for method in ("thermodynamic", "smc"):
            rows = []
            for seed in seeds:
                found = mcvar.evidence(*problem.draws(seed, n), LADDER, method=method)
                low, high = found.confidence_interval()
                rows.append(
                    (
                        abs(found.value - problem.exact),
                        found.standard_error,
                        found.rule_error,
                        low <= problem.exact <= high,
                    )
                )
            cells = " | ".join(f"{c:.2g}" for c in np.mean(rows, axis=0))
            print(f"| {n} | {method} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
