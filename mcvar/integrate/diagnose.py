"""Signs that an error bar cannot be trusted, each in a sentence."""

import numpy as np
from scipy import special

from mcvar._pareto import pareto_tail_index
from mcvar._typing import FloatArray
from mcvar.exceptions import ControlMeanError
from mcvar.integrate.combine import Combined
from mcvar.integrate.values import BlockSums, Measure

_DOMINANT = 0.5  # share of Σ(wf)² in one draw
_HEAVY_TAIL = 0.5  # Pareto index from which the variance is infinite
_DOUBT = 0.2, 2.2  # by how much the index of independent values may be overrated by chance
_ENOUGH = 100  # draws below which shares say nothing
_TINY = 1e-140  # magnitude below which squares lose digits
_CHANCE = 1e-7  # false-alarm probability of the test of a control's mean
UNSEEN = 20  # draws as large as the largest that may be missing from a sample by chance
_LARGER = 4.0  # how much larger than the largest those of a long tail may be


def suspicions(sums: BlockSums, measure: Measure, m: int) -> list[list[str]]:
    """Reasons to suspect each of m values, from its zeros, its size and its largest draws."""
    largest, squares = sums.largest(m), sums.squares(m)
    found: list[list[str]] = []
    share = np.divide(largest**2, squares, out=np.zeros(m), where=squares > 0)
    for j in range(m):
        reasons = []
        if largest[j] == 0 and not measure.self_normalized:
            reasons.append(
                f"the integrand was zero at all {sums.n} points: either it is zero, or its support "
                "was missed; restrict the target to where it is not zero."
            )
        elif 0 < largest[j] < _TINY:
            reasons.append(
                f"the integrand stays below {largest[j]:.2g}: its squares underflow, so that no "
                "error can be computed; rescale it."
            )
        elif sums.n >= _ENOUGH and share[j] > _DOMINANT:
            reasons.append(
                f"one draw of {sums.n} makes up {share[j]:.0%} of the sum of squares: the error "
                "bar rests on a few draws."
            )
        found.append(reasons)
    return found


def suspect_weights(sums: BlockSums, doubt: float) -> list[str]:
    """Reasons to suspect importance weights, the last column of plain rows; see `heavy_tail`."""
    weights = sums.plain.upper.values[:, -1]
    share = float(weights.max()) / float(sums.weights[0])
    if share > (0.1 if sums.n >= _ENOUGH else 0.5):
        return [
            f"one weight holds {share:.0%} of the total over {sums.n} draws: the proposal hardly "
            "covers the target; widen it."
        ]
    index = weight_index(sums)
    threshold = _threshold(sums.n, doubt)
    if index > threshold:
        return [
            f"the weights have a Pareto tail index of {index:.2f} (> {threshold:.2f}): their "
            "variance may be infinite; use a proposal with heavier tails."
        ]
    return []


def weight_index(sums: BlockSums) -> float:
    """Tail index of importance weights, the last column of plain rows."""
    weights = sums.plain.upper.values[:, -1]
    return pareto_tail_index(weights[np.isfinite(weights)], sums.n)


def heavy_tail(index: float, n: int, doubt: float) -> list[str]:
    """Judge by the tail index of n rows whether their variance, or even their mean, exists.

    The threshold comes down to 1/2 as the index gets better known, in proportion to the `doubt`: 0
    where rows sample the tail evenly, as nets do.
    """
    if index <= _threshold(n, doubt):
        return []
    moment = "mean or variance" if index > 0.8 else "variance"
    return [
        f"the values have a Pareto tail index of {index:.2f}: their {moment} may not exist, and "
        "no error bar can be trusted."
    ]


def _threshold(n: int, doubt: float) -> float:
    size = max(min(n // 5, 3 * np.sqrt(n), 1024), 1.0)
    return float(_HEAVY_TAIL + doubt * min(_DOUBT[0], _DOUBT[1] / np.sqrt(size)))


def check_feature_means(
    z: FloatArray, found: Combined, error: FloatArray | None, *, replicated: bool
) -> None:
    """Raise ControlMeanError where means of features of expectation zero contradict that.

    Draws as large as the largest, or larger where there is a tail, may be missing by chance: a gap
    that they could close is no evidence. Features that do not vary have no weight in a fit, and are
    left alone.

    Parameters
    ----------
    z : ndarray, shape (n, k)
        Features less their stated means.
    found : Combined
        Their means and spread.
    error : ndarray, shape (k,), or None
        Standard errors of the stated means.
    replicated : bool
        Whether draws come in replicates, such as nets, which miss nothing by chance.
    """
    n = len(z)
    spread = np.sqrt(found.variance)
    threshold = special.stdtrit(found.df, 1 - _CHANCE / (2 * z.shape[1]))
    size = np.abs(z).max(axis=0)
    if replicated:
        size = z.std(axis=0)
    # Nets integrate some features, and pairs cancel, to rounding: such gaps are not evidence.
    allowed = np.maximum(threshold * spread, 1e-9 * size)
    wrong = np.abs(found.mean) > allowed
    if not replicated:
        for j in map(int, np.flatnonzero(wrong)):
            column = -np.sign(found.mean[j]) * z[:, j]
            factor = _LARGER if n < 50 or pareto_tail_index(column, n) > 0 else 1.0
            allowed[j] = max(allowed[j], UNSEEN / n * factor * size[j])
    if error is not None:
        allowed = allowed + threshold * error
    wrong = (np.abs(found.mean) > allowed) & (np.ptp(z, axis=0) > 0)
    if wrong.any():
        j = int(wrong.argmax())
        total = np.hypot(spread[j], 0.0 if error is None else error[j])
        raise ControlMeanError(
            f"feature {j} of the control has a sample mean {found.mean[j]:+.6g} away from its "
            f"stated mean, {abs(found.mean[j]) / max(total, 1e-300):.3g} standard errors over {n} "
            "draws. Either the stated mean is wrong or the draws miss where it is large."
        )


def by_component(reasons: "tuple[tuple[str, ...], ...]") -> tuple[str, ...]:
    """Each reason once, naming the components it holds for where there are several."""
    found: dict[str, list[int]] = {}
    for j, of_component in enumerate(reasons):
        for reason in of_component:
            found.setdefault(reason, []).append(j)
    if len(reasons) == 1:
        return tuple(found)
    return tuple(
        f"{'component' if len(where) == 1 else 'components'} "
        f"{', '.join(map(str, where[:5]))}{', ...' if len(where) > 5 else ''}: {reason}"
        for reason, where in found.items()
    )
