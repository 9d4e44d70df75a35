"""The draws themselves, for controls that are not linear in fixed features."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.integrate.crossfit import cross_fit
from mcvar.integrate.tally import Tally, unit_means
from mcvar.moments import Moments
from mcvar.targets import Target


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
        response, groups = unit_means(response, self.unit), groups[:: self.unit]
        parts = [
            Moments.of(response[groups == g], covariance=self.covariance) for g in np.unique(groups)
        ]
        if self.replicated:
            combined = combine.replicates(parts, covariance=self.covariance)
        else:
            combined = combine.independent(parts)
        weight = np.zeros(response.shape[1] - values.shape[1])
        return combine.with_mean_error(combined, np.append(fit.mean_error, weight))
