"""When to look at a running estimate, and when to stop."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcvar._checks import as_finite_array
from mcvar._typing import FloatArray
from mcvar.integrate.analyse import Analysis
from mcvar.result import Look, interval_widths
from mcvar.samplers import CHUNK, Plan, Sampler

DEFAULT_N = 65_536
DEFAULT_MAX_N = 2**24
_LEVEL = 0.95
_FIRST = {True: 64, False: 1024}  # draws a replicate, or independent draws, at the first look
_HISTORY = 4  # doublings shown by plot() when there is no tolerance
_LONG = 2**13  # draws of a run that is worth so many looks


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

    def met(self, found: Analysis, history: list[Look], looks: list[Plan]) -> bool:
        """Whether the error is within the tolerance, in every component."""
        return bool((self._shortfall(found, len(history), len(looks)) <= 1).all())

    def missed(self, found: Analysis, n: int, looks: list[Plan]) -> str:
        """By how much the tolerance was missed after n evaluations, in prose."""
        shortfall = self._shortfall(found, len(looks), len(looks))
        worst = int(np.argmax(shortfall))
        which = "" if np.size(shortfall) == 1 else f" in component {worst}"
        if not np.isfinite(shortfall[worst]):
            return (
                f"no spread was seen{which} in {n} evaluations, so no standard error can be given."
            )
        return (
            f"after {n} evaluations the error is {shortfall[worst]:.3g} times the tolerance"
            f"{which}; raise max_n."
        )

    def _shortfall(self, found: Analysis, looked: int, looks: int) -> FloatArray:
        """Half-width over tolerance, (m,): at most 1 where the tolerance is met."""
        combined = found.combined
        value = combined.mean
        for name, tolerance in (("rtol", self.rtol), ("atol", self.atol)):
            if tolerance.ndim and tolerance.shape != value.shape:
                raise ValueError(
                    f"{name} has shape {tolerance.shape}; expected a scalar or {value.shape}, "
                    "one per component."
                )
        allowed = np.maximum(self.atol, self.rtol * np.abs(value))
        level = 1 - (1 - _LEVEL) / looks
        half = np.maximum(
            *interval_widths(np.sqrt(combined.variance), combined.df, level, combined.skewness)
        )
        varies = found.independent_variance > 0
        # A constant is believed at the second look; zero, which is what a function returns wherever
        # its support is missed, is not.
        exact = (half == 0) & (varies | ((value != 0) & (looked > 1)))
        unproven = ~exact & ((half == 0) | (allowed == 0))
        with np.errstate(over="ignore"):  # a tolerance near zero may be missed by any factor
            ratio = half / np.where(allowed > 0, allowed, 1.0)
        return np.where(unproven, np.inf, np.where(exact, 0.0, ratio))


def schedule(sampler: Sampler, n: int, *, tolerance: bool, limited: bool = False) -> list[Plan]:
    """Growing plans after each of which the estimate is looked at.

    The first looks come early where the run may end at any of them: with a tolerance, or with
    `limited` time.
    """
    if sampler.extensible:
        final = sampler.plan(n)
        early = tolerance or limited
        doublings = _HISTORY if final.n >= _LONG else 1
        first = _FIRST[sampler.replicated] if early else final.size >> doublings
        first = max(first, _FIRST[sampler.replicated] // 4)
        # Half-size replicates are part of the error bar: there is a look at them.
        first = min(first, max(final.size // 2, 1))
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
