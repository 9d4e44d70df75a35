"""The signs of trouble: found where they are, not where they are not."""

import numpy as np
import pytest
from scipy import stats

import mcvar
from mcvar._pareto import pareto_tail_index
from mcvar.samplers import Importance, Stratified


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.8, 1.2])
def test_pareto_index_of_pareto_weights(shape):
    rng = np.random.default_rng(1)
    fitted = [
        pareto_tail_index(stats.genpareto(shape).rvs(20_000, random_state=rng), 20_000)
        for _ in range(20)
    ]
    # Some 420 tail weights each: standard error about (1 + k)/√(420 x 20).
    assert np.mean(fitted) == pytest.approx(shape, abs=0.08)


def test_pareto_index_of_bounded_weights():
    rng = np.random.default_rng(2)
    assert pareto_tail_index(rng.random(10_000), 10_000) < 0
    assert pareto_tail_index(np.ones(10_000), 10_000) == -np.inf
    assert pareto_tail_index(rng.choice([0.5, 1, 2.0], 10_000), 10_000) == -np.inf
    assert pareto_tail_index(np.repeat([0.0, 1.0], [9000, 1000]), 10_000) == -np.inf


def smooth(x):
    return np.exp(x.sum(axis=1) / 2)


@pytest.mark.parametrize("target", [[(0, 1)] * 3, stats.multivariate_normal(np.zeros(3))])
@pytest.mark.parametrize(
    "sampler",
    [
        "auto",
        "montecarlo",
        "latin",
        "sobol",
        "stratified",
        Stratified("neyman"),
        "importance",
        "vegas",
    ],
)
def test_honest_runs_are_not_suspect(target, sampler):
    for seed in range(5):
        est = mcvar.estimate(smooth, target, n=4096, sampler=sampler, rng=seed)
        assert est.status == "completed", est.reasons


def test_density_on_a_part_of_the_proposal_is_not_suspect():
    target = mcvar.Unnormalized(
        lambda x: np.where(x[:, 0] > 0.9, 0.0, -np.inf), proposal=[stats.uniform(0, 1)] * 2
    )
    est = mcvar.estimate(lambda x: x[:, 0], target, n=8192, sampler="montecarlo", rng=1)
    assert est.status == "completed", est.reasons
    assert est.value == pytest.approx(0.95, abs=5 * est.standard_error)


def test_infinite_variance_weights_are_suspect():
    target = mcvar.Unnormalized(lambda x: -np.log1p(x[:, 0] ** 2), proposal=stats.norm(0, 1))
    for sampler in ("montecarlo", "auto", "sobol"):
        est = mcvar.estimate(lambda x: np.tanh(x[:, 0]), target, n=2**14, sampler=sampler, rng=2)
        assert est.status == "suspect"
        assert any(
            sign in " ".join(est.reasons) for sign in ("tail index", "one weight", "one draw")
        )


@pytest.mark.parametrize("sampler", ["auto", "montecarlo", "sobol", "vegas", "importance"])
@pytest.mark.parametrize("width", [1e-8, 1e-2])
def test_missed_peaks_are_suspect(sampler, width):
    def needle(x):
        return np.exp(-(((x - 0.3) / width) ** 2).sum(axis=1))

    est = mcvar.estimate(needle, [(0, 1)] * 8, n=2**13, sampler=sampler, rng=2)
    assert est.status == "suspect"
    assert est.reasons


@pytest.mark.parametrize(
    "sampler", ["auto", "montecarlo", "antithetic", "latin", "sobol", "stratified", "vegas"]
)
@pytest.mark.parametrize("value", [0.0, 1.0, -3.7])
def test_constants_are_right_and_only_zero_is_suspect(sampler, value):
    """Zero is what a function returns wherever its support is missed."""
    est = mcvar.estimate(lambda x: np.full(len(x), value), [(0, 2)] * 2, sampler=sampler, rng=1)
    assert est.value == pytest.approx(4 * value, rel=1e-12)
    assert est.status == ("completed" if value else "suspect")
    assert ("zero at all" in " ".join(est.reasons)) == (value == 0)


@pytest.mark.parametrize("sampler", ["auto", "montecarlo", "latin", "sobol"])
def test_a_constant_meets_any_tolerance_after_the_first_looks(sampler):
    est = mcvar.estimate(
        lambda x: np.full(len(x), 2.5), [(0, 1)], rtol=1e-9, sampler=sampler, rng=1
    )
    assert est.status == "converged"
    assert est.n <= 2**15


def test_a_constant_under_an_unnormalised_density_is_exact():
    target = mcvar.Unnormalized(lambda x: -(x[:, 0] ** 2) / 2, proposal=stats.t(5))
    est = mcvar.estimate(lambda x: np.full(len(x), 3.1), target, n=4096, rng=1)
    assert est.value == pytest.approx(3.1)
    assert est.status == "completed"
    assert est.standard_error < 1e-12


def test_one_component_of_many_is_named():
    est = mcvar.estimate(
        lambda x: np.stack([x[:, 0], np.zeros(len(x)), x[:, 1]], axis=1), [(0, 1)] * 2, rng=1
    )
    assert est.status == "suspect"
    assert est.reasons[0].startswith("component 1: the integrand was zero")


@pytest.mark.parametrize("offset", [1e6, 1e9])
@pytest.mark.parametrize("sampler", ["montecarlo", "sobol", "importance", "auto"])
def test_large_offsets_spoil_neither_error_nor_gain(sampler, offset):
    targets = {
        "unnormalised": mcvar.Unnormalized(lambda x: -(x[:, 0] ** 2) / 2, proposal=stats.t(5)),
        "normal": stats.norm(0, 1),
    }
    for name, target in targets.items():
        near, far = (
            mcvar.estimate(
                lambda x, c=c: c + np.exp(x[:, 0] / 2), target, n=4096, sampler=sampler, rng=1
            )
            for c in (0.0, offset)
        )
        assert far.value - offset == pytest.approx(near.value, abs=0.05)
        assert far.variance_reduction > 0
        assert far.status == near.status, far.reasons
        if name == "unnormalised":
            assert far.standard_error == pytest.approx(near.standard_error, rel=0.5)


@pytest.mark.parametrize("defensive", [0.5, 0.01])
@pytest.mark.parametrize("centre", [-7.0, -30.0])
def test_components_that_are_never_drawn_do_no_harm(defensive, centre):
    # The second reaches where the others hardly go: its ratio hardly varies in the sample.
    proposals = [stats.norm(5, 0.5), stats.norm(centre, 0.5)]
    sampler = Importance(proposals, shares=[1, 1e-6], defensive=defensive)
    for seed in range(20):
        est = mcvar.estimate(
            lambda x: x[:, 0] > 4, stats.norm(0, 1), n=2048, sampler=sampler, rng=seed
        )
        assert est.value == pytest.approx(3.167e-5, rel=0.2)
