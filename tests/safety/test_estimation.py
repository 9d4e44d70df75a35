"""Estimates against exact rates: unbiased, covering, never worse, and loud where they must be."""

from dataclasses import replace

import numpy as np
import pytest

from mcvar import safety
from mcvar._jit import adversary
from mcvar.safety.estimation import estimate_rate
from mcvar.safety.weights import weigh
from tests import naive_safety
from tests.harness import check_coverage, check_unbiased
from tests.safety.cases import Distorted, proposal_of, runs_of, sample_of

CONTROLS = ("none", "global", "stratified", "ordinal", "value", "auto")


def test_the_oracle_is_the_sum_over_all_paths():
    chain = safety.GapChain(brake=0.05, steps=5, start=4, size=6)
    proposal = proposal_of(chain, Distorted(chain), chain.surrogate, mixture=[0.3, 0.7])
    rate, square = naive_safety.gap_chain_moments(chain, proposal)
    assert rate == pytest.approx(chain.rate, rel=1e-12)
    y = sample_of(chain, proposal, 20_000, 1).response
    assert np.mean(y**2) == pytest.approx(square, abs=5 * (y**2).std() / np.sqrt(len(y)))


@pytest.mark.parametrize("control", CONTROLS)
def test_every_control_is_right_with_good_surrogates(control):
    chain = safety.GapChain()
    proposal = proposal_of(chain, Distorted(chain), Distorted(chain, 1.2))
    rate = estimate_rate(sample_of(chain, proposal, 5_000, 3), control)
    assert abs(rate.value - chain.rate) < 3 * rate.standard_error
    run = runs_of(chain, proposal, control, 600)
    check_unbiased(run, chain.rate, 50)
    check_coverage(run, chain.rate, 0.93, 50)


def test_an_exact_surrogate_leaves_the_value_control_nothing():
    chain = safety.GapChain()
    rate = estimate_rate(sample_of(chain, proposal_of(chain), 1_000, 1), "value")
    assert rate.standard_error < 1e-10 * rate.value
    assert abs(rate.value - chain.rate) < 3 * rate.standard_error + 1e-14 * chain.rate


def test_strata_of_sampled_critical_steps_are_biased_and_the_default_is_not():
    chain = safety.GapChain(brake=0.03)
    proposal = proposal_of(chain, threshold=1e-4)
    ratios = {"auto": [], "papers": []}
    for seed in range(30):
        sample = sample_of(chain, proposal, 1_000, seed)
        naive = estimate_rate(sample, "stratified", strata="critical steps")
        ratios["papers"].append(naive.value / chain.rate)
        ratios["auto"].append(estimate_rate(sample).value / chain.rate)
        assert naive.flagged("biased")
    assert np.mean(ratios["papers"]) > 1.2
    error = np.std(ratios["auto"]) / np.sqrt(30)
    assert abs(np.mean(ratios["auto"]) - 1) < 4 * error + 1e-9


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [40, 400])
def test_auto_is_never_worse_than_raw(power, n):
    chain = safety.GapChain()
    proposal = proposal_of(chain, Distorted(chain, power))
    for seed in range(10):
        sample = sample_of(chain, proposal, n, seed)
        assert estimate_rate(sample).variance_reduction > 1 / 1.05
    errors = {
        control: np.mean([(run(seed).value - chain.rate) ** 2 for seed in range(40)])
        for control in ("none", "auto")
        for run in [runs_of(chain, proposal, control, n)]
    }
    # Ratios of squared errors from 40 paired runs scatter by a third or so.
    assert errors["auto"] < 1.5 * errors["none"]


def test_a_threshold_that_hides_crashes_is_flagged():
    chain = safety.GapChain()
    quiet = proposal_of(chain, threshold=1e-3)
    rate = estimate_rate(sample_of(chain, quiet, 2_000, 1))
    assert rate.flagged("threshold")
    assert not estimate_rate(sample_of(chain, proposal_of(chain), 2_000, 1)).flagged("threshold")
    campaign = safety.Campaign(chain, quiet, seed=1)
    campaign.run(max_scenarios=500, progress=False)
    lower = campaign.check_threshold(500, factor=0.0)
    assert lower.value == pytest.approx(chain.rate, rel=0.2)


