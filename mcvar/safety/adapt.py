"""Adapting the proposal between batches: surrogates, mixture and ε from the log.

A proposal that is refitted from scenarios must not be used with those scenarios: the refit knows
their outcomes. They are spent; the estimate averages scenarios of the last proposal only, each
drawn after it was fixed, and so stays unbiased (Rubinstein & Kroese, *The Cross-Entropy Method*,
2004, chapter 3, for the idea of fitting a proposal in rounds).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from mcvar._checks import as_count
from mcvar._typing import FloatArray
from mcvar.safety.batch import Record
from mcvar.safety.proposal import AdversarialProposal
from mcvar.safety.weights import WeightedScenarios, weigh

#: From the scenarios so far to surrogates that resemble the vehicle, with which the log explains
#: itself better.
Identify: TypeAlias = Callable[[Sequence[Record]], Sequence[Any]]

_FEWEST_CRASHES = 10  # below which nothing is refitted to them
_ROUNDS = 200
_IDENTIFIED = 0.6  # share of surrogates that were identified from the log
_SCALES = (0.25, 0.5, 1.0)  # of ε
_WORTH = 0.8  # share of the variance at which another ε is worth a change


@dataclass(frozen=True)
class Adaptation:
    """Refits of the proposal after so many scenarios.

    Parameters
    ----------
    after : sequence of int
        Numbers of scenarios after which the proposal is refitted.
    identify : callable, optional
        ``identify(records) -> surrogates`` that are added to those given at the start, in the
        place of any that it added before.
    mixture, epsilon : bool
        Whether shares and ε are refitted, where at least ten crashes were seen. A smaller ε wins
        variance that a hundred scenarios show and loses tails that they do not.

    References
    ----------
    He & Owen, "Optimal mixture weights in multiple importance sampling" (2014), arXiv:1411.3954,
    section 2: the variance is convex in the shares, which are kept away from zero.

    Examples
    --------
    >>> Adaptation((100, 200)).after
    (100, 200)
    """

    after: Sequence[int] = (200,)
    identify: Identify | None = None
    mixture: bool = True
    epsilon: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.after, Sequence) or isinstance(self.after, str | bytes):
            raise TypeError(f"after must be numbers of scenarios, got {self.after!r}.")
        after = tuple(as_count("after", n, 2) for n in self.after)
        if list(after) != sorted(set(after)) or not after:
            raise ValueError(f"after must be rising numbers of scenarios, got {self.after!r}.")
        object.__setattr__(self, "after", after)

    def describe(self) -> dict[str, Any]:
        """Say what this is, for the log."""
        from mcvar.safety.identity import identity

        return {
            "after": list(self.after),
            "identify": None if self.identify is None else identity(self.identify),
            "mixture": self.mixture,
            "epsilon": self.epsilon,
        }

    def refit(
        self,
        first: AdversarialProposal,
        current: AdversarialProposal,
        rounds: Sequence[tuple[AdversarialProposal, Sequence[Record]]],
    ) -> AdversarialProposal:
        """Return the next proposal: a pure function of the log.

        Parameters
        ----------
        first, current : AdversarialProposal
            The one given at the start, and the one used last.
        rounds : sequence of (AdversarialProposal, records)
            All scenarios so far, with the proposal they were drawn from.
        """
        proposal = current
        rounds = [(used, [r for r in part if r.status == "ok"]) for used, part in rounds]
        records = [record for _, part in rounds for record in part]
        if self.identify is not None:
            surrogates = (*first.surrogates, *self.identify(records))
            if surrogates:
                shares = _prior_mixture(first, len(surrogates))
                proposal = first.replace(surrogates=surrogates, mixture=shares)
        crashes = sum(record.crash for record in records)
        if not proposal.surrogates or crashes < _FEWEST_CRASHES:
            return proposal
        # Every round's weights are right for that round; rounds count by their scenarios.
        weight = np.concatenate(
            [weigh(part, used.shares, used.threshold).weight for used, part in rounds if part]
        )
        again, epsilon = _seen_by(proposal, records)
        if self.epsilon and not callable(proposal.epsilon):
            proposal, again = _refit_epsilon(proposal, again, epsilon, weight)
        if self.mixture and len(proposal.surrogates) > 1:
            sample = weigh(again, proposal.shares, proposal.threshold)
            fitted = _best_mixture(sample, weight)
            # Half of it stays: few crashes, of very different weights, speak in a fit.
            proposal = proposal.replace(mixture=(proposal.mixture + fitted) / 2)
        return proposal


def _seen_by(
    proposal: AdversarialProposal, records: Sequence[Record]
) -> tuple[list[Record], list[FloatArray]]:
    """Describe logged actions as `proposal` sees them, and its ε at every decision."""
    states = np.concatenate([r.states[: len(r.action)] for r in records])
    taken = proposal.taken(states, np.concatenate([r.action for r in records]))
    cuts = np.cumsum([len(r.action) for r in records])[:-1]
    again = [
        record._replace(taken=part)
        for record, part in zip(records, np.split(taken, cuts), strict=True)
    ]
    return again, np.split(proposal.epsilon_at(states), cuts)


def _best_mixture(sample: WeightedScenarios, weight: FloatArray) -> FloatArray:
    """Shares of the surrogates that minimise the second moment Σ W_i / (α₀ + Σ α_j L_ij).

    Rises and falls of each share in proportion to the square root of its gradient find it.
    """
    crash = sample.crash
    likelihood = (sample.ratio[crash, 1:] + 1) / sample.weight[crash, np.newaxis]
    defensive, w = sample.shares[0], weight[crash]
    mixture = np.full(likelihood.shape[1], 1 / likelihood.shape[1])
    for _ in range(_ROUNDS):
        density = defensive + (1 - defensive) * likelihood @ mixture
        gradient = np.sqrt((w / density**2) @ likelihood)
        mixture = mixture * gradient
        mixture /= mixture.sum()
    return mixture


def _prior_mixture(first: AdversarialProposal, n: int) -> FloatArray:
    """Shares before any fit: `_IDENTIFIED` for those that were added, the rest as at the start."""
    added = n - len(first.surrogates)
    if added == 0:
        return first.mixture
    kept = 1 - _IDENTIFIED if len(first.surrogates) else 0.0
    return np.concatenate([kept * first.mixture, np.full(added, (1 - kept) / added)])


def _refit_epsilon(
    proposal: AdversarialProposal,
    records: list[Record],
    epsilon: list[FloatArray],
    weight: FloatArray,
) -> tuple[AdversarialProposal, list[Record]]:
    """Choose ε among multiples of the given one, by the variance with value controls."""
    best, least = (proposal, records), np.inf
    for scale in sorted(_SCALES, reverse=True):
        scaled = proposal.replace(epsilon=scale * np.asarray(proposal.epsilon))
        again = [
            record._replace(taken=_with_epsilon(record.taken, scale * own, proposal.threshold))
            for record, own in zip(records, epsilon, strict=True)
        ]
        variance = _controlled_variance(weigh(again, scaled.shares, scaled.threshold), weight)
        if variance < (_WORTH * least if np.isfinite(least) else np.inf):
            best, least = (scaled, again), variance
    return best


def _with_epsilon(taken: FloatArray, epsilon: FloatArray, threshold: float) -> FloatArray:
    """Columns of `taken` with another ε."""
    n = (taken.shape[1] - 1) // 4
    p, q, v = taken[:, :1], taken[:, 1 + n : 1 + 2 * n], taken[:, 1 + 2 * n : 1 + 3 * n]
    critical = (v.max(axis=1, keepdims=True, initial=0.0) > threshold) & (v > 0)
    own = epsilon[:, np.newaxis]
    ratio = np.where(critical, own + (1 - own) * q / np.where(v > 0, v, 1.0), 1.0)
    changed = taken.copy()
    changed[:, 1 : 1 + n] = p * ratio
    return changed


def _controlled_variance(sample: WeightedScenarios, weight: FloatArray) -> float:
    """Variance that scenarios from the proposal of `sample` would have, from others' scenarios.

    They stand for it with the ratio of its density to the one they were drawn from.
    """
    share = np.sqrt(weight / sample.weight)
    design = np.column_stack([np.ones(sample.n), sample.value]) * share[:, np.newaxis]
    size = np.sqrt((design**2).mean(axis=0))
    design = design / np.where(size > 0, size, 1.0)
    y = sample.response * share
    left = y - design @ np.linalg.lstsq(design, y, rcond=1e-8)[0]
    return float(left @ left / sample.n)
