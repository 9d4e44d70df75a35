"""Values at draws in the forms that estimates need: weighted, summed up, and with labels."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np

from mcvar._checks import as_finite_array
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.integrate.sums import Sums, n_sampled
from mcvar.moments import total
from mcvar.targets import Target


class Measure(NamedTuple):
    """Mass and normalisation of the measure that weighted means are taken under.

    Attributes
    ----------
    mass : float
        Total mass, by which means are multiplied.
    self_normalized : bool
        Whether weights are known up to a constant only, so that means are ratios.
    normalized : bool
        Whether weights are likelihood ratios of two normalised laws.
    """

    mass: float = 1.0
    self_normalized: bool = False
    normalized: bool = True

    @classmethod
    def of(cls, target: Target | Draws) -> Self:
        """Measure of a target, or of draws whose target is not known."""
        if isinstance(target, Draws):
            return cls(self_normalized=target.self_normalized)
        return cls(target.mass, target.self_normalized, target.weights_average_one)


class Layout(NamedTuple):
    """How draws depend on one another.

    Attributes
    ----------
    replicated : bool
        Whether only replicates are independent, rather than units of draws.
    unit : int
        Consecutive draws that make an independent unit.
    grows : bool
        Whether the first half of a replicate is a replicate of half the size.
    """

    replicated: bool = False
    unit: int = 1
    grows: bool = False


@dataclass(frozen=True, eq=False)
class BlockSums:
    """Sums over a block of draws: of the values themselves, and less what a control explains.

    Attributes
    ----------
    n, evaluations : int
        Draws, and those of positive weight, at which the integrand was called.
    weights : ndarray, shape (2,)
        Sums of the weights and of their squares; zero without weights.
    moments : ndarray, shape (2, m)
        Sums of w (f − c) and of w (f − c)² about a pivot c; zero without weights.
    plain : Sums
        Over rows w f, with a last column w where means are ratios (f then about the pivot).
    adjusted : Sums or None
        Over control-adjusted rows, or averages over units of draws; None where there are neither.

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar import Draws
    >>> draws = Draws(np.arange(4.0))
    >>> sums = BlockSums.of(draws.x**2, draws, Measure(), Layout())
    >>> float(sums.plain_variance(Measure())[0] * sums.n)
    12.25
    """

    n: int
    evaluations: int
    weights: FloatArray
    moments: FloatArray
    plain: Sums
    adjusted: Sums | None

    @classmethod
    def of(
        cls,
        values: FloatArray,
        draws: Draws,
        measure: Measure,
        layout: Layout,
        *,
        adjusted: FloatArray | None = None,
        group: int = 0,
        pivot: FloatArray | float = 0.0,
        covariance: bool = False,
        sample: int | None = None,
        thresholds: "Thresholds | None" = None,
    ) -> "BlockSums":
        """Sums over values (n, m), unweighted, and rows adjusted by a control.

        Where means are ratios, `values` are already less the pivot.
        """
        w = draws.weights
        rows = weighted(values, draws)
        options: dict[str, Any] = {
            "weights": w if measure.self_normalized else None,
            "covariance": covariance or measure.self_normalized,
            "skewness": not layout.replicated,
            "sample": n_sampled(rows.shape[1], layout.replicated) if sample is None else sample,
        }
        limits = thresholds or Thresholds()
        plain = Sums.of(rows, group, thresholds=limits.plain, **options)
        if adjusted is None and layout.unit > 1:
            adjusted = rows
        own = None
        if adjusted is not None:
            adjusted = unit_means(adjusted, layout.unit)
            if layout.unit > 1 and options["weights"] is not None:
                options["weights"] = adjusted[:, -1]
            own = Sums.of(adjusted, group, thresholds=limits.adjusted, **options)
        of_weights, moments, evaluations = np.zeros(2), np.zeros((2, values.shape[1])), draws.n
        if w is not None:
            evaluations = int(np.count_nonzero(w > 0))
            of_weights = np.array([w.sum(), w @ w])
            # Values of ratios are less the pivot already.
            centred = values if measure.self_normalized else values - pivot
            moments = np.stack([w @ centred, w @ centred**2])
        return cls(draws.n, evaluations, of_weights, moments, plain, own)

    @property
    def rows(self) -> Sums:
        """Sums over the rows whose mean is the estimate."""
        return self.plain if self.adjusted is None else self.adjusted

    @property
    def thresholds(self) -> "Thresholds":
        """Values beyond which further rows belong to the largest so far."""
        own = None if self.adjusted is None else self.adjusted.thresholds
        return Thresholds(self.plain.thresholds, own)

    def __add__(self, other: "BlockSums") -> "BlockSums":
        own = self.adjusted
        if own is not None and other.adjusted is not None:
            own = own + other.adjusted
        return BlockSums(
            self.n + other.n,
            self.evaluations + other.evaluations,
            self.weights + other.weights,
            self.moments + other.moments,
            self.plain + other.plain,
            own,
        )

    def largest(self, m: int) -> FloatArray:
        """Largest |w f|, shape (m,); about the pivot where means are ratios."""
        upper, lower = self.plain.upper.values[:, :m], self.plain.lower.values[:, :m]
        return np.asarray(np.maximum(upper.max(axis=0), lower.max(axis=0)))

    def squares(self, m: int) -> FloatArray:
        """Sum of (w f)², shape (m,)."""
        pooled = total(self.plain.parts)
        centred = pooled.values if pooled.values.ndim == 1 else np.diagonal(pooled.values)
        return np.asarray(centred + pooled.n * pooled.value_mean**2)[:m]

    def plain_variance(self, measure: Measure) -> FloatArray:
        """Variance of a mean over as many independent draws of the target, shape (m,).

        For weighted draws of a normalised target that is Var f/n under the target itself.
        """
        m = self.moments.shape[1]
        first, second = self.moments
        if measure.self_normalized:
            mean = first / self.weights[0]
            return np.asarray(np.maximum(second / self.weights[0] - mean**2, 0) / self.n)
        if self.weights[0] > 0 and measure.normalized:
            variance = np.maximum(second / self.n - (first / self.n) ** 2, 0)
        else:
            pooled = total(self.plain.parts)
            squares = pooled.values if pooled.values.ndim == 1 else np.diagonal(pooled.values)
            variance = squares[:m] / pooled.n
        return np.asarray(variance * measure.mass**2 / self.n)

    def ess(self, measure: Measure) -> float:
        """Kish's effective sample size (Σw)²/Σw²; n without likelihood ratios."""
        if self.weights[0] == 0 or not measure.normalized:
            return float(self.n)
        return float(self.weights[0] ** 2 / self.weights[1])


