"""SlicedWasserstein: the distance, frozen, with its error bar."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._typing import FloatArray
from mcvar.plot.style import BLUE, ORANGE, axes, tidy
from mcvar.result import ConfidenceInterval, Estimate, Status, concise

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False, eq=False, kw_only=True)
class SlicedWasserstein:
    """A sliced Wasserstein distance with an error bar.

    Attributes
    ----------
    power : Estimate
        Unbiased estimate of SW_p^p, the average of W_p^p over directions.
    p : float
        Exponent.
    directions : ndarray, shape (n, d)
        Directions at which the clouds were compared.
    contributions : ndarray, shape (n,)
        W_p^p along each of them.
    design : str
        How the directions were made.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(1)
    >>> x, y = rng.normal(size=(300, 3)), rng.normal(1.0, 1.0, size=(300, 3))
    >>> est = mcvar.sliced_wasserstein(x, y, rng=1)
    >>> bool(np.isclose(est.value, est.power.value ** (1 / est.p)))
    True
    >>> est.directions.shape == (est.n, 3), est.contributions.shape == (est.n,)
    (True, True)
    """

    power: Estimate
    p: float
    directions: FloatArray
    contributions: FloatArray
    design: str

    def __post_init__(self) -> None:
        self.directions.flags.writeable = False
        self.contributions.flags.writeable = False

    @property
    def value(self) -> float:
        """The distance SW_p: the p-th root of `power`, zero where rounding made that negative."""
        return float(max(self.power.value, 0.0) ** (1 / self.p))

    @property
    def standard_error(self) -> float:
        """Standard error of `value`, by the delta method; infinite where the slope is."""
        error = float(self.power.standard_error)
        if error == 0 or self.p == 1:
            return error
        if self.value == 0:
            return float("inf")
        return error * self.value / (self.p * float(self.power.value))

    @property
    def variance_reduction(self) -> float:
        """Variance of plain Monte Carlo with as many directions over that of `power`."""
        return float(self.power.variance_reduction)

    @property
    def n(self) -> int:
        """Number of directions."""
        return self.power.n

    @property
    def status(self) -> Status:
        """ "completed", "converged", "budget" or "suspect", as in `mcvar.Estimate`."""
        return self.power.status

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is behind `status`, in prose."""
        return self.power.reasons

    def confidence_interval(self, level: float = 0.95) -> ConfidenceInterval[float]:
        """Return the interval for SW_p: the roots of the limits for SW_p^p.

        Parameters
        ----------
        level : float
            Confidence level in (0, 1).
        """
        low, high = self.power.confidence_interval(level)
        root = 1 / self.p
        return ConfidenceInterval(max(float(low), 0.0) ** root, max(float(high), 0.0) ** root)

    def __float__(self) -> float:
        """The distance, for code that wants a number."""
        return self.value

    def plot(self, ax: "Axes | None" = None, *, level: float = 0.95) -> "Axes":
        """Draw the contributions of the directions in order of size, with the estimate.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        level : float
            Confidence level of the band.
        """
        ax = axes(ax, figsize=(5.5, 3.5))
        power = f"W_{{{self.p:g}}}^{{{self.p:g}}}"
        ax.plot(np.sort(self.contributions), ".", color=BLUE, label="one direction")
        low, high = self.power.confidence_interval(level)
        mean = f"$S{power}$ = {self.power.value:.4g} ± {(high - low) / 2:.2g}"
        ax.axhline(self.power.value, color=ORANGE, lw=1, label=mean)
        ax.axhspan(low, high, color=ORANGE, alpha=0.25, lw=0, label=f"{level:.0%} interval")
        ax.set(xlabel="directions, in order of size", ylabel=f"${power}$ along a direction")
        ax.legend(frameon=False)
        return tidy(ax)

    def __repr__(self) -> str:
        parts = [concise(self.value, self.standard_error), f"p={self.p:g}", f"n={self.n}"]
        if np.isfinite(self.variance_reduction):
            parts.append(f"{self.variance_reduction:.3g}x plain Monte Carlo")
        parts.append(self.status)
        head = f"SlicedWasserstein({', '.join(parts)})"
        return "\n".join([head, *(f"  {reason}" for reason in self.reasons)])


def assemble(
    power: dict[str, Any], p: float, directions: FloatArray, contributions: FloatArray, design: str
) -> SlicedWasserstein:
    """Build the result from the fields of its `Estimate`."""
    return SlicedWasserstein(
        power=Estimate(sampler=design, **power),
        p=p,
        directions=directions,
        contributions=contributions,
        design=design,
    )
