"""Give one photograph the colours of another.

The pixels of scikit-learn's "china" are points in the colour cube; a gradient flow moves them onto
those of "flower". Prints how the distance falls with the steps, and saves the pictures.
MCVAR_EXAMPLE_SIZE=small makes it a few seconds' run.
"""

# %%
import os
import time

from sklearn.datasets import load_sample_image

import mcvar
from mcvar.sliced import ReservoirSliced, gradient_flow

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
EVERY = 8 if SMALL else 2
STEPS = 12 if SMALL else 25
LOSSES = {
    "plain directions": {"loss": "montecarlo", "control": None},
    "reservoir, unbiased": {"loss": ReservoirSliced(16, 4, rng=0)},
    "reservoir, energy": {"loss": ReservoirSliced(16, 4, "energy", rng=0)},
    "mcvar, automatic": {"loss": "auto"},
}
# Okabe & Ito (2008): told apart by every kind of colour vision.
COLOURS = dict(zip(LOSSES, ("#000000", "#56B4E9", "#CC79A7", "#D55E00"), strict=True))


# %%
def main():
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    china, flower = (
        load_sample_image(f"{name}.jpg")[::EVERY, ::EVERY] / 255 for name in ("china", "flower")
    )
    x, y = china.reshape(-1, 3), flower.reshape(-1, 3)
    print(f"{len(x)} and {len(y)} pixels, 16 directions a step; SW_2 after steps:")
    figure, panels = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    shown = range(0, STEPS + 1, STEPS // 4)
    first = mcvar.sliced_wasserstein(x, y, rng=0).value
    print("".ljust(22), *(f"{step:>9d}" for step in shown), "   seconds")
    for name, options in LOSSES.items():
        distances, places = [first], []
        start = time.perf_counter()
        gradient_flow(
            x, y, STEPS, 1.0, n=16, bounds=(0, 1), rng=1, **options,
            callback=lambda step, points, value, places=places: places.append(points),
        )  # fmt: skip
        seconds = time.perf_counter() - start
        distances += [mcvar.sliced_wasserstein(points, y, rng=0).value for points in places]
        print(name.ljust(22), *(f"{distances[step]:9.5f}" for step in shown), f"{seconds:10.2f}")
        panels[1, 1].semilogy(distances, color=COLOURS[name], label=name)
    # The automatic loss is the last: its pixels are the picture.
    moved = places[-1].reshape(china.shape)
    pictures = {"china": china, "flower": flower, "china, in the colours of flower": moved}
    for ax, (title, picture) in zip(panels.ravel(), pictures.items(), strict=False):
        ax.imshow(picture)
        ax.set(title=title)
        ax.set_axis_off()
    panels[1, 1].set(xlabel="steps of gradient descent", ylabel="$SW_2$ (colour cube)")
    panels[1, 1].spines[["top", "right"]].set_visible(False)
    panels[1, 1].legend(frameon=False)
    figure.savefig("colour_transfer.png", dpi=100)
    print("saved colour_transfer.png")


if __name__ == "__main__":
    main()
