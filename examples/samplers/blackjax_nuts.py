"""Draws and gradients from BlackJAX (extra `jax`): its states keep the gradient of every draw.

A Poisson regression with a dispersion parameter, sampled by NUTS, and its summary.
MCVAR_EXAMPLE_SIZE=small runs fewer draws.
"""

# %% A log density of unconstrained parameters: (intercept, slope, log scale, 12 group effects)
import os

import blackjax
import jax
import jax.numpy as jnp
import numpy as np

import mcvar

jax.config.update("jax_enable_x64", True)  # control variates thrive on digits
SMALL = os.environ.get("MCVAR_EXAMPLE_SIZE") == "small"
CHAINS, DRAWS, WARMUP = 4, 100 if SMALL else 500, 300
rng = np.random.default_rng(1)
covariate = rng.standard_normal(60)
group = np.arange(60) % 12
counts = rng.poisson(np.exp(1 + 0.4 * covariate + 0.5 * rng.standard_normal(12)[group]))


def log_density(u: jax.Array) -> jax.Array:
    intercept, slope, log_scale, raw = u[0], u[1], u[2], u[3:]
    rate = intercept + slope * covariate + jnp.exp(log_scale) * raw[group]
    likelihood = jnp.sum(counts * rate - jnp.exp(rate))
    # log_scale is the half-normal scale's logarithm: + log_scale is the log-Jacobian.
    prior = -0.5 * (intercept**2 + slope**2 + jnp.exp(2 * log_scale) + jnp.sum(raw**2)) + log_scale
    return likelihood + prior


# %% NUTS, chain by chain; `states.logdensity_grad` is what others throw away
@jax.jit
def chain(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    warm, main = jax.random.split(key)
    adaptation = blackjax.window_adaptation(blackjax.nuts, log_density)
    (state, parameters), _ = adaptation.run(warm, jnp.zeros(15), num_steps=WARMUP)
    step = blackjax.nuts(log_density, **parameters).step

    def one(state, key):
        state, _ = step(key, state)
        return state, (state.position, state.logdensity_grad)

    return jax.lax.scan(one, state, jax.random.split(main, DRAWS))[1]


draws, gradients = jax.vmap(chain)(jax.random.split(jax.random.key(0), CHAINS))

# %% The table
table = mcvar.summary(
    draws,
    gradients,
    constrained=lambda u: {"intercept": u[:, 0], "slope": u[:, 1], "scale": np.exp(u[:, 2])},
    functions={"P(slope > 0.4)": lambda p: p["slope"] > 0.4},
)
print(table)
