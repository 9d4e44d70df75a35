"""An Asian option's price and its Greeks, all from one set of paths.

The case is number 5 of those on which methods for Asian options are compared (Linetsky 2004, table
1): spot 2, strike 2, rate 5 %, volatility 50 %, one year. Its price for the continuous average is
known, 0.2464156905; here the average is that of a number of dates, and tends to it.

The geometric average's price, delta and vega are known in closed form, and serve as controls.

Prints two tables and saves option_pricing.png. MCVAR_EXAMPLE_SIZE=small runs it in a few seconds.
"""

# %% The contract
import os

import matplotlib as mpl
import numpy as np
from scipy import stats

import mcvar

mpl.use("Agg")
import matplotlib.pyplot as plt

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
N = 2**12 if SMALL else 2**16
SPOT, STRIKE, RATE, SIGMA = 2.0, 2.0, 0.05, 0.5
CONTINUOUS = 0.2464156905


def contract(dates):
    """Times from today on, and the weights of their average (trapezoidal rule): (dates + 1,)."""
    weights = np.full(dates + 1, 1 / dates)
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, dates + 1), weights


def paths(z, times):
    """Brownian motion and prices at the times, from standard normals (n, dates)."""
    steps = z * np.sqrt(np.diff(times))
    w = np.hstack([np.zeros((len(z), 1)), steps.cumsum(axis=1)])
    return w, SPOT * np.exp((RATE - SIGMA**2 / 2) * times + SIGMA * w)


def greeks(average, slope):
    """Discounted payoff and its derivatives in spot and volatility, path by path: (n, 3)."""
    paid = np.exp(-RATE) * (average > STRIKE)
    return np.column_stack([paid * (average - STRIKE), paid * average / SPOT, paid * slope])


def arithmetic(z, times, weights):
    w, s = paths(z, times)
    return greeks(s @ weights, (s * (w - SIGMA * times)) @ weights)


# %% The geometric average: nearly the same, with known expectations
def geometric(z, times, weights):
    w, s = paths(z, times)
    average = np.exp(np.log(s) @ weights)
    return greeks(average, average * ((w - SIGMA * times) @ weights))


def geometric_exact(times, weights):
    """Price, delta and vega: the average is lognormal."""
    spread = np.sqrt(weights @ np.minimum.outer(times, times) @ weights)
    deviation, middle = SIGMA * spread, times @ weights
    mean = np.log(SPOT) + (RATE - SIGMA**2 / 2) * middle
    d2 = (mean - np.log(STRIKE)) / deviation
    forward = np.exp(mean + deviation**2 / 2 - RATE)
    above = stats.norm.cdf(d2 + deviation)
    slope = spread * stats.norm.pdf(d2 + deviation) + (deviation * spread - SIGMA * middle) * above
    price = forward * above - STRIKE * np.exp(-RATE) * stats.norm.cdf(d2)
    return np.array([price, forward * above / SPOT, forward * slope])


def value(dates, geometric_control, **options):
    """Price, delta and vega at once."""
    times, weights = contract(dates)
    if geometric_control:
        options["control"] = mcvar.control.KnownMean(
            lambda z: geometric(z, times, weights), geometric_exact(times, weights)
        )
    return mcvar.estimate(
        lambda z: arithmetic(z, times, weights), [stats.norm(0, 1)] * dates, n=N, rng=1, **options
    )


# %% Four ways, with the same number of paths
DATES = 16 if SMALL else 32
ways = {
    "plain Monte Carlo": value(DATES, False, sampler="montecarlo", control=None),
    "geometric control": value(DATES, True, sampler="montecarlo"),
    "mcvar's own choice": value(DATES, False),
    "mcvar's choice, geometric control": value(DATES, True),
}
print(f"{N:,} paths over {DATES} dates; how many times more plain Monte Carlo would need\n")
print(f"{'':34}{'price':>22}{'delta':>18}{'vega':>18}")
for name, est in ways.items():
    cells = zip(est.value, est.standard_error, est.variance_reduction, strict=True)
    shown = "".join(f"{v:9.5f} {f'{g:,.3g}x':>8}" for v, _, g in cells)
    print(f"{name:34}{est.standard_error[0]:9.1e}{shown}", *est.reasons)

# %% More dates: the price of the continuous average, which the error bars are narrow enough to see
print(f"\nprice, what it lacks of the continuous average's {CONTINUOUS}, 95% interval")
ladder = [4, 8] if SMALL else [4, 8, 16, 32, 64]
gaps = []
for dates in ladder:
    est = value(dates, True)
    low, high = est.confidence_interval(0.95)
    gaps.append((CONTINUOUS - est.value[0], (high[0] - low[0]) / 2))
    print(f"{dates:3d} dates {est.value[0]:.7f} {gaps[-1][0]:9.1e} +- {gaps[-1][1]:.1e}")

# %% The figure
figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained", width_ratios=[3, 2])
mcvar.plot.gain(dict(list(ways.items())[1:]), axes[0], names=["price", "delta", "vega"])
gap, half = np.array(gaps).T
axes[1].errorbar(
    ladder, np.abs(gap), half, fmt="o", color="#0072B2", capsize=3, label="95% interval"
)
axes[1].plot(
    ladder,
    abs(gap[0]) * (ladder[0] / np.array(ladder)) ** 2,
    "--",
    color="#D55E00",
    lw=1,
    label="slope -2",
)
axes[1].axhline(
    1.96 * ways["plain Monte Carlo"].standard_error[0],
    color="0.5",
    lw=1,
    ls=":",
    label="what plain Monte Carlo can see",
)
axes[1].set(
    xscale="log",
    yscale="log",
    xlabel="dates of the average",
    ylabel="price lacking of the continuous one",
)
axes[1].set_xticks(ladder, [str(m) for m in ladder])
axes[1].minorticks_off()
axes[1].legend(frameon=False, loc="lower left")
axes[1].spines[["top", "right"]].set_visible(False)
figure.savefig("option_pricing.png", dpi=120)
print("\nsaved option_pricing.png")
