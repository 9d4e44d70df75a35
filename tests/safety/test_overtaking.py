"""The overtaking scenario: its behaviour model, its surrogates, and drivers of one's own."""

import json
import math
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from mcvar import safety
from mcvar._jit import overtaking as kernel
from mcvar.safety.estimation import estimate_rate
from mcvar.safety.overtaking import (
    DRIVERS,
    NaturalisticBehaviour,
    Overtaking,
    crude_run,
    identify_driver,
    load_driver,
    overtaking_campaign,
)
from mcvar.safety.overtaking.drivers import compiled_where_possible
from mcvar.safety.overtaking.identify import samples_of
from mcvar.safety.weights import weigh

ROOT = Path(__file__).resolve().parents[2]
EVALUATE = ROOT / "examples" / "vehicle_safety" / "evaluate.py"

# Crashes in 1e8 naturalistic scenarios, benchmarks/README.md.
CRUDE = {"attentive": 732, "sluggish": 5233}


def states_on_the_way(seed, n=50):
    batch = safety.Batch(safety.AdversarialProposal(NaturalisticBehaviour()), seed, range(n))
    Overtaking(DRIVERS["sluggish"])(batch)
    return np.concatenate([record.states[:-1] for record in batch.records()]), batch.records()


def test_probabilities_are_those_that_are_sampled():
    states, _ = states_on_the_way(1, 20)
    p = NaturalisticBehaviour().batch(states)
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-12)
    rng = np.random.default_rng(2)
    for i in (0, 5, 40):
        u = rng.random((20_000, 3))
        drawn = np.bincount([kernel.sample_action(states[i], *row) for row in u], minlength=32)
        expected = p[i] * len(u)
        big = expected > 5
        chi2 = ((drawn - expected)[big] ** 2 / expected[big]).sum()
        assert chi2 < big.sum() + 6 * np.sqrt(2 * big.sum())


def test_kernels_do_the_same_uncompiled():
    states, _ = states_on_the_way(3, 10)
    compiled, plain = np.empty((2, len(states), kernel.N_ACTIONS))
    kernel.probabilities(states, compiled)
    kernel.probabilities.py_func(states, plain)
    np.testing.assert_allclose(compiled, plain, rtol=1e-12)
    one, two = states[:40].copy(), states[:40].copy()
    for a, b in zip(one, two, strict=True):
        assert kernel.advance(a, -2.0, -3.0) == kernel.advance.py_func(b, -2.0, -3.0)
        assert kernel.ended(a) == kernel.ended.py_func(b)
    np.testing.assert_array_equal(one, two)


def test_python_drivers_run_as_compiled_ones():
    def plain(speed, gap, closing_speed, memory=[0]):  # noqa: B006 — keeps it from compiling
        return DRIVERS["brisk"].py_func(speed, gap, closing_speed)

    slow, fast = Overtaking(plain), Overtaking(DRIVERS["brisk"])
    assert not slow.is_compiled
    records = []
    for simulator in (slow, fast):
        batch = safety.Batch(safety.AdversarialProposal(NaturalisticBehaviour()), 4, range(30))
        simulator(batch)
        records.append(batch.records())
    for a, b in zip(*records, strict=True):
        np.testing.assert_allclose(a.states, b.states, rtol=1e-9, atol=1e-9)


def test_only_what_stays_the_same_is_compiled():
    headway = 1.3

    def pure(speed, gap, closing_speed):
        return min(0.2 * (gap - headway * speed), 1.0) - math.fabs(closing_speed)

    calls = []

    def counting(speed, gap, closing_speed):
        calls.append(speed)
        return 0.0

    assert hasattr(compiled_where_possible(pure), "py_func")
    assert compiled_where_possible(counting) is counting


def test_surrogates_know_the_rate_of_their_driver(proposal):
    """The table of the driver `attentive` is the surrogate "usual"."""
    simulator = Overtaking("attentive")
    first = simulator.initial_states(np.random.default_rng(1), 5_000)
    predicted = proposal.criticality(first)[:, 0].mean()
    assert predicted == pytest.approx(CRUDE["attentive"] / 1e8, rel=0.5)


@pytest.mark.parametrize("name", ["attentive", "sluggish"])
def test_rates_agree_with_a_hundred_million_naturalistic_scenarios(name):
    campaign = overtaking_campaign(name, seed=5)
    rate = campaign.run(safety.RelativeHalfWidth(0.05), 3_000, progress=False)
    crude = CRUDE[name] / 1e8
    error = np.hypot(rate.standard_error, np.sqrt(crude / 1e8))
    assert abs(rate.value - crude) < 4 * error
    assert rate.naturalistic_equivalent > 1e7
    assert not rate.flagged("heavy-tail")


def test_near_drivers_need_few_tests(proposal):
    """At most 40 tests for a relative half-width of 0.3, and four times less variance."""
    batch = safety.Batch(proposal, 11, range(4_000))
    Overtaking("attentive")(batch)
    sample = weigh(batch.records(), proposal.shares, 0.0)
    rate = estimate_rate(sample, "value")
    assert rate.used * (rate.relative_half_width / 0.3) ** 2 < 40
    assert rate.variance_reduction > 4


