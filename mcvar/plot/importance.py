"""Importance weights: who carries the estimate."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._checks import as_finite_array
from mcvar._pareto import pareto_tail
from mcvar.plot.style import BLUE, GREEN, ORANGE, axes, log_scale, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST = 1e-4  # of the mean weight: what is less carries nothing, and would stretch the axis
_MOST = 2_000  # markers: of more weights, ranks evenly spaced on the logarithmic axis are drawn


def weights(weights: Any, ax: "Axes | None" = None) -> "Axes":
    """Draw importance weights in order of size, with their Pareto tail and effective sample size.

    Both axes are logarithmic, so that the fitted tail's slope is its index k: beyond 1/2 weights
    have no variance, beyond 0.7 the estimate is not to be trusted (Vehtari et al. 2024). The
    effective sample size is (Σw)²/Σw².

    Parameters
    ----------
    weights : array_like, shape (n,), or Draws
        Weights, up to a factor; or what has them as ``weights``.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib Axes
        Weights below a ten-thousandth of the mean, zeros too, are left out; the label of the axis
        counts them.

    Raises
    ------
    TypeError
        Draws without weights.
    ValueError
        Weights that are negative, not finite, or all zero.

    References
    ----------
    Vehtari, Simpson, Gelman, Yao & Gabry, "Pareto smoothed importance sampling", JMLR 25 (2024).

    Examples
    --------
    >>> import numpy as np, scipy.stats, mcvar
    >>> x = scipy.stats.t(5).rvs(1000, random_state=1)
    >>> w = np.exp(scipy.stats.norm.logpdf(x) - scipy.stats.t(5).logpdf(x))
    >>> ax = mcvar.plot.weights(w)
    >>> ax.get_title()
    'effective sample size 966 of 1,000'
    """
    if hasattr(weights, "weights"):
        weights = weights.weights
        if weights is None:
            raise TypeError("these draws have no weights: all count the same.")
    array = as_finite_array("weights", weights)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"weights must have shape (n,) with n >= 1, got {array.shape}.")
    if (array < 0).any():
        raise ValueError(f"weights must not be negative, got {array.min()}.")
    if not array.any():
        raise ValueError("all weights are zero; no draw carries information on the target.")
    n = len(array)
    array = array / array.max()  # so that squares neither overflow nor vanish
    size = array.sum() ** 2 / (array**2).sum()
    tail = pareto_tail(array, n)
    mean = array.mean()
    ordered = np.sort(array[array > _LEAST * mean])[::-1] / mean
    rank = np.unique(np.geomspace(1, len(ordered), _MOST).round().astype(int))
    ax = axes(ax, figsize=(5.5, 3.6))
    ax.plot(rank, ordered[rank - 1], ".", ms=4, color=BLUE, label="weights")
    if tail.size:
        inside = rank[rank <= tail.size]
        fitted = tail.quantile((inside - 0.5) / tail.size) / mean
        label = f"Pareto tail, k = {tail.shape:.2f}"
        ax.plot(inside, fitted, color=ORANGE, lw=2, label=label)
    ax.axvline(size, color=GREEN, lw=1, ls="--", label="effective sample size")
    below = n - len(ordered)
    lost = f" ({below:,} of {n:,} lie below the axis)" if below else ""
    log_scale(ax, 1, n)
    ax.set(
        yscale="log",
        xlim=(0.8, 1.25 * n),
        xlabel=f"rank of the weight{lost}",
        ylabel="weight / mean weight",
        title=f"effective sample size {size:,.0f} of {n:,}",
    )
    ax.legend(frameon=False, loc="lower left")
    return tidy(ax)
