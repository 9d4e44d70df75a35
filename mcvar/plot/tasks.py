"""What tasks have in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mcvar._checks import as_finite_array, import_extra
from mcvar._typing import FloatArray
from mcvar.plot.style import BLUE, ORANGE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WRITTEN = 8  # tasks up to which the numbers are written into their cells
_LABELS = 16  # along a side: with more, only some tasks carry theirs
_UPRIGHT = 4  # letters of a label that needs no turning


def correlations(
    covariance: FloatArray, ax: "Axes | None" = None, *, names: Sequence[str] | None = None
) -> "Axes":
    """Draw a covariance between tasks as correlations, from blue (-1) over white to orange (1).

    Parameters
    ----------
    covariance : array_like, shape (T, T)
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    names : sequence of str, length T, optional
        Names of the tasks; their numbers by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        A matrix that is not square, or another number of names.

    Examples
    --------
    >>> from mcvar import plot
    >>> ax = plot.correlations([[4.0, 1.0], [1.0, 1.0]], names=["crude", "fine"])
    >>> float(ax.images[0].get_array()[0, 1])
    0.5
    """
    covariance = as_finite_array("covariance", covariance)
    size = len(covariance) if covariance.ndim else 0
    if covariance.shape != (size, size) or size == 0:
        raise ValueError(f"covariance must have shape (T, T), got {covariance.shape}.")
    labels = [str(t) for t in range(size)] if names is None else [str(name) for name in names]
    if len(labels) != size:
        raise ValueError(f"names must have a name for each of {size} tasks, got {len(labels)}.")
    colors = import_extra("matplotlib.colors", "plot")
    ax = axes(ax, figsize=(4.8, 4.0))
    spread = np.sqrt(np.maximum(np.diagonal(covariance), 0))
    scale = np.outer(spread, spread)
    shown = np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0)
    ramp = colors.LinearSegmentedColormap.from_list("correlations", [BLUE, "white", ORANGE])
    image = ax.imshow(shown, cmap=ramp, vmin=-1, vmax=1)
    every = -(-size // _LABELS)
    ticks = np.arange(0, size, every)
    turned = 90 if max(map(len, labels)) > _UPRIGHT else 0
    ax.set_xticks(ticks, labels[::every], rotation=turned)
    ax.set_yticks(ticks, labels[::every])
    if size <= _WRITTEN:
        for row, column in np.ndindex(size, size):
            text = f"{shown[row, column]:.2f}"
            ax.text(column, row, text, ha="center", va="center", fontsize=8)
    ax.set(xlabel="task", ylabel="task")
    ax.figure.colorbar(image, ax=ax, label="correlation")
    return ax
