"""The main job on real input: the same budget, with and without mcvar.

(a) Posterior means of a Bayesian logistic regression (scikit-learn's breast-cancer data) by
    importance sampling from its Laplace approximation.
(b) The price of an arithmetic Asian option, with the geometric one as control.

Prints a table and saves quickstart.png. MCVAR_EXAMPLE_SIZE=small runs it in a few seconds.
"""

# %% Setup
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats
from sklearn.datasets import load_breast_cancer

import mcvar

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
N = 2**12 if SMALL else 2**16


@dataclass
class Row:
    problem: str
    method: str
    value: float
    error: float
    gain: float
    seconds: float


def timed(problem: str, method: str, run: Callable[[], mcvar.Estimate]) -> Row:
    run()  # once for nothing: what is compiled or cached on first use is not timed
    start = time.perf_counter()
    est = run()
    seconds = time.perf_counter() - start
    print(f"{problem:11} {method:34} {est.status}", *est.reasons, flush=True)
    # Several integrals on the same points: show one, the coefficient of the mean radius.
    value, error, gain = (
        np.atleast_1d(part)[min(1, np.size(part) - 1)]
        for part in (est.value, est.standard_error, est.variance_reduction)
    )
    return Row(problem, method, value, error, gain, seconds)


# %% (a) Bayesian logistic regression
data = load_breast_cancer()
measured = data.data[:, :10]  # the ten cell measurements, averaged over each image
design = np.column_stack([np.ones(len(measured)), stats.zscore(measured)])
sign = 2.0 * data.target - 1


def log_posterior(coefficients: np.ndarray) -> np.ndarray:
    """Log density, up to a constant, at (n, 11): logistic likelihood, N(0, I) prior."""
    margin = (coefficients @ design.T) * sign
    return -np.logaddexp(0, -margin).sum(axis=1) - 0.5 * (coefficients**2).sum(axis=1)


mode = optimize.minimize(lambda b: -log_posterior(b[np.newaxis])[0], np.zeros(11)).x
p = special.expit(design @ mode)
curvature = (design * (p * (1 - p))[:, np.newaxis]).T @ design + np.eye(11)
# A little wider than Laplace's covariance: a proposal's tails must not be the thinner ones.
laplace = stats.multivariate_normal(mode, 1.2 * np.linalg.inv(curvature))
posterior = mcvar.Unnormalized(log_posterior, proposal=laplace)


def coefficients(b: np.ndarray) -> np.ndarray:
    """All eleven posterior means at once."""
    return b


logistic = [
    timed(
        "logistic",
        method,
        lambda options=options: mcvar.estimate(coefficients, posterior, n=N, rng=1, **options),
    )
    for method, options in {
        "plain importance sampling": {"sampler": "montecarlo", "control": None},
        "with polynomial controls": {
            "sampler": "montecarlo",
            "control": mcvar.control.Polynomial(2),
        },
        "mcvar's own choice": {},
    }.items()
]

# %% (b) Arithmetic Asian option, 16 dates
SPOT, STRIKE, RATE, SIGMA, DATES = 100.0, 100.0, 0.05, 0.2, 16
t = np.arange(1, DATES + 1) / DATES


def prices(z: np.ndarray) -> np.ndarray:
    """Geometric Brownian motion at the dates, from standard normals (n, 16)."""
    walk = z.cumsum(axis=1) / np.sqrt(DATES)
    return SPOT * np.exp((RATE - SIGMA**2 / 2) * t + SIGMA * walk)


def arithmetic(z: np.ndarray) -> np.ndarray:
    """Discounted payoff of the arithmetic average."""
    return np.exp(-RATE) * np.maximum(prices(z).mean(axis=1) - STRIKE, 0)


def geometric(z: np.ndarray) -> np.ndarray:
    """Discounted payoff of the geometric average, whose price is known."""
    return np.exp(-RATE) * np.maximum(np.exp(np.log(prices(z)).mean(axis=1)) - STRIKE, 0)


drift = np.log(SPOT) + (RATE - SIGMA**2 / 2) * t.mean()
variance = SIGMA**2 * np.minimum.outer(t, t).mean()
d1 = (drift - np.log(STRIKE) + variance) / np.sqrt(variance)
geometric_price = np.exp(-RATE) * (
    np.exp(drift + variance / 2) * stats.norm.cdf(d1)
    - STRIKE * stats.norm.cdf(d1 - np.sqrt(variance))
)
known = mcvar.control.KnownMean(geometric, geometric_price)
paths = [stats.norm(0, 1)] * DATES
option = [
    timed(
        "option",
        method,
        lambda options=options: mcvar.estimate(arithmetic, paths, n=N, rng=1, **options),
    )
    for method, options in {
        "plain Monte Carlo": {"sampler": "montecarlo", "control": None},
        "with the geometric option": {"sampler": "montecarlo", "control": known},
        "mcvar's own choice": {},
        "mcvar's choice and the geometric": {"control": known},
    }.items()
]

# %% The table
rows = logistic + option
print(f"\n{N} evaluations each; gain: plain Monte Carlo would need that many times more\n")
print(f"{'problem':11} {'method':34} {'value':>14} {'error':>9} {'gain':>9} {'seconds':>8}")
for row in rows:
    print(
        f"{row.problem:11} {row.method:34} {row.value:14.6f} {row.error:9.1e} "
        f"{row.gain:9.3g} {row.seconds:8.2f}"
    )

# %% The picture
import matplotlib as mpl  # noqa: E402

mpl.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

figure, axes = plt.subplots(1, 2, figsize=(10, 2.8), layout="constrained")
for ax, group, title in (
    (axes[0], logistic, "Logistic regression: coefficient of the mean radius"),
    (axes[1], option, "Asian option: price"),
):
    plain = group[0]
    for position, row in enumerate(reversed(group)):
        colour = "#D55E00" if row is plain else "#0072B2"
        half = 1.96 * row.error
        ax.errorbar(row.value, position, xerr=half, fmt="o", color=colour, ms=4, capsize=4, lw=2)
        if row is not plain:
            label = f"error {plain.error / row.error:.0f}x smaller"
            ax.text(row.value + half, position + 0.22, f"  {label}", fontsize=9, va="center")
    ax.set(
        yticks=range(len(group)),
        yticklabels=[row.method for row in reversed(group)],
        ylim=(-0.6, len(group) - 0.4),
        xlabel=f"95 % interval from {N:,} evaluations",
    )
    ax.set_title(title, fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
figure.savefig("quickstart.png", dpi=120)
print("\nsaved quickstart.png")
