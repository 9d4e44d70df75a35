"""A dear simulator helped by a crude one: flow through a borehole in two fidelities.

Sixty runs of the crude formula, and 10 to 50 of the good one, each at draws of its own. The joint
control learns how the two covary; a scalar control sees the dear runs only.

Prints a table and saves multifidelity.png. MCVAR_EXAMPLE_SIZE=small runs fewer repetitions.
"""

# %% Two fidelities over eight independent normal inputs
import os

import matplotlib.pyplot as plt
import numpy as np

import mcvar

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
REPEATS = 1 if SMALL else 20
CRUDE_RUNS, DEAR_RUNS = 60, [10, 20, 50] if SMALL else [10, 15, 20, 30, 50]
mean = np.array([0.1, 100, 89335, 89.55, 1050, 760, 1400, 10950])
variance = np.array([0.0161812**2, 0.01, 20, 1, 1, 1, 10, 30])
exact = 72.878638  # of the dear formula, by randomised quasi-Monte Carlo


def flow(x: np.ndarray, front: float, first: float) -> np.ndarray:
    """Water flow in cubic metres a year; the constants tell the fidelities apart."""
    r_w, r, t_u, t_l, h_u, h_l, length, k_w = x.T
    ratio = np.log(r / r_w)
    inner = first + 2 * length * t_u / (ratio * r_w**2 * k_w) + t_u / t_l
    return front * t_u * (h_u - h_l) / (ratio * inner)


def runs(n: int, front: float, first: float) -> tuple[np.ndarray, mcvar.Draws]:
    """Run one fidelity at n draws, and return the flows with draws and scores."""
    x = mean + np.sqrt(variance) * rng.standard_normal((n, 8))
    return flow(x, front, first), mcvar.Draws(x, grad_logpdf=-(x - mean) / variance)


# %% One estimate, with error bars for both fidelities
rng = np.random.default_rng(1)
tasks = [runs(CRUDE_RUNS, 5.0, 1.5), runs(20, 2 * np.pi, 1.0)]
joint = mcvar.estimate_jointly(tasks)
print(joint, f"\nexact for the dear one: {exact}\n")

# %% Errors against the number of dear runs
names = ["plain Monte Carlo", "dear runs alone, Stein kernel", "with 60 crude runs, jointly"]
errors = np.empty((len(DEAR_RUNS), REPEATS, 3))
for row, n in zip(errors, DEAR_RUNS, strict=True):
    for cells in row:
        crude, dear = runs(CRUDE_RUNS, 5.0, 1.5), runs(n, 2 * np.pi, 1.0)
        both = [(values, draws.x, draws.grad_logpdf) for values, draws in (crude, dear)]
        values, x, scores = zip(*both, strict=True)
        alone = mcvar.control.SteinKernel().fit(x[1], values[1], scores[1])
        shared = mcvar.control.VectorSteinKernel().fit(x, values, scores)
        cells[:] = np.abs(np.array([values[1].mean(), alone.mean_, shared.mean_[1]]) - exact)
table = errors.mean(axis=1)
print(f"mean absolute error of the dear one's expectation, {REPEATS} repetitions")
print("dear runs  " + "  ".join(names))
for n, cells in zip(DEAR_RUNS, table, strict=True):
    columns = zip(cells, names, strict=True)
    print(f"{n:9d}  " + "  ".join(f"{cell:{len(name)}.4f}" for cell, name in columns))

# %% The figure
figure, axes = plt.subplots(figsize=(6.5, 4), constrained_layout=True)
styles = [("#999999", "o"), ("#0072B2", "s"), ("#D55E00", "D")]
for name, cells, (colour, marker) in zip(names, table.T, styles, strict=True):
    axes.loglog(DEAR_RUNS, cells, color=colour, marker=marker, label=name)
axes.set_xticks(DEAR_RUNS, [str(n) for n in DEAR_RUNS])
axes.minorticks_off()
axes.set_xlabel("runs of the dear simulator")
axes.set_ylabel("mean absolute error of the mean flow (m³/year)")
axes.set_title("Borehole: crude runs spare dear ones")
axes.legend(frameon=False)
figure.savefig("multifidelity.png", dpi=130)
