"""Lynx and hare: several expectations under one posterior, with one control for all of them.

The Hudson's Bay Company's pelts of 1900 to 1920 and the Lotka-Volterra model, with the priors of
Stan's case study (Carpenter 2018). The log posterior's gradient comes from the sensitivity
equations, solved with the model for many chains at once; Hamiltonian Monte Carlo needs it anyway,
and keeps it. `mcvar.estimate_jointly` then makes of the same draws means with far smaller errors.

Prints a table and saves lotka_volterra.png. MCVAR_EXAMPLE_SIZE=small runs fewer chains.
"""

# %% The data: thousands of pelts
import os
import time

import matplotlib.pyplot as plt
import numpy as np
from scipy import integrate, optimize

import mcvar

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
CHAINS, TRANSITIONS = (40, 3) if SMALL else (160, 8)
year = np.arange(1900, 1921)
hare = [30.0, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22.0, 25.4, 27.1, 40.3, 57.0, 76.6, 52.3,
        19.5, 11.2, 7.6, 14.6, 16.2, 24.7]  # fmt: skip
lynx = [4.0, 6.1, 9.8, 35.2, 59.4, 41.7, 19.0, 13.0, 8.3, 9.1, 7.4, 8.0, 12.3, 19.5, 45.7, 51.1,
        29.7, 15.8, 9.7, 10.1, 8.6]  # fmt: skip
pelts = np.log([hare, lynx])  # (2, 21)


