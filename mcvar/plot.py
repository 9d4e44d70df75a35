"""Pictures of results, from plain arrays (extra ``plot``)."""

from typing import TYPE_CHECKING, Any

from mcvar._checks import import_extra
from mcvar._typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Blue and orange of Okabe & Ito (2008): told apart by every kind of colour vision.
_BLUE, _ORANGE = "#0072B2", "#D55E00"


def axes(ax: "Axes | None", **figure: Any) -> "Axes":
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        return ax
    pyplot = import_extra("matplotlib.pyplot", "plot")
    made: Axes = pyplot.subplots(layout="constrained", **figure)[1]
    return made


def convergence(
    n: FloatArray,
    value: FloatArray,
    low: FloatArray,
    high: FloatArray,
    ax: "Axes | None" = None,
    *,
    level: float = 0.95,
) -> "Axes":
    """Draw estimates and their intervals against the number of evaluations.

    Parameters
    ----------
    n, value, low, high : array_like, shape (looks,)
        Evaluations, estimates and interval limits.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    level : float
        Confidence level, for the legend.
    """
    ax = axes(ax, figsize=(5.5, 3.5))
    ax.fill_between(n, low, high, color=_BLUE, alpha=0.25, lw=0, label=f"{level:.0%} interval")
    ax.plot(n, value, "o-", color=_BLUE, ms=4, label="estimate")
    ax.axhline(value[-1], color=_ORANGE, lw=1, ls="--", label="final value")
    ax.set(xscale="log", xlabel="evaluations of the integrand", ylabel="estimate")
    ax.legend(frameon=False)
    return ax
