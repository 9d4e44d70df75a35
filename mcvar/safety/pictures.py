"""Pictures of a campaign (extra ``plot``), as SVG for its report."""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._checks import import_extra
from mcvar._typing import FloatArray
from mcvar.plot import convergence
from mcvar.plot.style import BLUE, COLOURS, ORANGE, axes
from mcvar.safety.batch import Record
from mcvar.safety.rate import CrashRate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_CURVES = 4


def rate_over_scenarios(
    history: Sequence[tuple[int, CrashRate]], level: float, ax: "Axes | None" = None
) -> "Axes":
    """Draw the rate and its interval against the number of scenarios."""
    shown = [(n, rate) for n, rate in history if rate.value > 0] or list(history)
    limits = np.array([rate.confidence_interval(level) for _, rate in shown])
    n = np.array([n for n, _ in shown], dtype=float)
    value = np.array([rate.value for _, rate in shown])
    ax = axes(ax, figsize=(6.0, 3.4))
    convergence(n, value, limits[:, 0], limits[:, 1], ax, level=level)
    # What is still to come dwarfs the beginning's intervals, which say little.
    ax.set(
        xlabel="scenarios averaged",
        ylabel="crash rate per scenario",
        ylim=(0, min(3 * value[-1], 1.15 * limits[:, 1].max()) if value[-1] > 0 else None),
    )
    return ax


def weight_concentration(contributions: FloatArray) -> str:
    """Draw the share of the rate that the largest contributions make up."""
    sizes = np.sort(contributions[contributions > 0])[::-1]
    ax = axes(None, figsize=(6.0, 3.0))
    if len(sizes):
        share = np.cumsum(sizes) / sizes.sum()
        rank = np.arange(1, len(sizes) + 1)
        ax.plot(rank, share, color=BLUE, label="this campaign")
        ax.plot(rank, rank / len(sizes), color=ORANGE, ls="--", lw=1, label="equal weights")
        ax.set_xscale("log")
        ax.legend(frameon=False)
    ax.set(xlabel="crashes, by weight", ylabel="share of the rate", ylim=(0, 1.02))
    return svg(ax)


def trajectory(record: Record, names: Sequence[str]) -> str:
    """Draw the state of one scenario, a panel for each number that changes."""
    pyplot = import_extra("matplotlib.pyplot", "plot")
    states = record.states
    moving = [j for j in range(states.shape[1]) if len(states) and np.ptp(states[:, j]) > 0]
    shown = moving[:_MOST_CURVES] or [0]
    _, panels = pyplot.subplots(
        len(shown), 1, sharex=True, figsize=(4.6, 0.5 + 0.95 * len(shown)), layout="constrained"
    )
    for colour, j, ax in zip(COLOURS, shown, np.atleast_1d(panels), strict=False):
        if states.shape[1]:
            ax.plot(np.arange(len(states)), states[:, j], "o-", ms=2.5, color=colour)
        # As it stands: users' names are no formulas.
        name = names[j] if j < len(names) else f"state {j}"
        ax.set_ylabel(name, fontsize=8, parse_math=False)
        ax.tick_params(labelsize=8)
    np.atleast_1d(panels)[-1].set_xlabel("decision", fontsize=8)
    return svg(np.atleast_1d(panels)[0])


def svg(ax: Any) -> str:
    """Return the figure of `ax` as SVG text, the same for the same figure."""
    matplotlib = import_extra("matplotlib", "plot")
    pyplot = import_extra("matplotlib.pyplot", "plot")
    text = io.StringIO()
    plain = matplotlib.rc_context({"svg.hashsalt": "mcvar", "svg.fonttype": "path"})
    with plain, warnings.catch_warnings():
        # A character that no font here has is drawn as a box.
        warnings.filterwarnings("ignore", r"(?s)Glyph .* missing from")
        ax.figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(ax.figure)
    return text.getvalue()
