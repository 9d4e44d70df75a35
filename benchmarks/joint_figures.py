"""Pictures of joint estimates: error against the number of draws, and a learned covariance.

python -m benchmarks.joint_figures [replications]

Saves joint_error.png (mean absolute errors of fits on all draws, every task with m draws of its
own) and joint_covariance.png (B learned over the temperatures of the van der Pol oscillator, beside
exp(−|i − j|/4)) in the folder of this file.
"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.evidence import LADDER, Oscillator
from benchmarks.joint import borehole, fitted_mean, scalar_mean, south, vector_polynomial_mean
from mcvar.control import SteinKernel, VectorSteinKernel
from mcvar.plot import correlations

FIRST_SEED = 2000  # no choice was made on these
SIZES = (10, 15, 20, 30, 50, 80)
STYLES = {
    "Monte Carlo": ("#999999", "o"),
    "kernel": ("#E69F00", "s"),
    "joint kernel": ("#0072B2", "D"),
    "joint polynomial": ("#D55E00", "^"),
}


def error_against_draws(repeats: int, folder: Path) -> None:
    """Draw South and the borehole, the second task of each."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for ax, make, name, unit in (
        (axes[0], lambda m: south(1.1, m), "South et al., variances 1 and 1.1", ""),
        (axes[1], borehole, "borehole, the good formula", " (m³/year)"),
    ):
        table = np.empty((len(SIZES), repeats, len(STYLES)))
        for row, m in zip(table, SIZES, strict=True):
            problem = make(m)
            for cells, seed in zip(row, range(FIRST_SEED, FIRST_SEED + repeats), strict=True):
                tasks = problem.tasks(seed)
                found = [
                    np.array([values.mean() for values, _ in tasks]),
                    scalar_mean(SteinKernel(), tasks),
                    fitted_mean(tasks, 1),
                    vector_polynomial_mean(tasks),
                ]
                cells[:] = [abs(each[1] - problem.exact[1]) for each in found]
        for (method, (colour, marker)), line in zip(
            STYLES.items(), table.mean(axis=1).T, strict=True
        ):
            ax.loglog(SIZES, line, color=colour, marker=marker, ms=4, label=method)
            print(name, method, " ".join(f"{e:.2g}" for e in line), flush=True)
        ax.set_xticks(SIZES, [str(m) for m in SIZES])
        ax.minorticks_off()
        ax.set(xlabel="draws m of each task", ylabel=f"mean absolute error{unit}")
        ax.set_title(name, fontsize=10)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(folder / "joint_error.png", dpi=90)


def learned_covariance(folder: Path) -> None:
    """Draw B over every third temperature, learned from 20 draws of each."""
    kept = np.arange(0, 31, 3)
    values, of_likelihood, of_prior, x = Oscillator().draws(FIRST_SEED, 20)
    scores = [of_prior[i] + LADDER[i] * of_likelihood[i] for i in kept]
    control = VectorSteinKernel()
    control.fit([x[i] for i in kept], [values[i] for i in kept], scores)
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
    names = [f"{LADDER[i]:.2g}" for i in kept]
    apart = np.abs(np.subtract.outer(kept, kept))
    for ax, b, title in (
        (axes[0], control.task_covariance_, "learned from 20 draws each"),
        (axes[1], np.exp(-apart / 4), "given: falling by e over four steps"),
    ):
        correlations(b, ax, names=names)
        ax.tick_params(axis="x", labelrotation=90)
        ax.set(xlabel="temperature", ylabel="temperature")
        ax.set_title(title, fontsize=10)
    figure.savefig(folder / "joint_covariance.png", dpi=90)


if __name__ == "__main__":
    here = Path(__file__).parent
    learned_covariance(here)
    error_against_draws(int(sys.argv[1]) if len(sys.argv) > 1 else 10, here)
