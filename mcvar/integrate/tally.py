"""What a run keeps of its draws: sums for linear controls, the draws themselves for others.

Both kinds answer the same questions: the combined estimate, what plain Monte Carlo would have
achieved, and the signs that the error bar cannot be trusted.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, Self

import numpy as np

from mcvar._typing import BoolArray, FloatArray
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.integrate.crossfit import cross_fit
from mcvar.integrate.features import ZeroMeanFeatures
from mcvar.moments import Moments, added, total
from mcvar.targets import Target

_TOP_WEIGHTS = 1024  # the tail index of Pareto is fitted to the largest of these
_DISTINCT_SAMPLE = 256  # values among which few distinct ones mark a step function
_FROZEN_DRAWS = 2**17  # independent draws, and draws a feature, from which coefficients are fixed
_FROZEN_PER_FEATURE = 200
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
        other = copy.copy(self)
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


class MomentTally(Tally):
    """Keeps moments per fold or replicate: memory O(k²), whatever the number of draws.

    Independent draws beyond the first 2¹⁷ (or 200 a feature) meet coefficients fixed by those
    before them: still draws that the coefficients never saw, at a fraction of the cost of further
    cross moments, and with a variance at most k/2¹⁷ above the best (0.5 % at 200 a feature).
    """

    def __init__(self, features: ZeroMeanFeatures, target: Target, **layout: Any) -> None:
        self.features = features
        self._frozen: FloatArray | None = None
        super().__init__(target, **layout)

    def _clear(self) -> None:
        super()._clear()
        self.groups: list[Moments | None] = []
        self._feature_size: FloatArray = np.zeros(1)  # largest magnitudes
        self._after: Moments | None = None  # of residuals from frozen coefficients

    def valid_until(self, weighted: bool, own_features: bool) -> float:
        """As in `Tally`; frozen coefficients come with a number of draws."""
        limit = super().valid_until(weighted, own_features)
        has_features = self.features.control is not None or (self.features.own and own_features)
        if self.replicated or self.folds == 1 or self._frozen is not None or not has_features:
            return limit
        return min(limit, self._enough)

    @property
    def _enough(self) -> int:
        """Draws from which coefficients are fixed."""
        k = self.parts()[0].k if self.groups else 0
        return max(_FROZEN_DRAWS, _FROZEN_PER_FEATURE * k) * self.unit

    def absorb(self, part: Self) -> None:
        """As in `Tally`; once there are enough draws, coefficients are fixed."""
        super().absorb(part)
        for group, moments in enumerate(part.groups):
            if moments is not None:
                self.merge(group, moments)
        self._feature_size = np.maximum(self._feature_size, part._feature_size)
        self._after = added(self._after, part._after)
        fixes = self._frozen is None and not self.replicated and self.folds > 1
        if fixes and self.n >= self._enough and self.parts()[0].k:
            self._frozen = self.features.coefficients(self.parts())

    def pack(self) -> dict[str, Any]:
        """Return the sums as named arrays."""
        arrays = super().pack() | {"feature_size": self._feature_size}
        if self._after is not None:
            arrays |= self._after.arrays("after")
        for group, moments in enumerate(self.groups):
            if moments is not None:
                arrays |= moments.arrays(f"group {group}")
        return arrays | {"n_groups": np.asarray(len(self.groups))}

    def unpack(self, arrays: Mapping[str, Any]) -> Self:
        """Return a blank of this tally with the sums that `pack` gave."""
        part = super().unpack(arrays)
        part._feature_size = arrays["feature_size"]
        part._after = Moments.from_arrays("after", arrays)
        part.groups = [
            Moments.from_arrays(f"group {group}", arrays) for group in range(arrays["n_groups"])
        ]
        return part

    def _keep(
        self,
        group: int,
        draws: Draws,
        values: FloatArray,
        response: FloatArray,
        raw: Moments,
    ) -> bool:
        features = self.features(draws)
        if features is not None and self.features.n_stated and not self.replicated:
            self._feature_size = np.maximum(self._feature_size, np.abs(features).max(axis=0))
        if self.target.self_normalized:
            assert draws.weights is not None
            response = np.column_stack([response, draws.weights])
        elif features is None and self.unit == 1 and not self.covariance:
            self.merge(group, raw)
            return True
        if self.unit > 1:
            response = _unit_means(response, self.unit)
            features = None if features is None else _unit_means(features, self.unit)
        if self.replicated or features is None:
            self.merge(group, Moments.of(response, features, covariance=self.covariance))
        elif self._frozen is not None:
            left = Moments.of(response - features @ self._frozen, covariance=self.covariance)
            self._after = added(self._after, left)
        else:
            self._into_folds(response, features)
        return False

    def raw(self) -> Moments:
        """Moments of the weighted values, which the groups hold where there is no control."""
        return total(self.parts()) if self._raw is None else super().raw()

    def _into_folds(self, response: FloatArray, features: FloatArray) -> None:
        """Give contiguous parts of a chunk of independent draws to the folds."""
        ends = np.linspace(0, len(response), self.folds + 1).astype(int)
        for fold, (start, stop) in enumerate(pairwise(ends)):
            if stop > start:
                part = slice(start, stop)
                self.merge(
                    fold, Moments.of(response[part], features[part], covariance=self.covariance)
                )

    def merge(self, group: int, moments: Moments) -> None:
        """Add a chunk's moments to its group."""
        self.groups += [None] * (group + 1 - len(self.groups))
        self.groups[group] = added(self.groups[group], moments)

    def parts(self) -> list[Moments]:
        """Moments of every group."""
        return [part for part in self.groups if part is not None]

    def _combined(self) -> combine.Combined:
        if self.replicated:
            return combine.replicates(
                self.parts(),
                self.features.coefficients,
                folds=self._replicate_folds,
                covariance=self.covariance,
            )
        return combine.independent(self.parts(), self.features.coefficients, after=self._after)

    @property
    def _replicate_folds(self) -> int:
        return 1 if self.folds == 1 else len(self.groups)

    def feature_means(self) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """Means of the features, their standard errors, sizes, and degrees of freedom.

        Sizes are the largest magnitudes seen, or standard deviations over replicates' draws.
        """
        parts = self.parts()
        pooled = total(parts)
        scale = np.sqrt(np.diagonal(pooled.features) / pooled.n)
        if not self.replicated:
            error = scale / np.sqrt(pooled.n)
            return pooled.feature_mean, error, self._feature_size, pooled.n - 1
        means = np.stack([part.feature_mean for part in parts])
        error = means.std(axis=0, ddof=1) / np.sqrt(len(parts))
        return means.mean(axis=0), error, scale, len(parts) - 1