def test_an_optimistic_surrogate_is_bounded_by_the_defensive_share_and_flagged():
    chain = safety.GapChain(brake=0.2)
    proposal = proposal_of(chain, Distorted(chain, 1.0, deaf=6), epsilon=0.01)
    sample = sample_of(chain, proposal, 4_000, 2)
    assert sample.weight.max() <= 10.0
    rate = estimate_rate(sample)
    low, high = rate.confidence_interval(0.999)
    assert rate.flagged("heavy-tail") or low < chain.rate < high


def test_the_same_surrogate_twice_changes_nothing():
    chain = safety.GapChain()
    twice = proposal_of(chain, Distorted(chain), Distorted(chain))
    sample = sample_of(chain, twice, 1_000, 1)
    once = sample_of(chain, proposal_of(chain, Distorted(chain)), 1_000, 1)
    for control in CONTROLS:
        one, two = estimate_rate(once, control), estimate_rate(sample, control)
        assert np.isfinite(two.value)
        assert two.standard_error < 1.3 * one.standard_error
        assert abs(two.value - chain.rate) < 5 * two.standard_error


def test_ratio_controls_of_a_mixture_sum_to_zero():
    chain = safety.GapChain()
    proposal = proposal_of(chain, Distorted(chain), chain.surrogate)
    sample = sample_of(chain, proposal, 200, 1)
    np.testing.assert_allclose(sample.ratio @ proposal.shares, 0.0, atol=1e-12)
    np.testing.assert_allclose(sample.ordinal.sum(axis=2), sample.ratio[:, 1:], atol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 11, 23])
def test_tiny_samples_give_finite_answers(n):
    chain = safety.GapChain()
    sample = sample_of(chain, proposal_of(chain, Distorted(chain)), n, 1)
    for control in CONTROLS:
        rate = estimate_rate(sample, control)
        low, high = rate.confidence_interval(0.9)
        assert 0 <= low <= high <= 1


def test_no_crash_at_all():
    chain = safety.GapChain(brake=1e-4)
    crude = safety.Campaign(chain, safety.AdversarialProposal(chain.actions), seed=1)
    rate = crude.run(max_scenarios=300, progress=False)
    assert (rate.value, rate.relative_half_width) == (0.0, np.inf)
    assert rate.confidence_interval(0.95).high == pytest.approx(3 / 300, rel=0.01)
    assert "3/n" in rate.flags[-1]
    blind = proposal_of(chain, lambda state, a: np.zeros(np.shape(a)))
    rate = safety.Campaign(chain, blind, seed=1).run(max_scenarios=300, progress=False)
    assert rate.flagged("silent-surrogate")
    assert rate.confidence_interval(0.95).high > 3 / 300


def test_weights_that_do_not_belong_to_the_actions_are_flagged():
    chain = safety.GapChain()
    proposal = proposal_of(chain)
    batch = safety.Batch(proposal, 1, range(2_000))
    chain(batch)
    wrong = [r._replace(taken=r.taken * np.array([1, 1.3, 1, 1, 1])) for r in batch.records()]
    assert estimate_rate(weigh(wrong, proposal.shares, 0.0)).flagged("weights")


