"""Posterior summaries with smaller error bars, from the gradients that a sampler throws away.

Eight schools (Rubin 1981): a hierarchical model whose scale parameter tau is hard to average.
Hamiltonian Monte Carlo in plain NumPy keeps the gradient of every draw; `mcvar.summary` makes of
the same draws a table with controlled means, and quadrature over tau tells what is true.

Prints both tables and saves posterior_summary.png. MCVAR_EXAMPLE_SIZE=small runs fewer draws.
"""

# %% The model, on the unconstrained scale: (eta_1, ..., eta_8, mu, log tau)
import os

import matplotlib.pyplot as plt
import numpy as np
from scipy import integrate

import mcvar

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
CHAINS, DRAWS, WARMUP = 4, 150 if SMALL else 1000, 200
SCHOOLS = [
    "Choate",
    "Deerfield",
    "Phillips A.",
    "Phillips E.",
    "Hotchkiss",
    "Lawr.",
    "St. P.",
    "MH",
]
effect = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
error = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def log_density(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log posterior, log-Jacobian of log tau included, and its gradient, at x (chains, 10)."""
    eta, mu, tau = x[:, :8], x[:, 8:9], np.exp(x[:, 9:])
    pull = (effect - mu - tau * eta) / error**2
    prior = -0.5 * (eta**2).sum(axis=1) - mu[:, 0] ** 2 / 50 - np.log1p(tau[:, 0] ** 2 / 25)
    value = prior - 0.5 * (pull**2 * error**2).sum(axis=1) + x[:, 9]
    slope_mu = pull.sum(axis=1, keepdims=True) - mu / 25
    slope_tau = tau * (pull * eta).sum(axis=1, keepdims=True) - 2 * tau**2 / (25 + tau**2) + 1
    return value, np.hstack([tau * pull - eta, slope_mu, slope_tau])


# %% Hamiltonian Monte Carlo: 20 leapfrog steps, the gradient of every draw kept
rng = np.random.default_rng(8)
scale = np.append(np.ones(8), [3.0, 1.0])
x = rng.standard_normal((CHAINS, 10)) * scale
value, gradient = log_density(x)
draws, gradients = [], []
for step in range(WARMUP + DRAWS):
    momentum = rng.standard_normal((CHAINS, 10))
    size = 0.25 * rng.uniform(0.6, 1.2, size=(CHAINS, 1)) * scale
    y, p, y_gradient = x.copy(), momentum.copy(), gradient
    for _ in range(20):
        p += 0.5 * size * y_gradient
        y += size * p
        y_value, y_gradient = log_density(y)
        p += 0.5 * size * y_gradient
    energy = y_value - value + 0.5 * (momentum**2 - p**2).sum(axis=1)
    accept = np.log(rng.random(CHAINS)) < energy
    x = np.where(accept[:, np.newaxis], y, x)
    value = np.where(accept, y_value, value)
    gradient = np.where(accept[:, np.newaxis], y_gradient, gradient)
    if step >= WARMUP:
        draws.append(x)
        gradients.append(gradient)
x, gradient = np.stack(draws, axis=1), np.stack(gradients, axis=1)


# %% The table before and after: what a user reports, from the draws a sampler made
def constrained(u: np.ndarray) -> dict[str, np.ndarray]:
    """What to report, from unconstrained draws (n, 10)."""
    tau = np.exp(u[:, 9])
    return {"tau": tau, "mu": u[:, 8], "theta": u[:, 8:9] + tau[:, np.newaxis] * u[:, :8]}


positive = {"P(theta_1 > 10)": lambda p: p["theta"][..., 0] > 10}
before = mcvar.summary(x, gradient, constrained=constrained, functions=positive, control=None)
after = mcvar.summary(x, gradient, constrained=constrained, functions=positive)
print("without control\n", before, "\n\nwith control\n", after, sep="")


# %% The truth: given tau everything is normal, and one integral over tau remains
def given_tau(tau: float) -> np.ndarray:
    """Unnormalised density of tau, times (1, E tau, E mu, E theta) given tau."""
    spread = error**2 + tau**2
    precision = 1 / 25 + (1 / spread).sum()
    mean = (effect / spread).sum() / precision
    log_weight = -0.5 * (np.log(spread).sum() + np.log(precision) + (effect**2 / spread).sum())
    theta = (mean * error**2 + effect * tau**2) / spread
    weight = np.exp(log_weight + 0.5 * precision * mean**2) / (1 + tau**2 / 25)
    return weight * np.hstack([1.0, tau, mean, theta])


moments = integrate.quad_vec(given_tau, 0, np.inf, epsrel=1e-10)[0]
exact = moments[1:] / moments[0]
k = len(exact)
print("\nerrors in units of the posterior sd, root mean square over tau, mu and theta")
for label, mean in (("plain", before.mean), ("controlled", after.controlled_mean)):
    print(f"  {label:11} {np.sqrt((((mean[:k] - exact) / before.sd[:k]) ** 2).mean()):.5f}")

# %% One picture
fig, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4.2), width_ratios=[2, 1], layout="constrained"
)
after.plot(left)
rows = np.arange(k)
left.plot((exact - after.controlled_mean[:k]) / after.sd[:k], rows, "k|", ms=12, label="exact")
left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=8)
mcvar.plot.gain(after, right)
right.set(yticks=[], xlabel="variance of the plain mean / variance with control")
fig.savefig("posterior_summary.png", dpi=130)
