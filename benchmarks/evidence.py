"""Log evidence of the van der Pol oscillator by thermodynamic integration, against quadrature.

python -m benchmarks.evidence [draws a temperature] [replications]

q'' = θ(1 − q²)q' − q from q = 0, q' = 2; eleven observations at t = 0, 1, ..., 10 with noise of sd
0.1, made at θ = 1; prior log θ ~ N(0, 0.25²); 31 temperatures (i/30)⁵. Draws are independent, of
log θ, by inversion of the distribution function; all rules are of second order.
"""

import sys

import numpy as np
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

from mcvar.control import SteinKernel, VectorSteinKernel

NOISE, PRIOR, FIRST_SEED = 0.1, 0.25, 1000
LADDER = (np.arange(31) / 30) ** 5
STEPS = np.diff(LADDER)
OF_MEANS = 0.5 * (np.append(STEPS, 0) + np.append(0, STEPS))
OF_VARIANCES = (np.append(STEPS**2, 0) - np.append(0, STEPS**2)) / 12


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


def main(n: int, repeats: int) -> None:
    data = observed(1.0) + NOISE * np.random.default_rng(7).standard_normal(11)
    coarse = np.linspace(-1.5, 1.5, 1201)
    squares = [((observed(np.exp(z)) - data) ** 2).sum() for z in coarse]
    likelihood = CubicSpline(
        coarse, -0.5 * np.array(squares) / NOISE**2 - 11 * np.log(NOISE * np.sqrt(2 * np.pi))
    )
    slope = likelihood.derivative()
    z = np.linspace(-1.5, 1.5, 200_001)
    prior = -0.5 * (z / PRIOR) ** 2 - np.log(PRIOR * np.sqrt(2 * np.pi))
    top = (likelihood(z) + prior).max()
    exact = top + np.log(np.exp(likelihood(z) + prior - top).sum() * (z[1] - z[0]))
    powers = [np.exp(t * likelihood(z) + prior - (t * likelihood(z) + prior).max()) for t in LADDER]
    distributions = [np.cumsum(p) / p.sum() for p in powers]
    apart = np.abs(np.subtract.outer(np.arange(31), np.arange(31)))
    joint = VectorSteinKernel(task_covariance=np.exp(-apart / 4))

    errors = []
    for seed in range(FIRST_SEED, FIRST_SEED + repeats):
        rng = np.random.default_rng(seed)
        x = [np.interp(rng.random(n), f, z)[:, np.newaxis] for f in distributions]
        s = [-p / PRIOR**2 + t * slope(p) for p, t in zip(x, LADDER, strict=True)]
        y = [likelihood(p[:, 0]) for p in x]

        def scalar(values: list, x: list = x, s: list = s) -> np.ndarray:
            rows = zip(x, values, s, strict=True)
            return np.array([SteinKernel().fit(*row).mean_ for row in rows])

        def jointly(values: list, x: list = x, s: list = s) -> np.ndarray:
            return joint.fit(x, values, s).mean_

        row = []
        for expect in (lambda values: np.array([v.mean() for v in values]), scalar, jointly):
            means = expect(y)
            variances = expect([(v - m) ** 2 for v, m in zip(y, means, strict=True)])
            row.append(abs(OF_MEANS @ means + OF_VARIANCES @ variances - exact))
        errors.append(row)
    cells = " | ".join(f"{e:.2g}" for e in np.mean(errors, axis=0))
    print(f"| {n} | {cells} |  (exact {exact:.5f}; Monte Carlo, scalar kernel, joint kernel)")


if __name__ == "__main__":
    main(*(int(a) for a in (sys.argv[1:] + ["20", "20"][len(sys.argv) - 1 :])))
