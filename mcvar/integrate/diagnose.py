"""Signs that an error bar cannot be trusted, each said in a sentence."""

import numpy as np
from scipy import special

from mcvar._pareto import pareto_tail_index
from mcvar._typing import BoolArray, FloatArray
from mcvar.exceptions import ControlMeanError
from mcvar.integrate.moment_tally import MomentTally
from mcvar.integrate.tally import Tally

_DOMINANT = 0.25  # share of Σ(wf)² in one draw at which the variance rests on four or fewer
_RULING = 0.7  # share of the squares of residuals in one draw
_HEAVY_TAIL = 0.7  # Pareto index of the weights (Vehtari et al. 2024, section 3)
_ENOUGH = 100  # draws below which shares say nothing
_TINY = 1e-140  # magnitude below which squares lose digits
_CHANCE = 1e-7  # false-alarm probability of the test of a control's mean
UNSEEN = 20  # draws as large as the largest that may be missing from a sample by chance


def reasons_to_suspect(tally: Tally, *, weights_matter: bool) -> list[str]:
    """Return the reasons, in prose; none means none was seen.

    `weights_matter` says whether the weights themselves are averaged (ratios), or come from the
    user. Those of a sampler's own map are bounded, and large only where the integrand is small.
    """
    reasons = []
    # Rounding leaves a constant function a spread of some units in the last place.
    spread = tally.plain_variance() * tally.n
    constant = spread <= (1e-14 * tally.largest * abs(tally.target.mass)) ** 2
    zero = tally.largest == 0
    tiny = ~zero & (tally.largest < _TINY)
    if zero.any():
        reasons.append(
            f"the integrand was zero at all {tally.n} points{_where(zero)}: either it is zero, or "
            "its support was missed; restrict the target to where it is not zero."
        )
    elif tiny.any():
        reasons.append(
            f"the integrand stays below {tally.largest[tiny].max():.2g}{_where(tiny)}: its squares "
            "underflow, so that no error can be computed; rescale it."
        )
    elif constant.any():
        reasons.append(
            f"the integrand took one value at all {tally.n} points{_where(constant)}: either it is "
            "constant, or what varies was missed."
        )
    if tally.n >= _ENOUGH:
        share = np.divide(
            tally.largest**2,
            tally.squares,
            where=tally.squares > 0,
            out=np.zeros_like(tally.squares),
        )
        dominated = share > _DOMINANT
        if dominated.any():
            reasons.append(
                f"one draw of {tally.n} makes up {share.max():.0%} of the sum of squares"
                f"{_where(dominated)}: the error bar rests on a few draws."
            )
    if weights_matter and len(tally.top_weights):
        reasons += _suspect_weights(tally)
    return reasons


def _suspect_weights(tally: Tally) -> list[str]:
    share = float(tally.top_weights.max()) / tally.weight_sum
    if share > (0.1 if tally.n >= _ENOUGH else 0.5):
        return [
            f"one weight holds {share:.0%} of the total over {tally.n} draws: the proposal hardly "
            "covers the target; widen it."
        ]
    shape = pareto_tail_index(tally.top_weights, tally.n)
    if shape > _HEAVY_TAIL:
        return [
            f"the weights have a Pareto tail index of {shape:.2f} (> {_HEAVY_TAIL}): their "
            "variance may be infinite; use a proposal with heavier tails."
        ]
    return []


def heavy_tails(values: FloatArray) -> list[str]:
    """Judge by the Pareto tail index whether the variance, or even the mean, may not exist.

    The threshold comes down from 0.7 to 1/2, where the variance is infinite, as the index
    gets better known.
    """
    n = len(values)
    middle = float(np.median(values))
    upper, lower = np.maximum(values - middle, 0), np.maximum(middle - values, 0)
    shape = max(pareto_tail_index(upper, n), pareto_tail_index(lower, n))
    size = min(n // 5, 3 * np.sqrt(n), 1024)
    if shape <= 0.5 + min(_HEAVY_TAIL - 0.5, 2.2 / np.sqrt(max(size, 1.0))):
        return []
    what = "mean or variance" if shape > 0.8 else "variance"
    return [
        f"the values have a Pareto tail index of {shape:.2f}: their {what} may not exist, and "
        "no error bar can be trusted."
    ]


def one_row_rules(row: FloatArray) -> list[str]:
    """Judge whether a single draw holds most of what a control leaves of a value (n,)."""
    squares = (row - row.mean()) ** 2
    total = float(squares.sum())
    if total == 0 or squares.max() < _RULING * total:
        return []
    return [
        f"draw {int(squares.argmax())} holds {squares.max() / total:.0%} of what the control "
        "leaves: it explains all others closely and errs far out, and its error bar may be too "
        "small. Draw more, or choose a polynomial control."
    ]


def check_control_means(tally: Tally) -> None:
    """Raise ControlMeanError where a feature's sample mean contradicts its stated one."""
    if isinstance(tally, MomentTally) and (k := tally.features.n_stated):
        mean, error, size, df = tally.feature_means()
        unseen = 0.0 if tally.replicated else UNSEEN / tally.n
        check_feature_means(mean[:k], error[:k], size[:k], df, tally.n, unseen=unseen)


def check_feature_means(
    mean: FloatArray, error: FloatArray, size: FloatArray, df: float, n: int, *, unseen: float
) -> None:
    """Test features of expectation zero by their means, standard errors and sizes.

    A gap that a share `unseen` of further draws as large as the largest could close is no
    evidence: Student's t is far off for features with a long tail.
    """
    threshold = special.stdtrit(df, 1 - _CHANCE / (2 * len(mean)))
    # Nets integrate some features, and pairs cancel, to rounding: such gaps are not evidence.
    allowed = np.maximum(threshold * error, np.maximum(1e-9, unseen) * size)
    wrong = np.abs(mean) > allowed
    if wrong.any():
        j = int(wrong.argmax())
        raise ControlMeanError(
            f"feature {j} of the control has a sample mean {mean[j]:+.6g} away from its stated "
            f"mean, {abs(mean[j]) / max(error[j], 1e-300):.3g} standard errors over {n} draws. "
            "Either the stated mean is wrong or the draws miss where it is large."
        )


def disagreement(
    name: str, first: tuple[FloatArray, FloatArray], second: tuple[FloatArray, FloatArray]
) -> list[str]:
    """Compare (value, standard error) of a pilot with those of the estimate."""
    gap = np.abs(first[0] - second[0])
    error = np.hypot(first[1], second[1])
    far = gap > 5 * error
    if not far.any():
        return []
    worst = float(np.max(gap[far] / error[far]))
    return [f"{name} and the estimate differ by {worst:.1f} standard errors{_where(far)}."]


def _where(flags: BoolArray) -> str:
    if len(flags) == 1:
        return ""
    named = ", ".join(str(int(j)) for j in np.flatnonzero(flags)[:5])
    return f" in component {named}{', ...' if flags.sum() > 5 else ''}"
