"""One row for each method, component or parameter."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._checks import as_count, as_real_array
from mcvar._typing import FloatArray
from mcvar.plot.style import BLACK, BLUE, COLOURS, MARKERS, ORANGE, beside, log_scale, row_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BEYOND = 3.0  # times the largest finite gain: where gains without end are drawn


def compare(
    estimates: Mapping[str, Any],
    ax: "Axes | None" = None,
    *,
    reference: float | None = None,
    component: int = 0,
    level: float = 0.95,
    label: str = "estimate",
) -> "Axes":
    """Draw estimates of one quantity under one another, each with its interval.

    Half the width of each interval is written beside it: next to a wide one a narrow one is a dot.

    Parameters
    ----------
    estimates : mapping of str to result
        What ``mcvar.estimate``, ``sliced_wasserstein``, ``evidence``, ``estimate_jointly`` or a
        campaign returned: anything with ``value`` and ``confidence_interval(level)``.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    reference : float, optional
        The true value, where it is known.
    component : int
        Which of the m components (of the tasks) to draw.
    level : float
        Confidence level of the intervals.
    label : str
        What is estimated, with its unit: the label of the axis.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    TypeError
        No mapping, or values that are no estimates.
    ValueError
        No estimate at all, or a component that one does not have.

    Examples
    --------
    >>> import mcvar
    >>> def f(x):
    ...     return x[:, 0] ** 2
    >>> plain = mcvar.estimate(f, [(0, 1)], n=1024, sampler="montecarlo", control=None, rng=1)
    >>> ours = mcvar.estimate(f, [(0, 1)], n=1024, rng=1)
    >>> ax = mcvar.plot.compare({"plain": plain, "mcvar": ours}, reference=1 / 3)
    >>> [text.get_text() for text in ax.get_yticklabels()]
    ['plain', 'mcvar']
    """
    names, parts = _mapping("estimates", estimates), estimates.values()
    component = as_count("component", component, 0)
    ends = np.array(
        [_interval(name, est, component, level) for name, est in zip(names, parts, strict=True)]
    )
    suspect = np.array([getattr(est, "status", "") == "suspect" for est in parts])
    shown = [f"{name} (suspect)" if bad else name for name, bad in zip(names, suspect, strict=True)]
    ax = row_axes(ax, shown)
    texts = []
    for row, ((value, low, high), bad) in enumerate(zip(ends, suspect, strict=True)):
        bar = [[max(value - low, 0)], [max(high - value, 0)]]
        known = bool(np.isfinite(bar).all())
        ax.errorbar(
            value,
            row,
            xerr=bar if known else None,
            fmt="D" if bad else "o",
            color=ORANGE if bad else BLUE,
            ms=4,
            lw=2,
            capsize=4,
        )
        texts.append(f"± {(high - low) / 2:.2g}" if known else "no interval")
    beside(ax, texts)
    if reference is not None:
        ax.axvline(reference, color=BLACK, lw=1, ls="--", label=f"reference {reference:.6g}")
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    ax.locator_params(axis="x", nbins=5)
    # To the right there may be a power of ten, or what ticks leave out of a common value.
    ax.set_xlabel(f"{label}, {level:.0%} interval", loc="left")
    return ax


def gain(
    gains: Any,
    ax: "Axes | None" = None,
    *,
    names: Sequence[str] | None = None,
    label: str = "variance of plain Monte Carlo / variance",
) -> "Axes":
    """Draw how much the variance was reduced, on a logarithmic scale.

    Parameters
    ----------
    gains : result, array_like, or mapping of str to these
        Results with ``variance_reduction`` or, as posterior summaries have it, ``gain``; or the
        numbers themselves. Of a mapping to single numbers each has a row; of a mapping to k numbers
        (components, parameters, tasks) each is a series of k markers.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    names : sequence of str, length k, optional
        Names of the rows, where the results bring none.
    label : str
        Label of the axis.

    Returns
    -------
    matplotlib Axes
        Gains that are infinite (no error at all) or zero stand at the edges as arrows; those that
        are not known (NaN) have no marker.

    Raises
    ------
    TypeError
        What holds no gains.
    ValueError
        Negative gains, none at all, or another number of them in one series than in another.

    Examples
    --------
    >>> import mcvar
    >>> est = mcvar.estimate(lambda x: x**2, [(0, 1)] * 2, n=1024, rng=1)
    >>> ax = mcvar.plot.gain({"default": est, "by hand": [3.0, 40.0]}, names=["x²", "y²"])
    >>> ax.get_xscale(), [text.get_text() for text in ax.get_yticklabels()]
    ('log', ['x²', 'y²'])
    """
    series = dict(gains) if isinstance(gains, Mapping) else {"": gains}
    _mapping("gains", series)
    found = {name: _gains(name, part) for name, part in series.items()}
    lengths = {name: len(numbers) for name, numbers in found.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"expected as many gains in every series, got {lengths}.")
    k = next(iter(lengths.values()))
    if k == 1 and names is None:
        # One number each: methods under one another, rather than markers in one row.
        names, found = list(found), {"": np.concatenate(list(found.values()))}
        k = len(names)
    if names is None:
        brought = next((part.names for part in series.values() if hasattr(part, "names")), None)
        names = [f"component {j}" for j in range(k)] if brought is None else brought
    names = [str(name) for name in names]
    if len(names) != k:
        raise ValueError(f"names must have a name for each of {k} rows, got {len(names)}.")
    ax = row_axes(ax, names)
    _draw_gains(ax, found)
    ax.axvline(1, color="0.5", lw=1, zorder=0)
    ax.set_xlabel(label)
    if len(found) > 1:
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def _draw_gains(ax: "Axes", found: dict[str, FloatArray]) -> None:
    """Draw series of k gains, as markers on lines that start at 1."""
    together = np.concatenate(list(found.values()))
    positive = together[np.isfinite(together) & (together > 0)]
    least, most = min([1.0, *positive]), max([1.0, *positive])
    edges = least / _BEYOND, most * _BEYOND
    lanes = np.linspace(-0.22, 0.22, len(found)) if len(found) > 1 else [0.0]
    for s, ((name, numbers), lane) in enumerate(zip(found.items(), lanes, strict=True)):
        colour, marker = COLOURS[s % len(COLOURS)], MARKERS[s % len(MARKERS)]
        row = np.arange(len(numbers)) + lane
        inside = np.isfinite(numbers) & (numbers > 0)
        ax.plot(numbers[inside], row[inside], marker, color=colour, ms=5, label=name)
        places = np.clip(numbers, *edges)
        ax.hlines(row, 1, places, color=colour, lw=1, alpha=0.5)
        for beyond, edge, arrow in ((numbers == np.inf, 1, ">"), (numbers == 0, 0, "<")):
            x = np.full(int(beyond.sum()), edges[edge])
            if beyond.any():
                ax.plot(x, row[beyond], arrow, color=colour, ms=7)
    if len(found) == 1:
        beside(ax, [_times(number) for number in together])
    log_scale(ax, *edges)
    ax.set_xlim(edges[0], edges[1] * 1.2)


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

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        Arrays of other lengths than `names`, or no row at all.

    Examples
    --------
    >>> from mcvar import plot
    >>> ax = plot.forest(["mu", "log tau"], [0.02, -0.01], [0.06, 0.08], [0.01, 0.03])
    >>> ax.get_xlabel()
    'error of the posterior mean / posterior sd'
    """
    k = len(names)
    shapes = {
        name: np.shape(column)
        for name, column in {
            "plain": plain,
            "plain_half": plain_half,
            "controlled_half": controlled_half,
        }.items()
    }
    if k == 0 or set(shapes.values()) != {(k,)}:
        raise ValueError(f"expected arrays of shape (k,) for {k} names, got {shapes}.")
    ax = row_axes(ax, list(names))
    row = np.arange(k)
    ax.errorbar(
        plain,
        row - 0.15,
        xerr=plain_half,
        fmt="o",
        ms=3,
        color=ORANGE,
        lw=1.2,
        label=f"plain mean, {level:.0%} interval",
    )
    ax.errorbar(
        np.zeros(k),
        row + 0.15,
        xerr=controlled_half,
        fmt="D",
        ms=3,
        color=BLUE,
        lw=2.2,
        label=f"with control, {level:.0%} interval",
    )
    ax.set_xlabel("error of the posterior mean / posterior sd")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def _mapping(kind: str, parts: Any) -> list[str]:
    """Return the names of a mapping that has some."""
    if not isinstance(parts, Mapping):
        raise TypeError(f"{kind} must be a mapping {{name: result}}, got {type(parts).__name__}.")
    if not parts:
        raise ValueError(f"{kind} must hold one result at least, got none.")
    return [str(name) for name in parts]


