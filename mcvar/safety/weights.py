"""Weights and controls of logged scenarios: a pure function of their steps."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mcvar._jit import adversary
from mcvar._typing import BoolArray, FloatArray, IntArray
from mcvar.safety.batch import Record
from mcvar.safety.rows import Steps, steps_of_records

_MOST_ORDINALS = 12


@dataclass(frozen=True, eq=False)
class WeightedScenarios:
    """n scenarios of one proposal with J surrogates, and everything an estimate uses.

    Attributes
    ----------
    scenario : ndarray of int, shape (n,)
    weight : ndarray, shape (n,)
        Likelihood ratio naturalistic / proposal; of a failed scenario, up to its failure.
    crash, unknown : ndarray of bool, shape (n,)
        `unknown` outcomes are those of failed scenarios.
    ratio : ndarray, shape (n, J + 1)
        Global ratio controls C_j = Π q_j / q − 1, the naturalistic one first.
    ordinal : ndarray, shape (n, J, K)
        Their increments D_{j,k} at the k-th critical step, as far as there are any; the twelfth
        and later ones are pooled.
    value : ndarray, shape (n, J)
        Value controls E_j = Σ W₋ (ρ Q_j(s, a) − V_j(s)).
    missed : ndarray, shape (n, J)
        Σ W₋² Var_p Q_j over steps below the threshold: variance that surrogate j predicts there.
    critical_steps : ndarray of int, shape (n,)
    criticality : ndarray, shape (n, J)
        V_j at the first decision, 0 where there was none.
    greatest_criticality : ndarray, shape (n, J)
        Largest V_j met.
    component : ndarray of int, shape (n,)
    shares : ndarray, shape (J + 1,)
    threshold : float
    error : str
        What the first failure said.
    """

    scenario: IntArray
    weight: FloatArray
    crash: BoolArray
    unknown: BoolArray
    ratio: FloatArray
    ordinal: FloatArray
    value: FloatArray
    missed: FloatArray
    critical_steps: IntArray
    criticality: FloatArray
    greatest_criticality: FloatArray
    component: IntArray
    shares: FloatArray
    threshold: float
    error: str = ""

    @property
    def n(self) -> int:
        """Number of scenarios."""
        return len(self.weight)

    @property
    def response(self) -> FloatArray:
        """W 1{crash}, whose expectation is the crash rate; failures count as no crash."""
        return np.where(self.crash, self.weight, 0.0)  # a weight may be infinite

    @property
    def upper_response(self) -> FloatArray:
        """The same with failures counted as crashes."""
        return np.where(self.crash | self.unknown, self.weight, 0.0)

    def first(self, n: int) -> "WeightedScenarios":
        """Return the first `n` scenarios."""
        return self._with({name: getattr(self, name)[:n] for name in _per_scenario(self)})

    def _with(self, changed: dict[str, Any]) -> "WeightedScenarios":
        return replace(self, **changed)

    def _widened(self, width: int) -> "WeightedScenarios":
        """The same with zeros for further critical steps."""
        zeros = np.zeros((*self.ordinal.shape[:2], width - self.ordinal.shape[2]))
        return self._with({"ordinal": np.concatenate([self.ordinal, zeros], axis=2)})


def _per_scenario(sample: WeightedScenarios) -> list[str]:
    every = [field.name for field in fields(sample)]
    return [name for name in every if name not in ("shares", "threshold", "error")]


def weigh(records: Sequence[Record], shares: FloatArray, threshold: float) -> WeightedScenarios:
    """Compute weights and controls of `records`, all made by one proposal."""
    return weigh_steps(steps_of_records(records, len(shares) - 1), shares, threshold)


def weigh_steps(steps: Steps, shares: FloatArray, threshold: float) -> WeightedScenarios:
    """Compute weights and controls of the steps of scenarios, all made by one proposal."""
    n, n_surrogates = len(steps.scenario), len(shares) - 1
    start = np.concatenate([[0], np.cumsum(steps.decisions)])
    weight, critical = np.empty(n), np.empty(n, dtype=np.int64)
    ratio, value = np.empty((n, n_surrogates + 1)), np.empty((n, n_surrogates))
    missed = np.empty((n, n_surrogates))
    # Beyond the last decision there is nothing.
    n_ordinals = min(_MOST_ORDINALS, int(steps.decisions.max(initial=1)))
    ordinal = np.empty((n, n_surrogates, max(n_ordinals, 1)))
    with np.errstate(divide="ignore"):
        adversary.accumulate(
            start, steps.taken, shares, threshold, weight, ratio, ordinal, value, missed, critical
        )
    # Of a scenario that left no trace nothing is known but the greatest weight there is.
    with np.errstate(divide="ignore"):
        weight[steps.unknown & (steps.decisions == 0)] = np.divide(1.0, shares[0])
    v = steps.taken[:, 1 + 2 * n_surrogates : 1 + 3 * n_surrogates]
    first, greatest = np.zeros((n, n_surrogates)), np.zeros((n, n_surrogates))
    some = steps.decisions > 0
    first[some] = v[start[:-1][some]]
    if some.any():
        greatest[some] = np.maximum.reduceat(v, start[:-1][some], axis=0)
    return WeightedScenarios(
        scenario=steps.scenario,
        weight=weight,
        crash=steps.crash,
        unknown=steps.unknown,
        ratio=ratio,
        ordinal=ordinal,
        value=value,
        missed=missed,
        critical_steps=critical,
        criticality=first,
        greatest_criticality=greatest,
        component=steps.component,
        shares=shares,
        threshold=threshold,
        error=steps.error,
    )


def joined(samples: Sequence[WeightedScenarios]) -> WeightedScenarios:
    """Return samples of the same proposal, one after the other."""
    width = max(sample.ordinal.shape[2] for sample in samples)
    wide = [
        sample if sample.ordinal.shape[2] == width else sample._widened(width) for sample in samples
    ]
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(sample, name) for sample in wide])
        for name in _per_scenario(wide[0])
    }
    error = next((sample.error for sample in samples if sample.error), "")
    return wide[0]._with(arrays | {"error": error})
