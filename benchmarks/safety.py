"""Tests that crash rates in the overtaking scenario need, coverage of intervals, and speed.

    python -m benchmarks.safety [--quick] [--crude | --adapted SECONDS]

Tests: scenarios for a relative half-width of 0.3 at 90 %, (1.645/0.3)² times the relative variance
of one scenario, from large samples; for adapted campaigns the median over campaigns, pilot
included. --adapted measures the coverage of campaigns as they come: a pilot, the driver identified
from it, and 200 scenarios more; as many campaigns as the seconds allow. --crude counts crashes in
1e8 naturalistic scenarios of each driver, for an hour.
"""

import argparse
import dataclasses
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.record import Claim, interleaved, show
from mcvar import safety
from mcvar.safety.estimation import estimate_rate
from mcvar.safety.overtaking import (
    DRIVERS,
    Overtaking,
    crude_run,
    overtaking_campaign,
    overtaking_proposal,
)
from mcvar.safety.overtaking.study import PILOT
from mcvar.safety.weights import WeightedScenarios, weigh

TARGET = 0.3
# Crude rates (--crude, seed 5): 732 and 5233 crashes in 1e8 scenarios, 107 in 4e7.
CRUDE = {"attentive": 732 / 1e8, "brisk": 107 / 4e7, "sluggish": 5233 / 1e8}


def sample_of(driver: str, proposal, n: int, seed: int) -> WeightedScenarios:
    simulator, parts = Overtaking(driver), []
    for first in range(0, n, 5_000):
        batch = safety.Batch(proposal, seed, range(first, min(first + 5_000, n)))
        simulator(batch)
        parts.append(weigh(batch.records(), proposal.shares, proposal.threshold))
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


def tests(rate: safety.CrashRate) -> float:
    return rate.used * (rate.relative_half_width / TARGET) ** 2


def tests_needed(quick: bool) -> Iterator[Claim]:
    """Tests for a relative half-width of 0.3 at 90 %, and how many times fewer than others take."""
    n = 2_000 if quick else 100_000
    one = overtaking_proposal(["usual"], 0.1, defensive=0.0)
    mixture = overtaking_proposal()
    for driver in list(DRIVERS)[: 1 if quick else None]:
        crude = 30.07 / CRUDE[driver]
        single = tests(estimate_rate(sample_of(driver, one, n, 1), "none"))
        yield _needed(driver, "naturalistic", crude)
        yield _needed(driver, "one surrogate", single)
        start = time.process_time()
        sample = sample_of(driver, mixture, n, 2)
        weighted = (time.process_time() - start) / n
        for control in ("none", "global", "ordinal", "value"):
            name = "mixture" if control == "none" else f"+ {control}"
            yield _needed(driver, name, tests(estimate_rate(sample, control)))
        adapted = []
        for seed in range(1 if quick else 8):
            campaign = overtaking_campaign(driver, seed=seed)
            rate = campaign.run(max_scenarios=1_000 + PILOT, progress=False)
            adapted.append(PILOT + tests(rate))
        found = np.array(adapted)
        yield _needed(driver, "adapted, pilot included", float(np.median(found)),
                      low=float(found.min()), high=float(found.max()), repeats=len(found),
                      spread="range of campaigns")  # fmt: skip
        start = time.process_time()
        crude_run(driver, 200_000, 1, threads=1)
        slower = (time.process_time() - start) / 200_000 / weighted
        for name, needed in (("one surrogate", single), ("crude Monte Carlo", crude)):
            ratios = needed / found
            common = {"low": float(ratios.min()), "high": float(ratios.max()), "par": 1.0,
                      "repeats": len(found), "spread": "range of campaigns"}  # fmt: skip
            yield Claim("safety_ratio", driver, f"tests, {name} / adapted",
                        float(np.median(ratios)), **common)  # fmt: skip
            if name != "one surrogate":  # which takes as long a scenario
                common |= {key: common[key] * slower for key in ("low", "high")}
                yield Claim("safety_ratio", driver, f"tests x time, {name} / adapted",
                            float(np.median(ratios)) * slower, **common)  # fmt: skip


def _needed(driver: str, column: str, value: float, **spread) -> Claim:
    return Claim("safety_tests", driver, column, float(value), unit="scenarios", **spread)


def rows_of(sample: WeightedScenarios, first: int, n: int) -> WeightedScenarios:
    fields = {
        field.name: getattr(sample, field.name)[first : first + n]
        for field in dataclasses.fields(sample)
        if field.name not in ("shares", "threshold", "error")
    }
    return dataclasses.replace(sample, **fields)


