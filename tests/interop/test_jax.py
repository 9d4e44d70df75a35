"""JAX: its functions as integrands, densities and controls, its arrays as draws."""

import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar.control import KnownMean, SteinPolynomial

jax = pytest.importorskip("jax", reason="needs the extra `jax`")
jnp = jax.numpy
BOX = [(0, 1)] * 2
EXACT = (np.e - 1) ** 2


def one(x):
    return jnp.exp(x.sum())


def many(x):
    return jnp.exp(jnp.asarray(x).sum(axis=1))


@pytest.mark.parametrize(
    ("integrand", "options"),
    [
        (many, {}),
        (jax.jit(many), {}),
        (jax.jit(jax.vmap(one)), {}),
        (jax.jit(one), {"vectorized": False, "n": 512}),
    ],
    ids=["eager", "jit", "vmap", "one point"],
)
def test_integrands(integrand, options):
    est = mcvar.estimate(integrand, BOX, **{"n": 2**13, "rng": 1, **options})
    assert abs(est.value - EXACT) < 5 * est.standard_error
    assert est.variance_reduction > 100
    assert type(est.value) is float


def test_bounds_and_known_means():
    est = mcvar.estimate(
        many,
        jnp.array(BOX),
        n=4096,
        rng=1,
        sampler="montecarlo",
        control=KnownMean(lambda x: jnp.asarray(x), jnp.array([0.5, 0.5])),
    )
    assert abs(est.value - EXACT) < 5 * est.standard_error
    assert est.variance_reduction > 5


def log_density(u):
    return -0.5 * jnp.sum(u**2)


def test_draws_and_gradients_of_an_unnormalised_density():
    x = jax.random.normal(jax.random.key(0), (400, 2))
    score = jax.vmap(jax.grad(log_density))(x)
    est = mcvar.estimate(jnp.sin(x[:, 0]) + 1, mcvar.Draws(x, grad_logpdf=score))
    assert abs(est.value - 1) < 5 * est.standard_error
    assert est.variance_reduction > 100
    table = mcvar.summary(x.reshape(4, 100, 2), score.reshape(4, 100, 2), functions={})
    assert (np.abs(table.controlled_mean) < 1e-5).all()


def test_unnormalised_targets():
    target = mcvar.Unnormalized(
        jax.jit(jax.vmap(log_density)),
        proposal=[stats.t(5)] * 2,
        grad_logpdf=jax.jit(jax.vmap(jax.grad(log_density))),
    )
    est = mcvar.estimate(
        lambda x: x[:, 0] ** 2,
        target,
        n=4096,
        rng=1,
        sampler="montecarlo",
        control=SteinPolynomial(2),
    )
    assert est.value == pytest.approx(1, abs=1e-6)
    assert abs(est.log_normalizer.value - np.log(2 * np.pi)) < 5 * est.log_normalizer.standard_error


def test_clouds():
    x = jax.random.normal(jax.random.key(1), (300, 3))
    est = mcvar.sliced_wasserstein(x, x + 1.0, rng=1)
    assert est.value == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("integrand", "message"),
    [
        (lambda x: many(x) * 1j, "complex.*real and imaginary parts as two columns"),
        (lambda x: many(x).astype(jnp.bfloat16), "must be numeric, got dtype bfloat16"),
        (one, r"returned shape \(\).*vectorized=False"),
    ],
)
def test_what_cannot_be_used(integrand, message):
    with pytest.raises((TypeError, ValueError), match=message):
        mcvar.estimate(integrand, BOX, n=1024, rng=1)


def test_keys_are_not_seeds():
    with pytest.raises(TypeError, match="rng must be None, an int, a numpy Generator"):
        mcvar.estimate(many, BOX, n=1024, rng=jax.random.key(0))