@pytest.mark.parametrize("threshold", [0.0, 1e-4])
def test_weights_and_controls_match_their_definitions(threshold):
    chain = safety.GapChain()
    proposal = proposal_of(chain, Distorted(chain), chain.surrogate, threshold=threshold)
    batch = safety.Batch(proposal, 5, range(60))
    chain(batch)
    records = batch.records()
    sample = weigh(records, proposal.shares, threshold)
    for i, record in enumerate(records):
        weight, ratio, ordinal, value, missed, k = naive_safety.accumulate(
            record.taken, proposal.shares, threshold, sample.ordinal.shape[2]
        )
        assert sample.weight[i] == pytest.approx(weight, rel=1e-12)
        assert sample.critical_steps[i] == k
        np.testing.assert_allclose(sample.ratio[i], ratio, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(sample.ordinal[i], ordinal, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(sample.value[i], value, rtol=1e-9, atol=1e-18)
        np.testing.assert_allclose(sample.missed[i], missed, rtol=1e-9, atol=1e-25)


def test_kernels_do_the_same_uncompiled():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(5), 8)
    challenge = rng.random((8, 2, 5)) ** 4
    epsilon, component = np.full(8, 0.3), rng.integers(0, 3, 8)
    results = []
    for function in (adversary.choose, adversary.choose.py_func):
        action, taken = np.full(8, -1), np.empty((8, 9))
        u = np.random.default_rng(2).random(8)
        code = function(p, challenge, epsilon, component, u, 0.0, action, taken)[0]
        results.append((code, action, taken))
    np.testing.assert_array_equal(results[0][1], results[1][1])
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=1e-14)
    start, shares = np.array([0, 3, 3, 8]), np.array([0.1, 0.4, 0.5])
    outputs = []
    for function in (adversary.accumulate, adversary.accumulate.py_func):
        out = (
            *(np.empty(shape) for shape in (3, (3, 3), (3, 2, 4), (3, 2), (3, 2))),
            np.empty(3, dtype=np.int64),
        )
        function(start, results[0][2], shares, 0.0, *out)
        outputs.append(out)
    for compiled, plain in zip(*outputs, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-12, atol=1e-15)


def test_actions_are_sampled_as_the_proposal_says():
    chain = safety.GapChain()
    proposal = proposal_of(chain, epsilon=0.2, defensive=0.25)
    states = np.tile([4.0, 3.0], (40_000, 1))
    rng = np.random.default_rng(3)
    component = rng.integers(0, 2, len(states))
    action, taken = proposal.decide(states, component, rng.random(len(states)))
    p, q = chain.actions([4, 3]), np.asarray(chain.surrogate([4, 3], np.arange(4)))
    for which, expected in ((0, p), (1, 0.2 * p + 0.8 * p * q / (p @ q))):
        own = action[component == which]
        found = np.bincount(own, minlength=4) / len(own)
        error = np.sqrt(expected * (1 - expected) / len(own))
        assert (np.abs(found - expected) < 5 * error + 1e-12).all()
    assert taken[:, 1].max() == pytest.approx((0.2 * p + 0.8 * p * q / (p @ q))[action].max())


def test_intervals_of_crude_runs():
    assert safety.clopper_pearson(3, 1000, 0.9) == pytest.approx((0.000818, 0.007732), abs=1e-5)
    assert safety.clopper_pearson(10, 10, 0.9).high == 1.0
    low, high = safety.wilson(0, 100, 0.95)
    assert (low, round(high, 4)) == (0.0, 0.037)
    with pytest.raises(ValueError, match="5 crashes in 3"):
        safety.clopper_pearson(5, 3)
    with pytest.raises(ValueError, match="strictly between"):
        safety.wilson(1, 3, 1.5)


def test_stopping_looks_at_doubling_numbers_and_distrusts_tails():
    stop = safety.RelativeHalfWidth(0.3)
    looks = [n for n in range(1, 2000) if stop.is_look(n)]
    assert looks == [200, 400, 800, 1600]
    rate = safety.CrashRate(value=1.0, standard_error=0.01, scenarios=500, used=500, crashes=50)
    assert stop.met(rate)
    for change in (
        {"crashes": 19},
        {"used": 199},
        {"standard_error": 0.2},
        {"flags": ("heavy-tail: x",), "standard_error": 0.1},
    ):
        assert not stop.met(replace(rate, **change))
    # A tail is forgiven where the interval is several times narrower than asked for.
    assert stop.met(replace(rate, standard_error=0.1))
    assert stop.met(replace(rate, flags=("heavy-tail: x",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixture": [0.5, 0.6]}, "sum 1"),
        ({"mixture": [1.0]}, "1 shares for 2"),
        ({"epsilon": 1.5}, "epsilon"),
        ({"epsilon": [0.1, 0.2]}, "2 phases"),
        ({"defensive": 1.0}, "defensive"),
        ({"threshold": -1.0}, "threshold"),
        ({"epsilon": 0.0, "defensive": 0.0}, "both 0"),
    ],
)
def test_proposals_refuse_nonsense(options, message):
    chain = safety.GapChain()
    with pytest.raises(ValueError, match=message):
        proposal_of(chain, chain.surrogate, chain.surrogate, **options)
