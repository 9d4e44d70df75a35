"""How far apart are the handwritten 3s and 8s, or two shapes, and how sure can we be?

Prints a table of estimators at the same number of directions, and draws how their errors fall as
directions are added. MCVAR_EXAMPLE_SIZE=small makes it a few seconds' run.
"""

import os

import numpy as np
from sklearn.datasets import load_digits

import mcvar

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
RUNS = 10 if SMALL else 60
COUNTS = (32, 64, 128) if SMALL else (32, 64, 128, 256, 512)
ESTIMATORS = {
    "plain Monte Carlo": ("montecarlo", None),
    "lower bound (Nguyen & Ho)": ("montecarlo", "lower"),
    "upper bound (Nguyen & Ho)": ("montecarlo", "upper"),
    "orthogonal frames": ("orthogonal", None),
    "Sobol'": ("sobol", None),
    "mcvar, automatic": ("auto", "auto"),
}
# Okabe & Ito (2008): told apart by every kind of colour vision.
COLOURS = dict(
    zip(ESTIMATORS, ("#000000", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#D55E00"), strict=True)
)


def digits():
    data = load_digits()
    return data.data[data.target == 3], data.data[data.target == 8]


def shapes(n=1000):
    rng = np.random.default_rng(0)
    u, v = rng.uniform(0, 2 * np.pi, (2, n))
    r = 1 + 0.4 * np.cos(v)
    torus = np.stack([r * np.cos(u), r * np.sin(u), 0.4 * np.sin(v)], axis=1)
    sphere = rng.normal(size=(n, 3))
    return torus, sphere / np.linalg.norm(sphere, axis=1, keepdims=True)


def errors(x, y, truth, method, control):
    """Root mean square relative errors of SW_2^2 at each number of directions."""
    found = []
    for n in COUNTS:
        values = [
            mcvar.sliced_wasserstein(
                x, y, n=n, method=method, control=control, rng=seed
            ).power.value
            for seed in range(RUNS)
        ]
        found.append(np.sqrt(np.mean((np.array(values) / truth - 1) ** 2)))
    return found


def main():
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for ax, (name, (x, y)) in zip(
        panels, {"digits 3 and 8": digits(), "torus and sphere": shapes()}.items(), strict=True
    ):
        est = mcvar.sliced_wasserstein(x, y, rng=1)
        low, high = est.confidence_interval()
        print(f"{name}: SW_2 = {est.value:.6g}, 95 % interval ({low:.6g}, {high:.6g})")
        print(f"  {est.design}; control: {est.power.control}")
        truth = mcvar.sliced_wasserstein(x, y, n=8192, rng=999).power.value
        print("  relative error of SW_2^2".ljust(44), *(f"L={n:<7d}" for n in COUNTS))
        for label, (method, control) in ESTIMATORS.items():
            found = errors(x, y, truth, method, control)
            print(f"  {label:42s}", *(f"{error:<9.1e}" for error in found))
            ax.loglog(COUNTS, found, "o-", ms=4, label=label, color=COLOURS[label])
        ax.set(title=name, xlabel="directions", ylabel="relative error of $SW_2^2$")
        ax.set_xticks(COUNTS, [str(n) for n in COUNTS])
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=3)
    figure.savefig("sliced_wasserstein.png", dpi=120)
    print("saved sliced_wasserstein.png")


if __name__ == "__main__":
    main()
