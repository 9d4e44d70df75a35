"""Estimates as they come in."""

from typing import TYPE_CHECKING

from mcvar._checks import as_real_array
from mcvar._typing import FloatArray
from mcvar.plot.style import BLUE, ORANGE, axes, log_scale, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        Arrays of different lengths, or empty ones.

    Examples
    --------
    >>> from mcvar import plot
    >>> ax = plot.convergence([100, 200, 400], [3.2, 3.0, 3.1], [2.8, 2.7, 2.9], [3.6, 3.3, 3.3])
    >>> ax.get_xlabel()
    'evaluations of the integrand'
    """
    columns = {
        name: as_real_array(name, column)
        for name, column in {"n": n, "value": value, "low": low, "high": high}.items()
    }
    shapes = {name: column.shape for name, column in columns.items()}
    if len(set(shapes.values())) > 1 or len(shapes["n"]) != 1 or shapes["n"] == (0,):
        raise ValueError(f"expected four arrays of one shape (looks,), got {shapes}.")
    n, value, low, high = columns.values()
    ax = axes(ax, figsize=(5.5, 3.5))
    if len(n) > 1:
        ax.fill_between(n, low, high, color=BLUE, alpha=0.25, lw=0, label=f"{level:.0%} interval")
    else:  # a band of no width would not be seen
        ax.vlines(n, low, high, color=BLUE, alpha=0.5, label=f"{level:.0%} interval")
    ax.plot(n, value, "o-", color=BLUE, ms=4, label="estimate")
    ax.axhline(value[-1], color=ORANGE, lw=1, ls="--", label="final value")
    if n.min() > 0:
        log_scale(ax, n.min(), n.max())
    ax.set(xlabel="evaluations of the integrand", ylabel="estimate")
    ax.legend(frameon=False)
    return tidy(ax)
