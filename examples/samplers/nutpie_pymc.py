"""Draws and gradients from PyMC through nutpie (extra `pymc`), which stores both on request.

The eight schools of Rubin (1981) as a PyMC model, and its summary from the ArviZ object alone.
MCVAR_EXAMPLE_SIZE=small runs fewer draws.
"""

# %% The model
import os

import numpy as np
import nutpie
import pymc as pm

import mcvar

SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
effect = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
error = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

with pm.Model(coords={"school": list("ABCDEFGH")}) as model:
    mu = pm.Normal("mu", 0, 5)
    tau = pm.HalfCauchy("tau", 5)
    eta = pm.Normal("eta", 0, 1, dims="school")
    theta = pm.Deterministic("theta", mu + tau * eta, dims="school")
    pm.Normal("effect", theta, error, observed=effect)

# %% Two options more than usual: gradients, and the unconstrained draws they belong to
trace = nutpie.sample(
    nutpie.compile_pymc_model(model),
    draws=100 if SMALL else 500,
    tune=300,
    chains=4,
    seed=1,
    store_gradient=True,
    store_unconstrained=True,
    progress_bar=False,
)

# %% The table, of every variable of the posterior
table = mcvar.summary(
    trace,
    names=["mu", "tau", "theta"],
    functions={"best of A and C": lambda p: np.maximum(p["theta"][..., 0], p["theta"][..., 2])},
)
print(table)
