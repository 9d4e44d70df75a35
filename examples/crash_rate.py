"""How often does this driver crash when it is overtaken and cut in on?

Naturalistic driving shows one crash in some two hundred thousand scenarios; a campaign of
adversarial ones, with weights that undo the exaggeration, finds the rate in a few hundred. Both are
run here, for a driver written as a function.

Prints a table and saves crash_rate.png. MCVAR_EXAMPLE_SIZE=small runs it in a few seconds.
"""

# %% A driver of your own: SI units in, acceleration out; gap is infinite without a leader
import os
import time

import matplotlib as mpl

import mcvar
from mcvar import safety
from mcvar.safety.overtaking import crude_run, overtaking_campaign

mpl.use("Agg")
import matplotlib.pyplot as plt

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
CRUDE = 10**5 if SMALL else 10**7
PRECISION = 0.3 if SMALL else 0.1  # half-width of the 90 % interval over the rate


def driver(speed, gap, closing_speed):
    """Keep three metres and 1.2 seconds; brake at 4 m/s² at most."""
    return max(min(0.3 * (gap - 3 - 1.2 * speed) - closing_speed, 1.0), -4.0)


# %% The campaign, until its interval is narrow enough; and as many naturalistic scenarios as fit
def timed(run):
    start = time.perf_counter()
    return run(), time.perf_counter() - start


campaign = overtaking_campaign(driver, seed=1)
rate, seconds = timed(lambda: campaign.run(safety.RelativeHalfWidth(PRECISION), progress=False))
raw = campaign.estimate("none")
crude, crude_seconds = timed(lambda: crude_run(driver, CRUDE, 1))
print(rate, "\n")
rows = {
    f"{CRUDE:,} naturalistic": (crude, crude_seconds),
    f"{raw.scenarios:,} adversarial, weighted": (raw, seconds),
    "the same with controls": (rate, seconds),
}
print(f"{'':40} {'rate':>10} {'90 % interval':>22} {'half-width':>11} {'seconds':>8}")
for name, (found, taken) in rows.items():
    low, high = found.confidence_interval(0.90)
    print(
        f"{name:40} {found.value:10.3g} {low:10.3g} to {high:8.3g} "
        f"{found.relative_half_width:11.0%} {taken:8.1f}"
    )

# %% The figure
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.4), layout="constrained")
campaign.plot(axes[0])
estimates = {name: found for name, (found, _) in rows.items()}
mcvar.plot.compare(estimates, axes[1], level=0.90, label="crash rate per scenario")
figure.savefig("crash_rate.png", dpi=120)
print("\nsaved crash_rate.png")
