"""Reasons for doubt, each a name and a sentence of prose."""

import numpy as np

from mcvar.execution.status import printable
from mcvar.safety.rate import CrashRate
from mcvar.safety.weights import WeightedScenarios

FEW_CRASHES = 20
_DOMINANT = 0.4  # share of the sum of squares in one scenario
_HEAVY_TAIL = 0.5  # Pareto index from which on the variance is infinite
# The same for a vehicle that surrogates do not know: what they miss may not have been seen yet.
_TAIL_OF_STRANGERS = 0.1
_EXPLAINED = 1 / 3  # share of the variance at which they do know it
_SIGMAS = 5.0
_UNSEEN = 0.5  # predicted standard error from unchallenged steps over the rate


def flags_of(sample: WeightedScenarios, rate: CrashRate) -> tuple[str, ...]:
    """Return the flags that the sample and its estimate raise."""
    return tuple(
        flag
        for check in (_failures, _heavy_tail, _means, _threshold, _surrogates, _bias)
        for flag in check(sample, rate)
    ) + few_crashes(rate)


def _failures(sample: WeightedScenarios, rate: CrashRate) -> list[str]:
    if not rate.failures:
        return []
    first = sample.scenario[sample.unknown][:5].tolist()
    return [
        f"failures: {rate.failures} of {sample.n} scenarios have no outcome (first: "
        f"{', '.join(map(str, first))}); the interval runs from none of them crashing to all. The "
        f"first said: {printable(sample.error)}"
    ]


def few_crashes(rate: CrashRate) -> tuple[str, ...]:
    """Return the flag for less than 20 crashes, if it is raised."""
    if rate.crashes >= FEW_CRASHES:
        return ()
    if rate.crashes == 0 and rate.crude:
        return (
            f"few-crashes: no crash in {rate.used} scenarios; the rate is below 3/n = "
            f"{3 / rate.used:.2g} with 95 % confidence.",
        )
    if rate.crashes == 0:
        return (
            f"few-crashes: no crash in {rate.used} scenarios; the interval holds only what the "
            "greatest possible weight allows.",
        )
    return (
        f"few-crashes: {rate.crashes} crashes, fewer than {FEW_CRASHES}; the error bar is itself "
        "uncertain.",
    )


def _heavy_tail(sample: WeightedScenarios, rate: CrashRate) -> list[str]:
    if rate.crude or rate.crashes == 0:
        return []
    reasons = []
    if rate.dominance > _DOMINANT:
        reasons.append(
            f"one scenario carries {rate.largest_share:.0%} of the rate and {rate.dominance:.0%} "
            "of its variance"
        )
    known = rate.explained > _EXPLAINED
    if rate.pareto_k > (_HEAVY_TAIL if known else _TAIL_OF_STRANGERS):
        reasons.append(f"the weights of crashes have a Pareto index of {rate.pareto_k:.2f}")
        if not known:
            reasons.append(f"surrogates explain {rate.explained:.0%} of the variance")
    if not reasons:
        return []
    return [
        f"heavy-tail: {' and '.join(reasons)}: the proposal misses ways in which this vehicle "
        "crashes, and the true rate may lie above the interval. Adapt the proposal, or add a "
        "surrogate that resembles the vehicle."
    ]


def _means(sample: WeightedScenarios, rate: CrashRate) -> list[str]:
    """Test E[W] = 1 and E[C_j] = 0; both have long tails, so that only far gaps count."""
    found = []
    for name, values in [
        ("weights have mean", sample.ratio[:, :1]),
        *(
            (f"likelihood ratios of surrogate {j} have mean", sample.ratio[:, j + 1 : j + 2])
            for j in range(sample.ratio.shape[1] - 1)
        ),
    ]:
        mean = float(values.mean())
        error = float(values.std(ddof=1) / np.sqrt(sample.n))
        # A share 20/n of unseen values as large as the largest could close the gap by chance.
        unseen = 20 / sample.n * float(np.abs(values).max())
        if abs(mean) > max(_SIGMAS * error, unseen) + 1e-9:
            found.append(
                f"weights: {name} {1 + mean:.4g}, {abs(mean) / max(error, 1e-300):.1f} standard "
                "errors from 1: probabilities in the log do not belong to the actions taken."
            )
    return found


def _threshold(sample: WeightedScenarios, rate: CrashRate) -> list[str]:
    if sample.threshold == 0 or not sample.missed.size:
        return []
    errors = np.sqrt(sample.missed.mean(axis=0) / sample.n)
    allowed = max(2 * rate.standard_error, _UNSEEN * rate.value)
    predicted = sample.criticality.mean(axis=0)
    if errors.max() <= allowed and (errors <= _UNSEEN * predicted).all():
        return []
    error = float(errors.max())
    return [
        f"threshold: steps of criticality below {sample.threshold:.3g} are not challenged, and "
        f"surrogates predict a standard error of {error:.2g} from them, which the sample does not "
        "show: the rate may be far too low. Use threshold=0."
    ]


def _surrogates(sample: WeightedScenarios, rate: CrashRate) -> list[str]:
    found = []
    for j in range(sample.value.shape[1]):
        if sample.greatest_criticality[:, j].max(initial=0.0) <= sample.threshold:
            found.append(
                f"silent-surrogate: surrogate {j} never exceeded the threshold in {sample.n} "
                "scenarios; its share of the mixture is wasted."
            )
    if len(sample.shares) > 1 and sample.shares[0] == 0:
        found.append(
            "not-defensive: no scenario is left to naturalistic behaviour, so that weights have "
            "no bound; use defensive=0.1."
        )
    return found


def _bias(sample: WeightedScenarios, rate: CrashRate) -> list[str]:
    if "biased" not in rate.control:
        return []
    return [
        "biased: coefficients per number of critical steps assume that controls have mean zero "
        "given that number, which depends on the sampled actions; use control='ordinal' or the "
        "strata of the first state."
    ]