# %% The model, in logarithms of populations and of parameters
def populations(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log populations (2, 21, n), and their derivatives (6, 2, 21, n) in the rates and the start.

    u (n, 8) holds logarithms of birth, predation, death and growth rates, of both populations in
    1900, and of both scales of error.
    """
    birth, predation, death, growth = np.exp(u[:, :4].T)
    n = len(u)

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        state = flat.reshape(7, 2, n)
        eaten, born = predation * np.exp(state[0, 1]), growth * np.exp(state[0, 0])
        out = np.empty_like(state)
        out[0] = birth - eaten, born - death
        out[1:, 0] = -eaten * state[1:, 1]
        out[1:, 1] = born * state[1:, 0]
        out[1, 0] += birth
        out[2, 0] -= eaten
        out[3, 1] -= death
        out[4, 1] += born
        return out.ravel()

    start = np.zeros((7, 2, n))
    start[0] = u[:, 4:6].T
    start[5, 0] = start[6, 1] = 1.0
    years = np.arange(21.0)
    solved = integrate.solve_ivp(
        slope, (0, 20), start.ravel(), "DOP853", t_eval=years, rtol=1e-7, atol=1e-7
    )
    states = solved.y.reshape(7, 2, n, 21).swapaxes(2, 3)
    return states[0], states[1:]


location = np.array([1, 0.05, 1, 0.05])
width = np.array([0.5, 0.05, 0.5, 0.05])


def log_density(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log posterior, the log-Jacobian of the logarithms included, and its gradient (n, 8)."""
    z, dz = populations(u)
    precision = np.exp(-2 * u[:, 6:].T)  # (2, n)
    left = pelts[:, :, np.newaxis] - z
    squares = (left**2).sum(axis=1) * precision
    rates = np.exp(u[:, :4])
    away = (rates - location) / width
    value = -0.5 * (away**2).sum(axis=1) + u[:, :4].sum(axis=1)
    value -= 0.5 * ((u[:, 4:6] - np.log(10)) ** 2).sum(axis=1)
    value -= 0.5 * ((u[:, 6:] + 1) ** 2).sum(axis=1) + 21 * u[:, 6:].sum(axis=1)
    value -= 0.5 * squares.sum(axis=0)
    gradient = np.empty_like(u)
    gradient[:, :6] = np.einsum("kpyn,pyn,pn->nk", dz, left, precision)
    gradient[:, :4] += 1 - away / width * rates
    gradient[:, 4:6] -= u[:, 4:6] - np.log(10)
    gradient[:, 6:] = squares.T - 21 - (u[:, 6:] + 1)
    return value, gradient


# %% Independent chains of Hamiltonian Monte Carlo, from Laplace's approximation; the last states
start = time.perf_counter()
first = np.log([0.55, 0.028, 0.8, 0.024, 33, 6, 0.25, 0.25])
mode = optimize.minimize(
    lambda u: tuple(-part[0] for part in log_density(u[np.newaxis])), first, jac=True
).x
steps = 1e-4 * np.eye(8)
curvature = (log_density(mode - steps)[1] - log_density(mode + steps)[1]) / 2e-4
root = np.linalg.cholesky(np.linalg.inv((curvature + curvature.T) / 2))

rng = np.random.default_rng(1)
u = mode + rng.standard_normal((CHAINS, 8)) @ root.T
value, gradient = log_density(u)
accepted = []
for _ in range(TRANSITIONS):
    momentum = rng.standard_normal((CHAINS, 8))
    size = 0.3 * rng.uniform(0.8, 1.2, (CHAINS, 1))
    new, p, new_gradient = u.copy(), momentum.copy(), gradient
    for _ in range(6):
        p += 0.5 * size * new_gradient @ root
        new += size * p @ root.T
        new_value, new_gradient = log_density(new)
        p += 0.5 * size * new_gradient @ root
    energy = new_value - value + 0.5 * (momentum**2 - p**2).sum(axis=1)
    accept = np.log(rng.random(CHAINS)) < energy
    accepted.append(accept.mean())
    u = np.where(accept[:, np.newaxis], new, u)
    value = np.where(accept, new_value, value)
    gradient = np.where(accept[:, np.newaxis], new_gradient, gradient)
draws = mcvar.Draws(u, grad_logpdf=gradient)
print(f"{CHAINS} draws in {time.perf_counter() - start:.1f} s, {np.mean(accepted):.0%} accepted")

# %% What one wants to know of the two populations
birth, predation, death, growth = np.exp(u[:, :4]).T
wanted = {
    "birth rate of hares (1/year)": birth,
    "predation (1/year per thousand)": predation,
    "death rate of lynx (1/year)": death,
    "growth of lynx (1/year per thousand)": growth,
    "hares in 1900 (thousands)": np.exp(u[:, 4]),
    "lynx in 1900 (thousands)": np.exp(u[:, 5]),
    "error of hares (log)": np.exp(u[:, 6]),
    "error of lynx (log)": np.exp(u[:, 7]),
    "hares at equilibrium (thousands)": death / growth,
    "lynx at equilibrium (thousands)": birth / predation,
    "period of small cycles (years)": 2 * np.pi / np.sqrt(birth * death),
}
values = np.stack(list(wanted.values()), axis=1)
# From 10,000 reference draws of posteriordb, with polynomial controls of degree 3.
reference = [0.54767, 0.0277697, 0.79934, 0.0240648, 34.0308, 5.9420, 0.248172, 0.251446]

# %% All at once
start = time.perf_counter()
# Second-degree polynomials have 44 coefficients in eight dimensions, and the kernel does the rest.
control = mcvar.control.VectorSteinKernel(
    mcvar.control.kernels.InverseMultiquadric(), polynomial_degree=1 if SMALL else 2
)
joint = mcvar.estimate_jointly([(values, draws)], control)
print(f"estimated jointly in {time.perf_counter() - start:.1f} s\n")
plain, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(CHAINS)
print(f"{'':37} {'plain':>8} {'error':>8} {'joint':>9} {'error':>8} {'gain':>6} {'off by':>9}")
for t, name in enumerate(wanted):
    off = f"{joint.value[t] - reference[t]:9.1e}" if t < len(reference) else ""
    print(
        f"{name:37} {plain[t]:8.4f} {error[t]:8.4f} {joint.value[t]:9.5f} "
        f"{joint.standard_error[t]:8.5f} {joint.variance_reduction[t]:6.0f} {off}"
    )

# %% The figure
figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4), width_ratios=[1.15, 1], layout="constrained"
)
paths = np.exp(populations(u[:40])[0])
for path, seen, name, colour in zip(
    paths, (hare, lynx), ("hares", "lynx"), ("#0072B2", "#D55E00"), strict=True
):
    left.plot(year, path, color=colour, lw=0.5, alpha=0.3)
    left.plot(year, seen, "o", color=colour, ms=4, label=name)
left.set(xlabel="year", ylabel="pelts (thousands)", xticks=year[::4])
left.set_title("Data, and populations at 40 of the draws", fontsize=10)
left.legend(frameon=False)
spread, rows = values.std(axis=0, ddof=1), np.arange(len(wanted))
for half, gap, place, colour, label in (
    (error, plain - joint.value, -0.15, "#D55E00", "plain mean"),
    (joint.standard_error, 0 * plain, 0.15, "#0072B2", "jointly controlled"),
):
    right.errorbar(
        gap / spread, rows + place, xerr=1.96 * half / spread, fmt="o", ms=3, color=colour,
        label=label,
    )  # fmt: skip
right.set_yticks(rows, list(wanted), fontsize=8)
right.set(ylim=(len(rows) - 0.4, -0.6), xlabel="difference from the joint mean / posterior sd")
right.set_title("95 % intervals", fontsize=10)
right.legend(frameon=False, fontsize=8)
figure.savefig("lotka_volterra.png", dpi=110)
print("\nsaved lotka_volterra.png")
