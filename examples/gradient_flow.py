"""Which directions bring one shape onto another fastest?

A torus flows onto two spheres by gradient descent on SW_2, ten directions a step. Prints the exact
distance along the way for several losses, and draws the flow and the errors.
MCVAR_EXAMPLE_SIZE=small makes it a few seconds' run.
"""

# %%
import os

import numpy as np
import ot

from mcvar.sliced import ReservoirSliced, gradient_flow

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
N = 200 if SMALL else 1024
STEPS = 200 if SMALL else 2500
MARKS = [k * STEPS // 10 for k in range(1, 11)]
STEP_SIZE = 0.02 if SMALL else 0.004
LOSSES = {
    "plain directions": {"loss": "montecarlo", "n": 10, "control": None},
    "plain + Gaussian control": {"loss": "montecarlo", "n": 10, "control": "full"},
    "orthogonal frames": {"loss": "orthogonal", "n": 9, "control": None},
    "reservoir, unbiased": {"loss": ReservoirSliced(10, 4, rng=0)},
    "reservoir, energy": {"loss": ReservoirSliced(10, 4, "energy", rng=0)},
    "mcvar, automatic": {"loss": "auto", "n": 10},
}
# Okabe & Ito (2008): told apart by every kind of colour vision.
COLOURS = dict(
    zip(LOSSES, ("#000000", "#E69F00", "#009E73", "#56B4E9", "#CC79A7", "#D55E00"), strict=True)
)


# %%
def shapes(n):
    rng = np.random.default_rng(0)
    u, v = rng.uniform(0, 2 * np.pi, (2, n))
    r = 1 + 0.4 * np.cos(v)
    torus = np.stack([r * np.cos(u), r * np.sin(u), 0.4 * np.sin(v)], axis=1)
    ball = rng.normal(size=(n, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    ball[: n // 2, 2] += 2.5
    return torus, 0.6 * ball + np.array([2.0, 0, 0])


def exact(x, y):
    """W_2² by linear programming."""
    uniform = np.full(len(x), 1 / len(x))
    return ot.emd2(uniform, uniform, ot.dist(x, y), numItermax=10**7)


# %%
def main():
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    x, y = shapes(N)
    figure = plt.figure(figsize=(11, 6.4), layout="constrained")
    grid = figure.add_gridspec(2, 4)
    ax = figure.add_subplot(grid[1, :])
    print("exact W_2² at step".ljust(28), *(f"{mark:>9d}" for mark in MARKS[1::2]))
    for name, options in LOSSES.items():
        kept = {}

        def keep(step, points, value, kept=kept):
            if step + 1 in MARKS:
                kept[step + 1] = points

        gradient_flow(x, y, STEPS, STEP_SIZE, root=True, callback=keep, rng=1, **options)
        found = [exact(kept[mark], y) for mark in MARKS]
        print(name.ljust(28), *(f"{w:9.1e}" for w in found[1::2]))
        ax.semilogy(MARKS, found, "o-", ms=4, color=COLOURS[name], label=name)
    ax.set(xlabel="steps of gradient descent", ylabel="exact $W_2^2$ (squared length)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, ncols=2)
    # The last of the losses is the automatic one: its flow is the one drawn.
    for k, mark in enumerate((0, MARKS[2], MARKS[5], MARKS[-1])):
        panel = figure.add_subplot(grid[0, k], projection="3d")
        points = kept.get(mark, x)
        panel.scatter(*y.T, s=1, color="#999999", alpha=0.4)
        panel.scatter(*points.T, s=2, color=COLOURS["mcvar, automatic"])
        panel.set(title=f"step {mark}", xlim=(-1.5, 3), ylim=(-2, 2), zlim=(-1.5, 2.5))
        panel.set_box_aspect((4.5, 4, 4), zoom=1.7)
        panel.set_axis_off()
    figure.savefig("gradient_flow.png", dpi=110)
    print("saved gradient_flow.png")


if __name__ == "__main__":
    main()
