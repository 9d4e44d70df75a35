"""Weights and controls of logged scenarios: a pure function of their steps."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from mcvar._jit import adversary
from mcvar._typing import BoolArray, FloatArray, IntArray
from mcvar.safety.batch import Record

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
        Their increments D_{j,k} at the k-th critical step, the last of them pooled.
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

    def __add__(self, other: "WeightedScenarios") -> "WeightedScenarios":
        """Both samples, of the same proposal, one after the other."""
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)])
            for name in _per_scenario(self)
        }
        return self._with(joined | {"error": self.error or other.error})


def _per_scenario(sample: WeightedScenarios) -> list[str]:
    every = [field.name for field in fields(sample)]
    return [name for name in every if name not in ("shares", "threshold", "error")]


def weigh(records: Sequence[Record], shares: FloatArray, threshold: float) -> WeightedScenarios:
    """Compute weights and controls of `records`, all made by one proposal."""
    n, n_surrogates = len(records), len(shares) - 1
    steps = np.array([len(record.taken) for record in records], dtype=np.int64)
    start = np.concatenate([[0], np.cumsum(steps)])
    width = 1 + 4 * n_surrogates
    taken = (
        np.concatenate([record.taken.reshape(-1, width) for record in records])
        if n
        else np.empty((0, width))
    )
    weight, critical = np.empty(n), np.empty(n, dtype=np.int64)
    ratio, value = np.empty((n, n_surrogates + 1)), np.empty((n, n_surrogates))
    missed = np.empty((n, n_surrogates))
    ordinal = np.empty((n, n_surrogates, _MOST_ORDINALS))
    with np.errstate(divide="ignore"):
        adversary.accumulate(
            start, taken, shares, threshold, weight, ratio, ordinal, value, missed, critical
        )
    unknown = np.array([record.status != "ok" for record in records], dtype=bool)
    # Of a scenario that left no trace nothing is known but the greatest weight there is.
    with np.errstate(divide="ignore"):
        weight[unknown & (steps == 0)] = np.divide(1.0, shares[0])
    v = taken[:, 1 + 2 * n_surrogates : 1 + 3 * n_surrogates]
    first, greatest = np.zeros((n, n_surrogates)), np.zeros((n, n_surrogates))
    some = steps > 0
    first[some] = v[start[:-1][some]]
    if some.any():
        greatest[some] = np.maximum.reduceat(v, start[:-1][some], axis=0)
    return WeightedScenarios(
        scenario=np.array([record.scenario for record in records], dtype=np.int64),
        weight=weight,
        crash=np.array([record.crash for record in records], dtype=bool),
        unknown=unknown,
        ratio=ratio,
        ordinal=ordinal,
        value=value,
        missed=missed,
        critical_steps=critical,
        criticality=first,
        greatest_criticality=greatest,
        component=np.array([record.component for record in records], dtype=np.int64),
        shares=shares,
        threshold=threshold,
        error=next((record.error for record in records if record.status != "ok"), ""),
    )
