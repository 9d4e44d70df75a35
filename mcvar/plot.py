"""Pictures of results, from plain arrays (extra ``plot``)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._checks import import_extra
from mcvar._typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Blue and orange of Okabe & Ito (2008): told apart by every kind of colour vision.
_BLUE, _ORANGE = "#0072B2", "#D55E00"


def axes(ax: "Axes | None", **figure: Any) -> "Axes":
    """Return `ax`, or the axes of a new figure.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import mcvar
    >>> ax = mcvar.plot.axes(None, figsize=(3, 2))
    >>> mcvar.plot.axes(ax) is ax
    True
    """
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

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np, mcvar
    >>> n, value = np.array([100, 400, 1600]), np.array([1.1, 1.04, 1.01])
    >>> ax = mcvar.plot.convergence(n, value, value - 1 / np.sqrt(n), value + 1 / np.sqrt(n))
    >>> ax.get_xlabel()
    'evaluations of the integrand'
    """
    ax = axes(ax, figsize=(5.5, 3.5))
    ax.fill_between(n, low, high, color=_BLUE, alpha=0.25, lw=0, label=f"{level:.0%} interval")
    ax.plot(n, value, "o-", color=_BLUE, ms=4, label="estimate")
    ax.axhline(value[-1], color=_ORANGE, lw=1, ls="--", label="final value")
    ax.set(xscale="log", xlabel="evaluations of the integrand", ylabel="estimate")
    ax.legend(frameon=False)
    return ax


def forest(
    names: Sequence[str],
    plain: FloatArray,
    plain_half: FloatArray,
    controlled_half: FloatArray,
    ax: "Axes | None" = None,
    *,
    level: float = 0.95,
) -> "Axes":
    """Draw plain and controlled intervals of k means, about the controlled means.

    Parameters
    ----------
    names : sequence of str, length k
    plain : ndarray, shape (k,)
        Plain minus controlled mean, in posterior standard deviations.
    plain_half, controlled_half : ndarray, shape (k,)
        Half-widths of the intervals, in posterior standard deviations.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    level : float
        Confidence level, for the legend.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np, mcvar
    >>> ax = mcvar.plot.forest(["mu", "tau"], np.array([0.02, -0.05]), np.array([0.06, 0.07]),
    ...                        np.array([0.002, 0.03]))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['mu', 'tau']
    """
    k = len(names)
    ax = axes(ax, figsize=(6.0, 1.2 + 0.28 * k))
    row = np.arange(k)
    ax.errorbar(
        plain,
        row - 0.15,
        xerr=plain_half,
        fmt="o",
        ms=3,
        color=_ORANGE,
        lw=1.2,
        label=f"plain mean, {level:.0%} interval",
    )
    ax.errorbar(
        np.zeros(k),
        row + 0.15,
        xerr=controlled_half,
        fmt="o",
        ms=3,
        color=_BLUE,
        lw=2.2,
        label=f"with control, {level:.0%} interval",
    )
    ax.set_yticks(row, list(names))
    ax.set(ylim=(k - 0.4, -0.6), xlabel="error of the posterior mean / posterior sd")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def correlations(
    covariance: FloatArray, ax: "Axes | None" = None, *, names: Sequence[str] | None = None
) -> "Axes":
    """Draw a covariance between tasks as correlations, from blue (-1) over white to orange (1).

    Parameters
    ----------
    covariance : ndarray, shape (T, T)
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    names : sequence of str, length T, optional
        Names of the tasks; their numbers by default.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> import numpy as np, mcvar
    >>> ax = mcvar.plot.correlations(np.array([[1.0, 0.9], [0.9, 1.0]]), names=["crude", "fine"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['crude', 'fine']
    """
    colors = import_extra("matplotlib.colors", "plot")
    ax = axes(ax, figsize=(4.2, 3.6))
    spread = np.sqrt(np.diagonal(covariance))
    scale = np.outer(spread, spread)
    shown = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    ramp = colors.LinearSegmentedColormap.from_list("correlations", [_BLUE, "white", _ORANGE])
    image = ax.imshow(shown, cmap=ramp, vmin=-1, vmax=1)
    ticks = np.arange(len(covariance))
    labels = [str(t) for t in ticks] if names is None else list(names)
    ax.set_xticks(ticks, labels)
    ax.set_yticks(ticks, labels)
    ax.set(xlabel="task", ylabel="task")
    ax.figure.colorbar(image, ax=ax, label="correlation")
    return ax
