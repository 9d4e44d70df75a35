"""Estimates from a log alone: no simulator, no surrogates, only what was written down."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mcvar._typing import FloatArray
from mcvar.safety.controls import InitialCriticality
from mcvar.safety.estimation import estimate_rate
from mcvar.safety.log import Log, LogError, LoggedProposal
from mcvar.safety.rate import CrashRate
from mcvar.safety.weights import WeightedScenarios, joined, weigh_steps

_FORMER = (
    "former-log: this log is of version 0.1.0, where only scenarios have checksums; damage to its "
    "proposals goes unnoticed."
)
_ENOUGH = 50  # scenarios of the last proposal at which it has taken over
_AT_ONCE = 5_000


def estimate(
    store: str | Path, control: str = "auto", *, confidence: float = 0.90, strata: str = "first"
) -> CrashRate:
    """Estimate the crash rate from a campaign's log.

    Parameters
    ----------
    store : str or Path
        The log.
    control : {"none", "global", "stratified", "ordinal", "value", "auto"}
    confidence : float
        Level of the relative half-width.
    strata : {"first", "critical steps"}
        Of the control "stratified": by the first state, or by the number of critical steps, which
        is how the papers may be read and is biased; a flag says so.

    Returns
    -------
    CrashRate

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from mcvar import safety
    >>> chain = safety.GapChain()
    >>> proposal = safety.AdversarialProposal(chain.actions, [chain.surrogate], epsilon=0.5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = pathlib.Path(folder) / "campaign.sqlite"
    ...     campaign = safety.Campaign(chain, proposal, store=store, seed=1)
    ...     ran = campaign.run(max_scenarios=500, progress=False)
    ...     campaign.close()
    ...     again = safety.estimate(store)
    >>> ran.value == again.value, abs(again.value / chain.rate - 1) < 1e-9
    (True, True)
    """
    log = Log(store, create=False)
    try:
        return LoggedScenarios(log).estimate(control, confidence=confidence, strata=strata)
    finally:
        log.close()


class LoggedScenarios:
    """The weighted scenarios of a log, read once and added to as it grows."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._samples: dict[int, WeightedScenarios] = {}
        self._read = 0

    def refresh(self) -> list[LoggedProposal]:
        """Read what is new; return the proposals that have scenarios."""
        proposals, n = self._log.proposals(), self._log.count()
        ends = [*(proposal.first for proposal in proposals[1:]), n]
        for proposal, last in zip(proposals, ends, strict=False):
            parts = []
            while self._read < min(last, n):
                end = min(self._read + _AT_ONCE, last, n)
                description = proposal.description
                parts.append(
                    weigh_steps(
                        self._log.steps(self._read, end, proposal),
                        np.asarray(description["shares"], dtype=float),
                        float(description["threshold"]),
                    )
                )
                self._read = end
            if parts:
                known = self._samples.get(proposal.number)
                self._samples[proposal.number] = joined([*([known] if known else []), *parts])
        return [proposal for proposal in proposals if proposal.number in self._samples]

    def weights(self) -> FloatArray:
        """Return the weights of all scenarios read, in their order."""
        return np.concatenate([np.empty(0), *(s.weight for s in self._samples.values())])

    def sample(self) -> tuple[WeightedScenarios, LoggedProposal]:
        """Return the scenarios that estimates use: those of the last proposal.

        One that has hardly begun has not taken over yet. That depends on numbers of scenarios
        alone, not on what happened in them.
        """
        proposals = self.refresh()
        if not proposals:
            raise LogError(f"{self._log} holds no scenario yet; run its campaign first.")
        started = [p for p in proposals if self._samples[p.number].n >= _ENOUGH]
        largest = max(proposals, key=lambda p: self._samples[p.number].n)
        chosen = started[-1] if started else largest
        return self._samples[chosen.number], chosen

    def estimate(
        self, control: str = "auto", *, confidence: float = 0.90, strata: str = "first"
    ) -> CrashRate:
        """Estimate the crash rate; see `estimate`."""
        sample, proposal = self.sample()
        rate = estimate_rate(
            sample,
            control,
            confidence=confidence,
            initial=_initial(proposal.description.get("initial")),
            strata=strata,
            spent=self._read - sample.n,
        )
        return replace(rate, flags=(*rate.flags, _FORMER)) if self._log.is_former else rate

    def history(self, control: str = "auto", looks: int = 24) -> list[tuple[int, CrashRate]]:
        """Return the estimate after so many scenarios of the last proposal, for pictures."""
        sample, proposal = self.sample()
        counts = np.unique(np.geomspace(min(20, sample.n), sample.n, looks).astype(int))
        initial = _initial(proposal.description.get("initial"))
        return [
            (int(n), estimate_rate(sample.first(n), control, initial=initial))
            for n in counts
            if n >= 2
        ]


def _initial(known: Any) -> InitialCriticality | None:
    if known is None:
        return None
    mean: FloatArray = np.asarray(known["mean"], dtype=float)
    return InitialCriticality(mean, np.asarray(known["covariance"], dtype=float))