def _interval(name: str, est: Any, component: int, level: float) -> tuple[float, float, float]:
    """Return value and limits of one component."""
    if not (hasattr(est, "value") and hasattr(est, "confidence_interval")):
        raise TypeError(
            f"{name!r} must be a result with value and confidence_interval(), got {est!r}."
        )
    parts = [np.atleast_1d(part) for part in (est.value, *est.confidence_interval(level))]
    m = len(parts[0])
    if component >= m:
        raise ValueError(f"component must be below {m}, the number {name!r} has, got {component}.")
    value, low, high = (float(part[component]) for part in parts)
    return value, low, high


def _gains(name: str, part: Any) -> FloatArray:
    """Return the gains (k,) that a result, or an array, holds."""
    where = f"gains of {name!r}" if name else "gains"
    for attribute in ("gain", "variance_reduction"):
        part = getattr(part, attribute, part)
    numbers = np.atleast_1d(as_real_array(where, part))
    if numbers.ndim != 1 or len(numbers) == 0:
        raise ValueError(f"{where} must have shape (k,) with k >= 1, got {numbers.shape}.")
    if (numbers < 0).any():
        raise ValueError(f"{where} must not be negative, got {numbers.min()}.")
    return numbers


def _times(number: float) -> str:
    """Write a gain: 0.98x, 12x, 34,000x, 2.1e+09x.

    >>> [_times(number) for number in (0.98, 12.34, 34_123.0, 2.1e9, np.inf, np.nan)]
    ['0.98x', '12x', '34,000x', '2.1e+09x', 'no error', 'not known']
    """
    if not np.isfinite(number):
        return "not known" if np.isnan(number) else "no error"
    if number >= 1e6:
        return f"{number:.2g}x"
    return f"{float(f'{number:.2g}'):,.10g}x"
