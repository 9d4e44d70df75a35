"""Reading what users pass as a control; choosing and training one on draws spent for that."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.integrate import combine
from mcvar.integrate.crossfit import check_regressor
from mcvar.integrate.features import ZeroMeanFeatures, is_linear
from mcvar.integrate.moment_tally import MomentTally
from mcvar.samplers import CHUNK, Sampler
from mcvar.targets import Target
from mcvar.targets.basis import n_total_degree

if TYPE_CHECKING:
    from mcvar.control import LinearControl, Polynomial

_DEGREES = (1, 2, 3, 4)
_PILOT_SHARE = 16  # auto spends one evaluation in 16 on choosing
_LEAST_PILOT = 128
_FOLDS = 5
_WORTHWHILE = 0.95  # variance ratio below which a control is taken
_DRAWS_PER_FEATURE = 20


@dataclass(frozen=True)
class Pilot:
    """Draws spent on choosing, and the integrand there: x (n, d), unweighted values (n, m)."""

    draws: Draws
    values: FloatArray


def read_control(control: Any, target: Target) -> Any:
    """Return "auto", None, a linear control in the target's terms, or a regressor."""
    if control is None:
        return None
    if isinstance(control, str) and control == "auto":
        return control
    if is_linear(control):
        return control.for_target(target)
    check_regressor(control)
    if hasattr(control, "for_target"):
        control = control.for_target(target)
    if not target.weights_average_one:
        raise TypeError(
            "a regressor's mean_ is an expectation, but a box with an infinite side is not a law; "
            "use KnownMean, or a distribution as the target."
        )
    return control


def train_control(
    control: Any,
    sampler: Sampler,
    target: Target,
    function: Callable[[Draws, str], FloatArray],
    n: int,
    seed: np.random.SeedSequence,
) -> tuple[Any, Pilot | None]:
    """Choose or train the control on a pilot of its own; return it with the pilot."""
    if is_linear(control):
        control = control.for_target(target)
    size = _pilot_size(control, sampler, target, n)
    if size == 0:
        return (None if isinstance(control, str) else control), None
    draws = sampler.open(target, size, seed)(0, size)
    pilot = Pilot(draws, function(draws, "pilot draws"))
    if is_linear(control):
        return control.trained(draws.x, pilot.values), pilot
    return _choose_polynomial(pilot, sampler, target, n - size), pilot


def _pilot_size(control: Any, sampler: Sampler, target: Target, n: int) -> int:
    """Evaluations to spend on choosing or training the control; 0 for none."""
    if is_linear(control) and control.needs_training:
        if n < 2 * _LEAST_PILOT:
            raise ValueError(
                f"n={n} is too small to train {control.describe()}; expected n >= "
                f"{2 * _LEAST_PILOT} after what the sampler's own training takes."
            )
        size = min(max(n // 8, _LEAST_PILOT), CHUNK)
        return size - size % sampler.unit
    if control != "auto" or sampler.replicated or target.basis() is None:
        return 0
    size = min(n // _PILOT_SHARE, CHUNK)
    size -= size % sampler.unit
    return size if size >= _LEAST_PILOT else 0


def _choose_polynomial(
    pilot: Pilot, sampler: Sampler, target: Target, n: int
) -> "Polynomial | None":
    """Return the polynomial control with the least out-of-fold variance, or None.

    Parameters
    ----------
    pilot : Pilot
        Draws made by `sampler` that the estimate will not use.
    n : int
        Draws that the estimate will use.
    """
    from mcvar.control import Polynomial

    best, least = None, np.log(_WORTHWHILE)
    plain = _log_variance(None, pilot, sampler, target)
    for degree in _DEGREES:
        k = n_total_degree(target.ndim, degree)
        if k * _DRAWS_PER_FEATURE > n or k * 4 > pilot.draws.n // sampler.unit:
            break
        control = Polynomial(degree).for_target(target)
        with np.errstate(invalid="ignore"):
            gain = _log_variance(control, pilot, sampler, target) - plain
        finite = gain[np.isfinite(gain)]
        score = float(finite.mean()) if len(finite) else 0.0
        if score < least:
            best, least = control, score
    return best


def _log_variance(
    control: "LinearControl | None", pilot: Pilot, sampler: Sampler, target: Target
) -> FloatArray:
    tally = MomentTally(
        ZeroMeanFeatures(control, target),
        target,
        replicated=False,
        unit=sampler.unit,
        folds=_FOLDS,
        covariance=False,
    )
    tally.add(0, pilot.draws, pilot.values)
    combined: combine.Combined = tally.estimate()[0]
    with np.errstate(divide="ignore"):
        return np.log(combined.variance)


def check_enough(control: Any, n: int, sampler: Sampler, folds: int) -> None:
    """Refuse fewer independent draws than folds and features need."""
    if control is None or sampler.replicated:
        return
    units = n // sampler.unit
    if folds > 1 and units < 2 * folds:
        raise ValueError(
            f"{units} independent draws are too few for {folds} folds; "
            f"expected at least {2 * folds}."
        )
    k = getattr(control, "n_features", 0)
    if k >= units * (folds - 1) / max(folds, 2) - 1:
        raise ValueError(
            f"{units} independent draws are too few for a control with {k} features; draw more, "
            "lower the degree, or use penalty='lasso'."
        )


def describe(control: Any, folds: int) -> str:
    """Say in a few words which control was used, and how it was fitted."""
    if control is None:
        return "none"
    text = control.describe() if hasattr(control, "describe") else repr(control)
    return f"{text}, fitted on the draws it corrects (folds=1)" if folds == 1 else text
