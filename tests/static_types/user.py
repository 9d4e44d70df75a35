"""A user's script with types. It is run, and checked by ``mypy --strict``: each `assert_type` is
what a user gets, each ``type: ignore`` a mistake that must be caught (or mypy calls it unused)."""

from typing import Any, Literal, assert_type

import numpy as np
import numpy.typing as npt

import mcvar
from mcvar import safety
from mcvar.safety.overtaking import crude_run

Floats = npt.NDArray[np.float64]


def price(x: Floats) -> Floats:
    payoff: Floats = np.maximum(x.sum(axis=1) - 1, 0)
    return payoff


# %% An integral
est = mcvar.estimate(price, [(0, 1)] * 2, n=4096, rng=np.random.default_rng(1))
assert_type(est, mcvar.Estimate)
value: float = est.value  # Any: a number, or an array where the integrand has columns
assert_type(est.n, int)
assert_type(est.ess, float)
assert_type(est.status, Literal["completed", "converged", "budget", "suspect"])
assert_type(est.reasons, tuple[str, ...])
assert_type(est.covariance, Floats | None)
assert_type(est.log_normalizer, mcvar.Estimate | None)
low: float = est.confidence_interval(0.95).low
lower, upper = est.confidence_interval()
if est.status == "converged":
    print(f"{value:.4f} within {lower:.4f} and {upper:.4f}")

# %% Draws that exist: lists, arrays of any number, labels
x = np.random.default_rng(1).normal(size=(200, 2))
draws = mcvar.Draws(x, grad_logpdf=-x, chain=[0] * 100 + [1] * 100)
assert_type(mcvar.Draws([[0.1], [0.2]]).x, Floats)
assert_type(draws.weights, Floats | None)
assert_type(draws.n, int)
control = mcvar.control.SteinPolynomial(2, penalty="ridge")
assert_type(control.fit(x, x[:, 0], -x), mcvar.control.SteinPolynomial)
assert_type(control.predict(x, -x), Floats)
assert_type(control.score(x, x[:, 0], grad_logpdf=-x), float)
assert_type(mcvar.estimate(x[:, 0], draws, control=control), mcvar.Estimate)
assert_type(mcvar.stein_thinning(x, -x, 5), npt.NDArray[np.int64])
assert_type(mcvar.kernel_stein_discrepancy(x, -x), float)
assert_type(mcvar.samplers.Sobol().draw([(0, 1)], 64, rng=1).x, Floats)

# %% A posterior
table = mcvar.summary(x, -x, names=["mu", "tau"], control=control)
assert_type(table, mcvar.PosteriorSummary)
assert_type(table["mu"].controlled_mean, float)
assert_type(table.gain, Floats)
assert_type(table.confidence_interval().low, Floats)

# %% Related integrals
joint = mcvar.estimate_jointly([(np.sin(x[:, 0]), draws), (np.cos(x[:, 0]), draws)])
assert_type(joint, mcvar.JointEstimate)
assert_type(joint.value, Floats)
assert_type(joint.confidence_interval().high, Floats)
assert_type(joint.n, tuple[int, ...])

# %% Sliced Wasserstein distances
distance = mcvar.sliced_wasserstein(x, x + 1, rng=1)
assert_type(distance.value, float)
assert_type(distance.confidence_interval(0.9).low, float)
assert_type(distance.power, mcvar.Estimate)
# Of the kind that the clouds are of, as POT's: arrays or tensors.
assert_type(mcvar.sliced.sliced_wasserstein_distance(x, x + 1, seed=1), Any)
loss, slope = mcvar.sliced.sliced_wasserstein_gradient(x, x + 1, rng=1)
assert_type(loss, float)
assert_type(slope, Floats)
assert_type(mcvar.sliced.pairwise_sliced_wasserstein([x, x + 1, x + 2], rng=1), Floats)
assert_type(mcvar.sliced.gradient_flow(x, x + 1, 2, 0.5, rng=1).points, Floats)


# %% A crash rate
def driver(speed: float, gap: float, closing_speed: float) -> float:
    return max(min(0.3 * (gap - 3 - 1.2 * speed) - closing_speed, 1.0), -4.0)


rate = crude_run(driver, 2000, seed=1)
assert_type(rate, safety.CrashRate)
assert_type(rate.value, float)
assert_type(rate.confidence_interval(0.9).high, float)
assert_type(rate.crashes, int)
assert_type(safety.wilson(3, 1000).low, float)


# %% What a type checker catches
def mistakes() -> Any:
    mcvar.estimat(price, [(0, 1)])  # type: ignore[attr-defined]
    mcvar.estimate(price, [(0, 1)], rng="seed")  # type: ignore[arg-type]
    mcvar.estimate(price, [(0, 1)], criterion="median")  # type: ignore[arg-type]
    mcvar.estimate(price, [(0, 1)], samples=100)  # type: ignore[call-arg]
    mcvar.Draws(x, weigths=[1.0])  # type: ignore[call-arg]
    mcvar.control.Polynomial(2, penalty="elastic")  # type: ignore[arg-type]
    est.value_ = 3  # type: ignore[attr-defined]
    est.n = 3  # type: ignore[misc]
    word: str = distance.confidence_interval().low  # type: ignore[assignment]
    return word
