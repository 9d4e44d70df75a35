"""Which cell measurements speak for a benign tumour? A Bayesian logistic regression.

Scikit-learn's breast-cancer data: 569 tumours, thirty measurements each, in groups that measure
nearly the same. Langevin draws (MALA) of the thirty-one coefficients keep their gradients, and
`mcvar.summary` makes of the same draws narrower intervals: for coefficients, and for the
probability that a given tumour is benign. Two halves of the chains tell whether that is true.

Prints a table and saves logistic_regression.png. MCVAR_EXAMPLE_SIZE=small makes fewer draws.
"""

# %% The posterior: logistic likelihood, N(0, 1) prior on coefficients of standardised columns
import os

import matplotlib as mpl
import numpy as np
from scipy import optimize, special, stats
from sklearn.datasets import load_breast_cancer

import mcvar

mpl.use("Agg")
import matplotlib.pyplot as plt

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
CHAINS, DRAWS, WARMUP = 8, 200 if SMALL else 1000, 200
data = load_breast_cancer()
design = np.column_stack([np.ones(len(data.data)), stats.zscore(data.data)])
names = ["intercept", *data.feature_names]


def log_density(b):
    """Log posterior at coefficients b (n, 31), and its gradient."""
    margin = b @ design.T
    value = (data.target * margin - np.logaddexp(0, margin)).sum(axis=1) - (b**2).sum(axis=1) / 2
    return value, (data.target - special.expit(margin)) @ design - b


# %% Draws: Metropolis-adjusted Langevin, shaped by the curvature at the mode
def fall(b):
    value, gradient = log_density(b[np.newaxis])
    return -value[0], -gradient[0]


mode = optimize.minimize(fall, np.zeros(31), jac=True).x
p = special.expit(design @ mode)
covariance = np.linalg.inv(design.T @ (design * (p * (1 - p))[:, np.newaxis]) + np.eye(31))
root = np.linalg.cholesky(covariance)
STEP = 0.85  # in standard deviations of the posterior

rng = np.random.default_rng(5)
x = mode + rng.standard_normal((CHAINS, 31)) @ root.T
value, gradient = log_density(x)
draws, gradients, accepted = [], [], 0
for step in range(WARMUP + DRAWS):
    noise = rng.standard_normal((CHAINS, 31))
    y = x + STEP**2 / 2 * gradient @ covariance + STEP * noise @ root.T
    y_value, y_gradient = log_density(y)
    back = (x - y - STEP**2 / 2 * y_gradient @ covariance) @ np.linalg.inv(root).T / STEP
    ratio = y_value - value + ((noise**2).sum(axis=1) - (back**2).sum(axis=1)) / 2
    accept = np.log(rng.random(CHAINS)) < ratio
    x = np.where(accept[:, np.newaxis], y, x)
    value = np.where(accept, y_value, value)
    gradient = np.where(accept[:, np.newaxis], y_gradient, gradient)
    if step >= WARMUP:
        draws.append(x)
        gradients.append(gradient)
        accepted += accept.mean()
draws, gradients = np.stack(draws, axis=1), np.stack(gradients, axis=1)
print(f"{CHAINS} chains of {DRAWS} draws, {accepted / DRAWS:.0%} accepted")

# %% The table. What to report: coefficients, and the tumours that the mode is least sure of
unsure = np.argsort(np.abs(design @ mode))[:3]
probabilities = {
    f"P(tumour {i} benign)": lambda q, i=i: special.expit(
        sum(q[name] * design[i, j] for j, name in enumerate(names))
    )
    for i in unsure
}


def table(part, **options):
    return mcvar.summary(
        draws[part], gradients[part], names=names, functions=probabilities, **options
    )


summary = table(slice(None))
print(summary)

# %% Is it true? Both halves of the chains estimate the same thing
first, second = table(slice(0, CHAINS // 2)), table(slice(CHAINS // 2, None))
print("\nhow far two halves of the chains lie apart, in posterior sd, root mean square over rows")
for kind, error in (("mean", "mcse"), ("controlled_mean", "controlled_se")):
    apart = (getattr(first, kind) - getattr(second, kind)) / summary.sd
    expected = np.hypot(getattr(first, error), getattr(second, error)) / summary.sd
    found, said = (np.sqrt((part**2).mean()) for part in (apart, expected))
    print(f"  {kind:16} {found:.5f}, their error bars say {said:.5f}")

# %% The figure
figure, (left, right) = plt.subplots(
    1, 2, figsize=(10, 7.5), layout="constrained", width_ratios=[3, 2]
)
summary.plot(left)
mcvar.plot.gain(summary, right)
right.set(yticks=[], xlabel="variance of the plain mean / variance with control")
figure.savefig("logistic_regression.png", dpi=110)
print("\nsaved logistic_regression.png")
