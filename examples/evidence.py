"""Evidence of an oscillator: thermodynamic integration and the SMC identity, against quadrature.

The van der Pol oscillator q'' = θ(1 − q²)q' − q, seen eleven times with noise, log θ ~ N(0, 0.25²).
A few draws at each of a ladder of temperatures give the log evidence to three digits, because the
expectations are estimated jointly: what one temperature knows its neighbours know as well. One
parameter, so that quadrature tells the truth.

Prints a table and saves evidence.png. MCVAR_EXAMPLE_SIZE=small runs fewer temperatures.
"""

# %% The oscillator, with the sensitivity of its path, for many parameters at once
import os
import time

import matplotlib.pyplot as plt
import numpy as np
from scipy import integrate

import mcvar

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
TEMPERATURES, N = (6, 12) if SMALL else (16, 20)
NOISE, WIDTH = 0.1, 0.25
times = np.arange(11.0)


def path(log_theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions q (n, 11) at the times, and their derivatives in log theta."""
    theta = np.exp(log_theta)

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        q, v, dq, dv = flat.reshape(4, -1)
        pull, bend = theta * (1 - q**2), 2 * theta * q * v
        return np.concatenate([v, pull * v - q, dv, pull * (v + dv) - (bend + 1) * dq])

    n = len(theta)
    start = np.concatenate([np.zeros(n), np.full(n, 2.0), np.zeros(2 * n)])
    solved = integrate.solve_ivp(
        slope, (0, 10), start, "DOP853", t_eval=times, rtol=1e-8, atol=1e-9
    )
    q, _, dq, _ = solved.y.reshape(4, n, 11)
    return q, dq


data = path(np.zeros(1))[0][0] + NOISE * np.random.default_rng(7).standard_normal(11)


def log_likelihood(x: np.ndarray) -> np.ndarray:
    """Of normal errors, at x (n, 1)."""
    left = data - path(x[:, 0])[0]
    return -0.5 * (left**2).sum(axis=1) / NOISE**2 - 11 * np.log(NOISE * np.sqrt(2 * np.pi))


def grad_log_likelihood(x: np.ndarray) -> np.ndarray:
    """Its derivative, shape (n, 1)."""
    q, dq = path(x[:, 0])
    return ((data - q) * dq).sum(axis=1, keepdims=True) / NOISE**2


def grad_log_prior(x: np.ndarray) -> np.ndarray:
    """Of the normal prior."""
    return -x / WIDTH**2


# %% The truth by quadrature, and draws of every temperature by inversion
grid = np.linspace(-1.25, 1.25, 2001)
on_grid = log_likelihood(grid[:, np.newaxis])
log_prior = -0.5 * (grid / WIDTH) ** 2 - np.log(WIDTH * np.sqrt(2 * np.pi))
exact = np.log(np.exp(on_grid + log_prior).sum() * (grid[1] - grid[0]))
ladder = np.linspace(0, 1, TEMPERATURES) ** 5
rng = np.random.default_rng(1)
draws, truths = [], []
for t in ladder:
    power = np.exp(t * on_grid + log_prior - (t * on_grid + log_prior).max())
    power /= power.sum()
    draws.append(np.interp(rng.random((N, 1)), np.cumsum(power), grid))
    truths.append(power @ on_grid)

# %% Both identities, from the same draws
model = (log_likelihood, grad_log_likelihood, grad_log_prior, draws, ladder)
start = time.perf_counter()
found = {
    "thermodynamic, order 1": mcvar.evidence(*model, 1),
    "thermodynamic, order 2": mcvar.evidence(*model),
    "SMC identity": mcvar.evidence(*model, method="smc"),
}
seconds = time.perf_counter() - start

# %% The same from plain means
values = [log_likelihood(x) for x in draws]
means = np.array([v.mean() for v in values])
errors = np.array([v.std(ddof=1) / np.sqrt(N) for v in values])
gaps = np.diff(ladder)
weights = 0.5 * (np.append(gaps, 0) + np.append(0, gaps))
variances = np.array([v.var(ddof=1) for v in values])
plain = weights @ means - (gaps**2 * np.diff(variances)).sum() / 12
plain_error = np.sqrt(weights**2 @ errors**2)

print(f"{TEMPERATURES} temperatures, {N} draws each; exact log evidence {exact:.4f}\n")
print(f"{'':24} {'value':>9} {'error bar':>9} {'rule off by':>11} {'error':>9}")
print(f"{'plain means, order 2':24} {plain:9.4f} {plain_error:9.4f} {'':11} {plain - exact:9.4f}")
for name, est in found.items():
    print(
        f"{name:24} {est.value:9.4f} {est.standard_error:9.4f} {est.rule_error:11.4f} "
        f"{est.value - exact:9.4f}"
    )
print(f"\nthree evidences in {seconds:.1f} s")

# %% The figure
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
along = ladder ** (1 / 5)
best = found["thermodynamic, order 2"].means
left.plot(along, truths, "k-", lw=1, label="exact")
left.errorbar(
    along, means, yerr=1.96 * errors, fmt="o", ms=3, color="#D55E00", lw=1, label="plain means"
)
left.plot(along, best.value, "o", ms=4, mfc="none", color="#0072B2", label="jointly controlled")
left.set(
    xlabel="temperature", ylabel="mean log likelihood", ylim=(-45, 25),
    xticks=[0, 0.4, 0.6, 0.8, 1], xticklabels=["0", "0.01", "0.08", "0.33", "1"],
)  # fmt: skip
left.legend(frameon=False, loc="lower right")
names = ["plain means, order 2", *found]
centres = [plain - exact, *(est.value - exact for est in found.values())]
halves = [1.96 * plain_error, *(np.diff(e.confidence_interval())[0] / 2 for e in found.values())]
for row, (centre, half) in enumerate(zip(centres, halves, strict=True)):
    colour = "#0072B2" if row else "#D55E00"
    right.errorbar(centre, row, xerr=half, fmt="o", color=colour, ms=4, capsize=3)
for row, est in enumerate(found.values(), start=1):
    if est.rule_error:
        right.plot(centres[row] - est.rule_error, row, "|", color="#0072B2", ms=14)
right.axvline(0, color="0.5", lw=1)
right.set_yticks(range(len(names)), names)
right.set(
    ylim=(len(names) - 0.5, -0.5), xlabel="log evidence less exact (bar: rule's error taken off)"
)
figure.savefig("evidence.png", dpi=110)
print("saved evidence.png")
