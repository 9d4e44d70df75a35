"""When to look at a running estimate, and when to stop."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcvar._checks import as_finite_array
from mcvar._typing import BoolArray, FloatArray
from mcvar.result import half_width
from mcvar.samplers import CHUNK, Plan, Sampler

DEFAULT_N = 65_536
DEFAULT_MAX_N = 2**24
_LEVEL = 0.95
_FIRST = {True: 64, False: 1024}  # draws a replicate, or independent draws, at the first look
_HISTORY = 4  # doublings shown by plot() when there is no tolerance


@dataclass(frozen=True)
class Tolerance:
    """Largest acceptable error: max(atol, rtol |value|), per component.

    The rule looks at doubling numbers of draws. Each look uses an interval of level
    1 − 0.05/looks (Bonferroni), so that the chance that any of them stops too early is at most
    5 %, however often it looks.
    """

    rtol: FloatArray
    atol: FloatArray

    @classmethod
    def read(cls, rtol: Any, atol: Any) -> "Tolerance | None":
        """Return the tolerance, or None where neither is given."""
        if rtol is None and atol is None:
            return None
        relative = as_finite_array("rtol", 0.0 if rtol is None else rtol)
        absolute = as_finite_array("atol", 0.0 if atol is None else atol)
        for name, tolerance in (("rtol", relative), ("atol", absolute)):
            if (tolerance < 0).any():
                raise ValueError(f"{name} must not be negative, got {tolerance}.")
        if not ((relative > 0) | (absolute > 0)).all():
            raise ValueError("rtol and atol are both zero; at least one must be positive.")
        return cls(relative, absolute)

    def shortfall(
        self,
        value: FloatArray,
        standard_error: FloatArray,
        df: float,
        looks: int,
        varies: BoolArray,
    ) -> FloatArray:
        """Half-width over tolerance, per component: at most 1 where the tolerance is met.

        `varies` says whether the integrand took more than one value.
        """
        for name, tolerance in (("rtol", self.rtol), ("atol", self.atol)):
            if tolerance.ndim and tolerance.shape != value.shape:
                raise ValueError(
                    f"{name} has shape {tolerance.shape}; expected a scalar or {value.shape}, "
                    "one per component."
                )
        goal = np.maximum(self.atol, self.rtol * np.abs(value))
        half = half_width(standard_error, df, 1 - (1 - _LEVEL) / looks)
        # An integrand that was constant so far proves nothing: a peak may have been missed.
        met = (half == 0) & varies
        unproven = ~met & ((half == 0) | (goal == 0))
        with np.errstate(over="ignore"):  # a goal near zero may be missed by any factor
            ratio = half / np.where(goal > 0, goal, 1.0)
        return np.where(unproven, np.inf, np.where(met, 0.0, ratio))


def schedule(sampler: Sampler, n: int, *, tolerance: bool, limited: bool = False) -> list[Plan]:
    """Return the growing plans after each of which the estimate is looked at.

    The first looks come early where the run may end at any of them: with a tolerance, or with
    `limited` time.
    """
    if sampler.extensible:
        final = sampler.plan(n)
        early = tolerance or limited
        first = _FIRST[sampler.replicated] if early else final.size >> _HISTORY
        first = max(first, _FIRST[sampler.replicated] // 4)
        # Blocks end at powers of two: none is cut in two by a look.
        sizes = _doublings(1 << (first.bit_length() - 1), final.size, sampler.unit)
        return [Plan(final.replicates, size) for size in sizes]
    # Replicates of a fixed size are added; with a tolerance they start small.
    small = sampler.plan(min(n, CHUNK) if tolerance else n)
    most = n // small.size
    first = small.replicates if tolerance else most >> _HISTORY
    return [Plan(r, small.size) for r in _doublings(max(first, 8), most, 1)]


def _doublings(first: int, last: int, unit: int) -> list[int]:
    sizes = []
    size = min(first, last)
    while size < last:
        sizes.append(size - size % unit)
        size *= 2
    return [*sizes, last]