def coverage(quick: bool) -> Iterator[Claim]:
    """Coverage of 90 % intervals at n = 1000, without adaptation."""
    repeats, n = (10 if quick else 400), 1_000
    for driver in list(DRIVERS)[: 1 if quick else None]:
        sample = sample_of(driver, overtaking_proposal(), n * repeats, 3)
        truth = estimate_rate(sample).value
        if driver == "sluggish":  # for which the proposal cannot be trusted
            truth = CRUDE[driver]
        covered, flagged, silent, gains = [], [], [], []
        for i in range(repeats):
            rate = estimate_rate(rows_of(sample, i * n, n))
            low, high = rate.confidence_interval(0.90)
            covered.append(low <= truth <= high)
            flagged.append(rate.flagged("heavy-tail"))
            silent.append(not covered[-1] and not flagged[-1])
            gains.append(rate.variance_reduction)
        columns = {"covered": covered, "flagged": flagged, "missed without a flag": silent}
        for column, found in columns.items():
            yield Claim("safety_coverage", driver, column, float(np.mean(found)), repeats=repeats,
                        unit="share")  # fmt: skip
        yield Claim("safety_coverage", driver, "raw over controlled variance",
                    float(np.median(gains)), repeats=repeats, par=1.0)  # fmt: skip


def adapted_coverage(driver: str, seconds: float) -> None:
    """Coverage of the intervals of default campaigns, whose every proposal is its own."""
    truth = estimate_rate(sample_of(driver, overtaking_proposal(), 100_000, 4))
    covered, flagged, ratios, errors = [], [], [], []
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        campaign = overtaking_campaign(driver, seed=1_000 + len(covered))
        rate = campaign.run(max_scenarios=200 + PILOT, progress=False)
        intervals = [rate.confidence_interval(level) for level in (0.90, 0.95)]
        covered.append([low <= truth.value <= high for low, high in intervals])
        flagged.append(bool(rate.flags))
        ratios.append(rate.value / truth.value)
        errors.append(rate.standard_error / truth.value)
    n, inside = len(covered), np.mean(covered, axis=0)
    silent = [1 - np.mean([c[j] or f for c, f in zip(covered, flagged, strict=True)])
              for j in (0, 1)]  # fmt: skip
    print(f"\n{driver}: {n} adapted campaigns of {PILOT} + 200 scenarios; the rate is "
          f"{truth.value:.4g} within {truth.standard_error / truth.value:.1%}")  # fmt: skip
    print("covered at 90 % | at 95 % | missed without a flag at 90 % | at 95 % | flagged | mean of "
          "estimate over truth | median standard error | spread of estimates")  # fmt: skip
    cells = [*inside, *silent, np.mean(flagged), np.mean(ratios), np.median(errors)]
    print(*(f"{cell:.3f}" for cell in [*cells, np.std(ratios)]), sep=" | ", flush=True)


def speed(quick: bool) -> Iterator[Claim]:
    """Scenarios per second of one core."""
    crude_run("attentive", 1_000, threads=1)
    proposal = overtaking_proposal()
    sample_of("attentive", proposal, 100, 1)
    n = 1_000 if quick else 10_000
    seconds = np.array([
        interleaved(
            1,
            lambda seed=seed: crude_run("attentive", 50 * n, seed, threads=1),
            lambda seed=seed: estimate_rate(sample_of("attentive", proposal, n, seed)),
        )[0]
        for seed in range(5)
    ])  # fmt: skip
    for k, (name, count) in enumerate((("naturalistic", 50 * n), ("weighted, estimated", n))):
        rates = count / seconds[:, k]
        yield Claim("safety_speed", name, "scenarios a second of one core", float(np.median(rates)),
                    float(rates.min()), float(rates.max()), "range of rounds", 5, unit="a second",
                    )  # fmt: skip


def claims(quick: bool) -> Iterator[Claim]:
    yield from speed(quick)
    yield from tests_needed(quick)
    yield from coverage(quick)


def crude_check() -> None:
    for driver in DRIVERS:
        rate = crude_run(driver, 100_000_000, 5)
        print(driver, rate.crashes, *rate.confidence_interval(0.90), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--crude", action="store_true")
    parser.add_argument("--adapted", type=float, metavar="SECONDS")
    options = parser.parse_args()
    if options.crude:
        crude_check()
    elif options.adapted is not None:
        for driver in ("attentive", "brisk"):
            adapted_coverage(driver, options.adapted / 2)
    else:
        show(claims(options.quick))