def test_far_drivers_are_flagged_without_adaptation(proposal):
    crude, flagged, silent_misses = CRUDE["sluggish"] / 1e8, 0, 0
    for seed in range(12):
        batch = safety.Batch(proposal, seed, range(1_000))
        Overtaking("sluggish")(batch)
        rate = estimate_rate(weigh(batch.records(), proposal.shares, 0.0))
        low, high = rate.confidence_interval(0.9)
        flagged += rate.flagged("heavy-tail")
        silent_misses += not (low <= crude <= high or rate.flagged("heavy-tail"))
    # Of 60 seeds all were flagged, 19 of which missed.
    assert flagged >= 10
    assert silent_misses <= 1


def test_the_log_tells_what_the_driver_did(proposal):
    batch = safety.Batch(proposal, 6, range(60))
    Overtaking("sluggish")(batch)
    records = batch.records()
    samples = samples_of(records)
    driver = DRIVERS["sluggish"].py_func
    rows = zip(samples.speed, samples.gap, samples.closing, strict=True)
    expected = np.clip([driver(*row) for row in rows], kernel.HARDEST, kernel.STRONGEST)
    np.testing.assert_allclose(samples.acceleration, expected, atol=1e-9)
    (table,) = identify_driver(records)
    known = np.array([12.0, 25.0, 20.0, 100.0, 0.0, 1.0, 3.0])
    assert kernel.respond(known, table.following.ravel(), table.free) == pytest.approx(
        driver(25.0, 12.0, 5.0), abs=0.3
    )
    assert identify_driver(records[:3]) == []


def test_crude_runs_count_the_same_on_any_number_of_threads():
    one = crude_run("sluggish", 1_200_000, seed=3, threads=1)
    two = crude_run("sluggish", 1_200_000, seed=3, threads=2)
    assert one.crashes == two.crashes
    low, high = one.confidence_interval(0.9999)
    assert low < CRUDE["sluggish"] / 1e8 < high


def test_drivers_that_go_wrong():
    def nan(speed, gap, closing_speed):
        return math.nan if gap < 10 else 0.0

    campaign = overtaking_campaign(nan, adapt=False)
    rate = campaign.run(max_scenarios=60, progress=False)
    assert rate.failures > 0
    with pytest.raises(ValueError, match="the driver returned nan or infinity at speed="):
        crude_run(nan, 10_000)

    def raises(speed, gap, closing_speed):
        raise RuntimeError("no idea")

    with pytest.raises(RuntimeError, match="no idea"):
        crude_run(raises, 10)
    rate = overtaking_campaign(raises).run(max_scenarios=5_000, progress=False)
    assert rate.failures == rate.scenarios == 100  # and then it gives up
    assert rate.confidence_interval(0.9) == (0.0, 1.0)
    assert "The first said: RuntimeError: no idea" in rate.flags[0]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.py:f", "no file 'nowhere.py'"),
        ("something", "expected path/to/file.py:function or one of"),
        (f"{EVALUATE.parent / 'drivers.py'}:missing", "has no function 'missing'"),
    ],
)
def test_drivers_that_cannot_be_loaded(path, message):
    with pytest.raises(ValueError, match=message):
        load_driver(path)


KEYS = [
    "rate", "low", "high", "confidence", "relative_half_width", "scenarios", "crashes",
    "variance_reduction", "naturalistic_equivalent", "flags",
]  # fmt: skip


@pytest.fixture
def evaluate(monkeypatch, capsys):
    """Run the example as from the shell, in this process, where tables are solved already."""

    def run(*arguments, fails=False):
        monkeypatch.setattr(sys, "argv", [str(EVALUATE), *arguments])
        with pytest.raises(SystemExit) as exit_:
            runpy.run_path(str(EVALUATE), run_name="__main__")
        said = capsys.readouterr()
        assert (exit_.value.code != 0) == fails, said.err
        return said.err if fails else json.loads(said.out)

    return run


def test_evaluate_a_driver_of_ones_own(tmp_path, evaluate):
    store = tmp_path / "run.sqlite"
    driver = f"{EVALUATE.parent / 'drivers.py'}:cautious"
    options = ("--driver", driver, "--store", str(store), "--seed", "3", "--json")
    first = evaluate(*options, "--max-scenarios", "150")
    again = evaluate(*options)
    assert list(first) == list(again) == KEYS
    assert first["scenarios"] == 150
    assert again["relative_half_width"] <= 0.3
    assert again["low"] < again["rate"] < again["high"]
    assert again == safety.estimate(store).summary()
    crude = evaluate("--driver", driver, "--crude", "20000", "--json")
    assert list(crude) == KEYS
    assert (crude["scenarios"], crude["crashes"], crude["relative_half_width"]) == (20000, 0, None)
    assert "no file" in evaluate("--driver", "nowhere.py:f", fails=True)
