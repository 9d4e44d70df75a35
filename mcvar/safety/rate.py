"""CrashRate: the answer, frozen."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import special

from mcvar.result import ConfidenceInterval, concise
from mcvar.safety.crude import clopper_pearson
from mcvar.safety.interval import skewed_interval


class Stratum(NamedTuple):
    """Scenarios with the same number of critical steps, or the same predictable stratum.

    Attributes
    ----------
    label : str
    scenarios, crashes : int
    mean_weight : float
    rate : float
        What the stratum contributes to the crash rate (raw, without controls).

    Examples
    --------
    >>> from mcvar.safety import Stratum
    >>> stratum = Stratum("2 critical steps", scenarios=40, crashes=3, mean_weight=0.9, rate=1e-6)
    >>> stratum.crashes / stratum.scenarios
    0.075
    """

    label: str
    scenarios: int
    crashes: int
    mean_weight: float
    rate: float


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class CrashRate:
    """A crash rate per scenario, with an interval.

    Attributes
    ----------
    value : float
        The estimate; failed scenarios count as no crash in it, and as both in the interval.
    standard_error : float
    scenarios : int
        Scenarios simulated, those spent on adapting the proposal included.
    used : int
        Scenarios the estimate averages.
    crashes : int
        Crashes among those used.
    failures : int
        Scenarios whose outcome is unknown: the interval runs from none of them crashing to all.
    confidence : float
        Level of `relative_half_width`.
    variance_reduction : float
        Variance of the same weighted scenarios without controls over that of this estimate.
    naturalistic_equivalent : float
        Naturalistic scenarios that crude Monte Carlo needs for the same standard error.
    control : str
    strata : tuple of Stratum
    flags : tuple of str
        Reasons for doubt, each "name: prose".
    largest_share : float
        Share of the rate that rests on the most influential scenario.
    ess : float
        Effective sample size (Σ Y)² / Σ Y² of the weighted crashes.
    pareto_k : float
        Tail index of the weights of crashes: beyond 1/2 their variance does not exist.
    dominance : float
        Share of the sum of squares Σ Y² in one scenario.
    explained : float
        Share of the variance that value controls take away: how well the surrogates know the
        vehicle.
    crude : bool
        Whether scenarios were naturalistic.
    greatest_weight : float
        Bound of a weight, 1/α₀.
    skewness : float
        Skewness over √n of what is averaged.
    upper_value, upper_standard_error, upper_skewness : float
        The same with all failures counted as crashes.

    Examples
    --------
    >>> rate = CrashRate(value=2e-6, standard_error=2e-7, scenarios=300, used=300, crashes=80)
    >>> round(rate.relative_half_width, 3)
    0.164
    """

    value: float
    standard_error: float
    scenarios: int
    used: int
    crashes: int
    failures: int = 0
    confidence: float = 0.90
    variance_reduction: float = 1.0
    naturalistic_equivalent: float = np.nan
    control: str = "none"
    strata: tuple[Stratum, ...] = ()
    flags: tuple[str, ...] = ()
    largest_share: float = np.nan
    ess: float = np.nan
    pareto_k: float = np.nan
    dominance: float = np.nan
    explained: float = np.nan
    crude: bool = False
    greatest_weight: float = 1.0
    skewness: float = 0.0
    upper_value: float = np.nan
    upper_standard_error: float = np.nan
    upper_skewness: float = 0.0

    def confidence_interval(self, level: float = 0.90) -> ConfidenceInterval[float]:
        """Return a two-sided interval, within [0, 1].

        Crude runs: Clopper and Pearson's, which never covers less than `level`. Weighted runs:
        Hall's, for skewed values; where no crash was seen, the limit that the greatest possible
        weight allows.
        Failures widen it: at the lower limit none of them crashed, at the upper limit all did.
        """
        if self.crude:
            low = clopper_pearson(self.crashes, self.used, level).low
            return ConfidenceInterval(
                low, clopper_pearson(self.crashes + self.failures, self.used, level).high
            )
        if self.crashes == 0:
            most = clopper_pearson(self.failures, self.used, level).high
            return ConfidenceInterval(0.0, min(most * self.greatest_weight, 1.0))
        df = max(self.used - 1, 1)
        low, high = skewed_interval(self.value, self.standard_error, self.skewness, df, level)
        if self.failures:
            high = skewed_interval(
                self.upper_value, self.upper_standard_error, self.upper_skewness, df, level
            ).high
            high = 1.0 if np.isnan(high) else high
        return ConfidenceInterval(max(low, 0.0), min(high, 1.0))

    @property
    def status(self) -> Literal["completed", "suspect"]:
        """ "suspect" where there are flags."""
        return "suspect" if self.flags else "completed"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The flags."""
        return self.flags

    @property
    def relative_half_width(self) -> float:
        """Half the width of the interval over the value, at `confidence`; infinite at zero.

        z s / (√n μ̂), the measure of Yang et al. (2022), widened by failures.
        """
        if self.value <= 0:
            return np.inf
        z = float(special.ndtri(0.5 + self.confidence / 2))
        spread = z * self.standard_error
        if self.failures:
            above = self.upper_value + z * self.upper_standard_error
            spread = (above - self.value + spread) / 2
        return float(spread / self.value)

    def summary(self) -> dict[str, Any]:
        """Return the answer as numbers and lists for JSON; NaN and infinity are None."""
        low, high = self.confidence_interval(self.confidence)
        numbers = {
            "rate": self.value,
            "low": low,
            "high": high,
            "confidence": self.confidence,
            "relative_half_width": self.relative_half_width,
            "scenarios": self.scenarios,
            "crashes": self.crashes,
            "variance_reduction": self.variance_reduction,
            "naturalistic_equivalent": self.naturalistic_equivalent,
        }
        finite = {name: x if np.isfinite(x) else None for name, x in numbers.items()}
        return finite | {"flags": list(self.flags)}

    def flagged(self, name: str) -> bool:
        """Whether the flag `name` is raised."""
        return any(flag.startswith(f"{name}:") for flag in self.flags)

    def __repr__(self) -> str:
        low, high = self.confidence_interval(self.confidence)
        lines = [
            f"CrashRate({concise(self.value, self.standard_error)} per scenario, "
            f"{self.confidence:.0%} interval {low:.3g} to {high:.3g}, {self.scenarios} scenarios "
            f"worth {self.naturalistic_equivalent:.3g} naturalistic ones)"
        ]
        return "\n".join(lines + [f"  {flag}" for flag in self.flags])