class Thresholds(NamedTuple):
    """Values beyond which rows, and −rows, belong to the largest of a run so far."""

    plain: tuple[FloatArray, FloatArray] | None = None
    adjusted: tuple[FloatArray, FloatArray] | None = None


def weighted(values: FloatArray, draws: Draws) -> FloatArray:
    """Rows w f (n, m), with w as a last column where means are ratios."""
    if draws.weights is None:
        return values
    rows = draws.weights[:, np.newaxis] * values
    return np.column_stack([rows, draws.weights]) if draws.self_normalized else rows


def unit_means(rows: FloatArray, unit: int) -> FloatArray:
    """Averages of every `unit` consecutive rows."""
    return rows if unit == 1 else rows.reshape(-1, unit, rows.shape[1]).mean(axis=1)


def as_columns(name: str, values: Any, n: int) -> tuple[FloatArray, bool]:
    """Values as (n, m), and whether they came as (n,); ValueError for any other shape."""
    array = as_finite_array(name, values)
    if array.ndim not in (1, 2) or len(array) != n or 0 in array.shape:
        raise ValueError(
            f"{name} have shape {array.shape} for {n} draws; expected ({n},) or ({n}, m)."
        )
    return array.reshape(n, -1), array.ndim == 1


def merge_repeats(values: FloatArray, draws: Draws) -> tuple[FloatArray, Draws]:
    """Distinct draws with their multiplicity as weight, and the means of their values.

    Draws with a gradient have a density: where they coincide they are one draw, counted several
    times. Apart they would serve in a fold and in its fit, and look like so many independent ones.
    Labelled draws keep their repeats: see `repeated`.
    """
    labels = (draws.chain, draws.strata, draws.replicate, draws.cluster)
    if draws.grad_logpdf is None or any(label is not None for label in labels):
        return values, draws
    group = repeated(draws)
    if group is None:
        return values, draws
    first = np.unique(group, return_index=True)[1]
    m = len(first)
    weights = np.ones(draws.n) if draws.weights is None else draws.weights
    totals = np.bincount(group, weights, m)
    share = weights / np.where(totals > 0, totals, 1.0)[group]

    def averaged(rows: FloatArray) -> FloatArray:
        columns = rows.reshape(draws.n, -1)
        return np.stack([np.bincount(group, share * column, m) for column in columns.T], axis=1)

    zero_mean = None if draws.zero_mean is None else averaged(draws.zero_mean)
    counted = draws.weights is None
    return averaged(values), Draws.unchecked(
        x=draws.x[first],
        grad_logpdf=draws.grad_logpdf[first],
        zero_mean=zero_mean,
        weights=totals if counted or draws.self_normalized else totals * m / draws.n,
        self_normalized=counted or draws.self_normalized,
    )


def repeated(draws: Draws) -> Any:
    """Number (n,) of the distinct point that each draw is at; None where no two coincide."""
    # Draws with a density rarely agree in one coordinate: a sort of it settles most cases.
    if len(np.unique(draws.x[:, 0])) == draws.n:
        return None
    _, group = np.unique(draws.x, axis=0, return_inverse=True)
    group = group.ravel()
    return None if group.max() + 1 == draws.n else group


def scaled_weights(draws: Draws) -> Draws:
    """The same draws, self-normalised weights at most 1: they neither over- nor underflow."""
    if draws.weights is None or not draws.self_normalized:
        return draws
    return replace(draws, weights=draws.weights / draws.weights.max())
