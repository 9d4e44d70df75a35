"""What all pictures share: colours, axes, and the labels of rows."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mcvar._checks import import_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe & Ito (2008): told apart by every kind of colour vision.
BLUE, ORANGE, GREEN, PINK, SKY, AMBER, BLACK = COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
)
MARKERS = ("o", "s", "D", "^", "v", "P", "X")  # so that colour is never alone in telling series
_LETTERS = 30  # of a label, before it goes on in the next line
_SMALLEST, _LARGEST = 5.0, 10.0  # points of a row's label
_DECADES = 50.0  # times from one end of an axis to the other
_TALLEST = 200.0  # inches: a figure of more is beyond what renderers take


def axes(ax: "Axes | None", **figure: Any) -> "Axes":
    """Return `ax`, or the axes of a new figure."""
    if ax is not None:
        if not hasattr(ax, "plot"):
            raise TypeError(
                f"ax must be a matplotlib Axes, got {ax!r}; plt.subplots() makes one, or an array "
                "of them."
            )
        return ax
    pyplot = import_extra("matplotlib.pyplot", "plot")
    made: Axes = pyplot.subplots(layout="constrained", **figure)[1]
    return made


def tidy(ax: "Axes") -> "Axes":
    """Leave out the frame's upper and right lines."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def row_axes(ax: "Axes | None", names: Sequence[str], width: float = 6.0) -> "Axes":
    """Return axes with a labelled row for each name, the first on top.

    A new figure is tall enough for all of them; in axes that are too small for that labels shrink,
    and in the end only some of the rows carry one.
    """
    wrapped = [textwrap.fill(name, _LETTERS) or name for name in names]
    lines = max(name.count("\n") + 1 for name in wrapped)
    k = len(names)
    ax = axes(ax, figsize=(width, min(1.2 + k * (0.12 + 0.16 * lines), _TALLEST)))
    pitch = 72 * ax.bbox.height / ax.figure.dpi / k  # points that a row has
    size = float(np.clip(0.7 * pitch / lines, _SMALLEST, _LARGEST))
    every = max(1, int(np.ceil(lines * size / pitch)))
    ax.set_yticks(np.arange(0, k, every), wrapped[::every], fontsize=size)
    ax.set_ylim(k - 0.4, -0.6)
    return tidy(ax)


def beside(ax: "Axes", texts: Sequence[str]) -> None:
    """Write a text to the right of every row that has a label, in the label's size."""
    for row, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True):
        ax.annotate(
            texts[int(row)],
            (1, row),
            (6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=label.get_fontsize(),
            annotation_clip=False,
        )


def log_scale(ax: "Axes", low: float, high: float) -> None:
    """Make the axis along the bottom logarithmic, with labels that leave one another room."""
    ticker = import_extra("matplotlib.ticker", "plot")
    ax.set_xscale("log")
    if high < _DECADES * low:  # powers of ten alone would be too few
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())
