"""Could two samples come from one law? A permutation test, and its power against the sample size.

Two laws in 16 dimensions have the same means and the same variances, but one is correlated: no
coordinate differs. Prints how often the test rejects at 5 %, and saves a picture.
MCVAR_EXAMPLE_SIZE=small makes it a few seconds' run.
"""

# %%
import os

import numpy as np

from mcvar.sliced import two_sample_test

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
SIZES = (25, 50) if SMALL else (25, 50, 100, 200, 400)
REPEATS = 10 if SMALL else 100
D = 16


# %%
def draw(rng, n, correlation):
    """Return n points with equal correlations between all coordinates."""
    common = rng.normal(size=(n, 1))
    return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(size=(n, D))


def rejections(n, correlation):
    """Return the share of pairs of samples that the test tells apart at 5 %."""
    rng = np.random.default_rng(0)
    pvalues = [
        two_sample_test(draw(rng, n, 0), draw(rng, n, correlation), 99, n=64, rng=seed).pvalue
        for seed in range(REPEATS)
    ]
    return np.mean(np.array(pvalues) <= 0.05)


# %%
def main():
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for correlation, colour in ((0.0, "#000000"), (0.1, "#56B4E9"), (0.2, "#D55E00")):
        power = [rejections(n, correlation) for n in SIZES]
        print(
            f"correlation {correlation}:",
            *(f"n = {n}: {s:.2f}" for n, s in zip(SIZES, power, strict=True)),
        )
        panels[0].plot(SIZES, power, "o-", color=colour, label=f"correlation {correlation}")
    panels[0].set(xlabel="points of each sample", ylabel="share rejected at 5 %", xscale="log")
    panels[0].legend(frameon=False)
    rng = np.random.default_rng(1)
    found = two_sample_test(draw(rng, 100, 0), draw(rng, 100, 0.2), rng=0)
    print(f"one pair of samples of 100: p = {found.pvalue}")
    found.plot(panels[1])
    figure.savefig("two_sample_test.png", dpi=100)
    print("saved two_sample_test.png")


if __name__ == "__main__":
    main()
