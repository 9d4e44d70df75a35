"""Train a small generator of handwritten digits with the sliced Wasserstein loss for torch.

The digits are described by their leading principal components; a network learns to turn noise into
points distributed like them. Needs the extra `torch`; MCVAR_EXAMPLE_SIZE=small makes it a few
seconds' run.
"""

# %%
import os
import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import mcvar

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
STEPS = 60 if SMALL else 2500
BATCH = 128 if SMALL else 512
FEATURES = 16
LOSSES = {
    "plain directions": {"method": "montecarlo", "control": None},
    "mcvar, automatic": {},
}
# Okabe & Ito (2008): told apart by every kind of colour vision.
COLOURS = dict(zip(LOSSES, ("#000000", "#D55E00"), strict=True))


# %%
def train(features, options):
    """Return a trained generator's samples, and its distance from the features along the way."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = torch.nn.Sequential(
        torch.nn.Linear(FEATURES, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, 128), torch.nn.ReLU(), torch.nn.Linear(128, FEATURES),
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    loss = mcvar.torch.SlicedWassersteinLoss(n=32, rng=0, **options)
    real = torch.tensor(features, dtype=torch.float32)
    noise = torch.randn(len(features), FEATURES, generator=torch.Generator().manual_seed(1))
    history = {}
    for step in range(STEPS + 1):
        if step % (STEPS // 10) == 0:
            with torch.no_grad():
                made = network(noise).numpy()
            history[step] = mcvar.sliced_wasserstein(made, features, n=512, rng=2).value
        batch = real[torch.randint(len(real), (BATCH,))]
        optimiser.zero_grad()
        loss(network(torch.randn(BATCH, FEATURES)), batch).backward()
        optimiser.step()
        schedule.step()
    return made, history


# %%
def main():
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    digits = load_digits().data
    pca = PCA(FEATURES, random_state=0).fit(digits)
    features = pca.transform(digits) / np.sqrt(pca.explained_variance_[0])
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
    print("SW_2 between generated and real digits, 32 directions a step, after steps:")
    half = np.random.default_rng(0).permutation(len(features))
    floor = mcvar.sliced_wasserstein(features[half[::2]], features[half[1::2]], n=512, rng=2).value
    for name, options in LOSSES.items():
        made, history = train(features, options)
        print(
            name.ljust(20), *(f"{step}: {value:.4f}" for step, value in list(history.items())[::2])
        )
        panels[0].semilogy(
            history.keys(), history.values(), "o-", ms=4, color=COLOURS[name], label=name
        )
    print(f"between two halves of the real digits: {floor:.4f}")
    panels[0].axhline(floor, color="#999999", ls="--", label="two halves of the real digits")
    panels[0].set(xlabel="steps of Adam", ylabel="$SW_2$ (units of the first component)")
    panels[0].spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    for ax, title, points in zip(panels[1:], ("real", "generated"), (features, made), strict=True):
        images = pca.inverse_transform(points[:36] * np.sqrt(pca.explained_variance_[0]))
        framed = np.pad(images.reshape(6, 6, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)))
        tiles = framed.swapaxes(1, 2).reshape(60, 60)
        ax.imshow(tiles, cmap="gray_r", vmin=0, vmax=16)
        ax.set(title=f"{title}, from {FEATURES} components")
        ax.set_axis_off()
    figure.savefig("digits_generator.png", dpi=100)
    print("saved digits_generator.png")


if __name__ == "__main__":
    from importlib.util import find_spec

    if find_spec("torch") is None:
        sys.exit("torch is needed here: pip install 'mcvar[torch]'")
    main()