class StoredTally(Tally):
    """Keeps the draws, for controls that are not linear in fixed features."""

    def __init__(self, control: Any, target: Target, **layout: Any) -> None:
        self.control = control
        super().__init__(target, **layout)

    def _clear(self) -> None:
        super()._clear()
        self._chunks: list[tuple[int, FloatArray, FloatArray, FloatArray | None]] = []

    def _keep(
        self,
        group: int,
        draws: Draws,
        values: FloatArray,
        response: FloatArray,
        raw: Moments,
    ) -> bool:
        self._chunks.append((group, draws.x.copy(), values, draws.weights))
        return False

    def absorb(self, part: Self) -> None:
        """As in `Tally`; the draws are kept."""
        super().absorb(part)
        self._chunks += part._chunks

    def pack(self) -> dict[str, Any]:
        """Return sums and draws as named arrays."""
        arrays = super().pack()
        for i, (group, x, values, weights) in enumerate(self._chunks):
            arrays |= {f"group {i}": np.asarray(group), f"x {i}": x, f"values {i}": values}
            if weights is not None:
                arrays[f"weights {i}"] = weights
        return arrays | {"n_chunks": np.asarray(len(self._chunks))}

    def unpack(self, arrays: Mapping[str, Any]) -> Self:
        """Return a blank of this tally with the sums and draws that `pack` gave."""
        part = super().unpack(arrays)
        part._chunks = [
            (
                int(arrays[f"group {i}"]),
                arrays[f"x {i}"],
                arrays[f"values {i}"],
                arrays.get(f"weights {i}"),
            )
            for i in range(arrays["n_chunks"])
        ]
        return part

    def _combined(self) -> combine.Combined:
        x = np.concatenate([x for _, x, _, _ in self._chunks])
        values = np.concatenate([v for _, _, v, _ in self._chunks])
        weights = (
            np.ones(len(x))
            if self.weight_sum == 0
            else np.concatenate([w for _, _, _, w in self._chunks if w is not None])
        )
        if self.replicated:
            groups = np.concatenate([np.full(len(x), g) for g, x, _, _ in self._chunks])
        else:
            units = len(x) // self.unit
            groups = np.repeat(np.arange(units) * self.folds // units, self.unit)
        score = self.target.grad_logpdf(x) if getattr(self.control, "needs_score", False) else None
        fit = cross_fit(
            self.control, x, values, groups, score, weights if self.weight_sum else None
        )
        residual, mean = fit.residual, fit.mean
        if self.target.self_normalized:
            response = np.column_stack([weights[:, np.newaxis] * (residual + mean), weights])
        else:
            response = weights[:, np.newaxis] * residual + mean
        response, groups = _unit_means(response, self.unit), groups[:: self.unit]
        parts = [
            Moments.of(response[groups == g], covariance=self.covariance) for g in np.unique(groups)
        ]
        if self.replicated:
            combined = combine.replicates(parts, covariance=self.covariance)
        else:
            combined = combine.independent(parts)
        weight = np.zeros(response.shape[1] - values.shape[1])
        return combine.with_mean_error(combined, np.append(fit.mean_error, weight))


def _unit_means(rows: FloatArray, unit: int) -> FloatArray:
    return rows if unit == 1 else rows.reshape(-1, unit, rows.shape[1]).mean(axis=1)


def _few_distinct(values: FloatArray) -> BoolArray:
    distinct = np.array([len(np.unique(column)) for column in values.T])
    return distinct <= max(4, len(values) // 16)
