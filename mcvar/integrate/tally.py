"""What a run keeps of its draws: sums for linear controls, the draws themselves for others.

Both kinds answer the same questions: the combined estimate, what plain Monte Carlo would have
achieved, and the signs that the error bar cannot be trusted.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np

from mcvar._typing import BoolArray, FloatArray
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.moments import Moments, added
from mcvar.targets import Target

_TOP_WEIGHTS = 1024  # the tail index of Pareto is fitted to the largest of these
_DISTINCT_SAMPLE = 256  # values among which few distinct ones mark a step function
_SUMS = (
    "_is_settled",
    "n",
    "weight_sum",
    "weight_squares",
    "top_weights",
    "_n_groups",
    "largest",
    "takes_few_values",
    "_pivot",
    "_first",
    "_second",
)


class Tally(ABC):
    """Accumulates values at draws, group by group.

    Parameters
    ----------
    target : Target
        Where the draws come from: decides whether means are ratios of weighted means.
    replicated : bool
        Whether groups are independent randomisations, rather than chunks of independent draws.
    unit : int
        Consecutive draws averaged to one independent unit.
    folds : int
        Groups for cross-fitting independent draws; 1 fits on all draws at once.
    covariance : bool
        Whether to keep covariances across components.
    """

    def __init__(
        self, target: Target, *, replicated: bool, unit: int, folds: int, covariance: bool
    ) -> None:
        self.target = target
        self.replicated = replicated
        self.unit = unit
        self.folds = folds
        self.covariance = covariance or target.self_normalized
        self._pivot: FloatArray = np.zeros(1)  # c, near the mean, from the first weighted chunk
        self._is_settled = False  # whether c and the kind of values are known
        self._clear()

    def _clear(self) -> None:
        """Forget all draws, not what was decided on them."""
        self.n = 0
        self.weight_sum = 0.0
        self.weight_squares = 0.0
        self.top_weights = np.empty(0)
        self._least_top = 0.0
        self._n_groups = 0
        self.largest: FloatArray = np.zeros(1)  # of |w f|, per component
        self.takes_few_values: BoolArray = np.zeros(1, dtype=bool)
        self._raw: Moments | None = None
        self._first: FloatArray = np.zeros(1)  # sum of w (f - c)
        self._second: FloatArray = np.zeros(1)  # sum of w (f - c)²

    def add(self, group: int, draws: Draws, values: FloatArray) -> None:
        """Take in one chunk: values (n, m), unweighted, at draws of one group."""
        self._n_groups = max(self._n_groups, group + 1)
        weights = draws.weights
        response = values if weights is None else weights[:, np.newaxis] * values
        if not self._is_settled and (weights is None or weights.any()):
            self._is_settled = True
            self.takes_few_values = _few_distinct(values[:_DISTINCT_SAMPLE])
            if weights is not None:
                self._pivot = response.sum(axis=0) / max(float(weights.sum()), 1e-300)
        raw = Moments.of(response)
        largest = np.maximum(response.max(axis=0), -response.min(axis=0))
        if weights is not None:
            self.weight_sum += float(weights.sum())
            self.weight_squares += float(weights @ weights)
            centred = values - self._pivot
            weighted = weights[:, np.newaxis] * centred
            self._first = self._first + weighted.sum(axis=0)
            self._second = self._second + np.einsum("ij,ij->j", weighted, centred)
            self._keep_largest(weights)
            if self.target.self_normalized:
                # Ratios of means about c keep the digits that a large mean would cost.
                values, response = centred, weighted
        if not self._keep(group, draws, values, response, raw):
            self._raw = added(self._raw, raw)
        self.note(raw.n, largest)

    def blank(self) -> Self:
        """Return a tally for a block of further draws, which `absorb` adds to this one."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other._clear()
        return other

    def valid_until(self, weighted: bool, own_features: bool) -> float:
        """Number of draws from which on blanks made now are of no use.

        Parameters
        ----------
        weighted : bool
            Whether the draws have weights: the first block then decides about what sums are
            centred.
        own_features : bool
            Whether they bring functions of known mean along.
        """
        return 1 if weighted and not self._is_settled else np.inf

    def absorb(self, part: Self) -> None:
        """Add a block that a blank of this tally took in; the order of blocks decides the bits."""
        if not self._is_settled and part._is_settled:
            self._is_settled = True
            self.takes_few_values, self._pivot = part.takes_few_values, part._pivot
        self._n_groups = max(self._n_groups, part._n_groups)
        self.weight_sum += part.weight_sum
        self.weight_squares += part.weight_squares
        self._first = self._first + part._first
        self._second = self._second + part._second
        if len(part.top_weights):
            self._keep_largest(part.top_weights)
        self._raw = added(self._raw, part._raw)
        self.note(part.n, part.largest)

    def pack(self) -> dict[str, Any]:
        """Return the sums as named arrays."""
        arrays = {name: np.asarray(getattr(self, name)) for name in _SUMS}
        return arrays if self._raw is None else arrays | self._raw.arrays("raw")

    def unpack(self, arrays: Mapping[str, Any]) -> Self:
        """Return a blank of this tally with the sums that `pack` gave."""
        part = self.blank()
        for name in _SUMS:
            value = arrays[name]
            setattr(part, name, value if value.ndim else value[()].item())
        part._raw = Moments.from_arrays("raw", arrays)
        return part

    def note(self, n: int, largest: FloatArray) -> None:
        """Count n draws whose weighted values have these largest magnitudes."""
        self.n += n
        self.largest = np.maximum(self.largest, largest)

    def raw(self) -> Moments:
        """Moments of the weighted values themselves."""
        assert self._raw is not None
        return self._raw

    @property
    def squares(self) -> FloatArray:
        """Sum of (w f)², shape (m,)."""
        raw = self.raw()
        return raw.values + raw.n * raw.value_mean**2

    def _keep_largest(self, weights: FloatArray) -> None:
        if len(self.top_weights) == _TOP_WEIGHTS:
            weights = weights[weights > self._least_top]
            if not len(weights):
                return
        merged = np.concatenate([self.top_weights, weights])
        if len(merged) >= _TOP_WEIGHTS:
            merged = np.partition(merged, -_TOP_WEIGHTS)[-_TOP_WEIGHTS:]
            self._least_top = float(merged.min())
        self.top_weights = merged

    @abstractmethod
    def _keep(
        self,
        group: int,
        draws: Draws,
        values: FloatArray,
        response: FloatArray,
        raw: Moments,
    ) -> bool:
        """Store what the estimate needs; return whether `raw` is part of that, as it is."""

    @abstractmethod
    def _combined(self) -> combine.Combined:
        """Combine the weighted means; the last is that of the weights where they are ratios."""

    def estimate(self) -> tuple[combine.Combined, combine.Combined | None]:
        """Return the estimate, scaled by the target's mass, and the mean weight of a ratio."""
        combined = self._combined()
        if self.target.self_normalized:
            value, weight = combine.ratio(combined)
            return self._with_rounding(replace(value, mean=value.mean + self._pivot)), weight
        mass = self.target.mass
        if mass != 1:
            combined = combine.Combined(
                combined.mean * mass, combined.covariance * mass**2, combined.df
            )
        return self._with_rounding(combined), None

    def _with_rounding(self, combined: combine.Combined) -> combine.Combined:
        """Count what the spread of draws cannot show: rounding, and the steps of step functions.

        Rounding is all that is left where a net or a control is exact. Randomisations of a
        function of few values count points, and may all arrive at the same count: their means are
        then granted the spread of a fair coin between two counts.
        """
        size = np.sqrt(self.plain_variance() * self.n + combined.mean**2)
        variance = combined.variance
        least = np.where(variance > 0, (np.finfo(float).eps * size) ** 2, 0.0)
        if self.replicated and not self.target.self_normalized:
            step = self.largest * abs(self.target.mass) * self._n_groups / self.n
            coin = step**2 / (4 * self._n_groups)
            least = np.where(self.takes_few_values & (self.plain_variance() > 0), coin, least)
        missing = np.maximum(least - variance, 0.0)
        added = missing if combined.covariance.ndim == 1 else np.diag(missing)
        return replace(combined, covariance=combined.covariance + added)

    def plain_variance(self) -> FloatArray:
        """Variance of plain Monte Carlo with the same number of evaluations, shape (m,).

        For weighted draws of a normalised target this is Var f under the target itself.
        """
        raw = self.raw()
        if self.target.self_normalized:
            mean = self._first / self.weight_sum
            return np.maximum(self._second / self.weight_sum - mean**2, 0) / self.n
        if self.weight_sum > 0 and self.target.weights_average_one:
            variance = np.maximum(self._second / self.n - (self._first / self.n) ** 2, 0)
        else:
            variance = raw.values / raw.n
        return variance * self.target.mass**2 / self.n

    @property
    def ess(self) -> float:
        """Kish's effective sample size (Σw)²/Σw²; n without likelihood ratios."""
        if self.weight_sum == 0 or not self.target.weights_average_one:
            return self.n
        return self.weight_sum**2 / self.weight_squares


def unit_means(rows: FloatArray, unit: int) -> FloatArray:
    """Average every `unit` consecutive rows."""
    return rows if unit == 1 else rows.reshape(-1, unit, rows.shape[1]).mean(axis=1)


def _few_distinct(values: FloatArray) -> BoolArray:
    distinct = np.array([len(np.unique(column)) for column in values.T])
    return distinct <= max(4, len(values) // 16)
