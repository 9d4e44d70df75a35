"""Exact averages over directions where they are cheap: d = 1, and small clouds in the plane.

In the plane the order of the projections changes only at the directions orthogonal to the
difference of two points of a cloud. Between two such angles every matched pair of points stays
matched, and its cost is a fixed quadratic form of θ: f is a + b cos 2φ + c sin 2φ there. Two
evaluations integrate that exactly. With p = 1 the projections of matched points may also cross,
which adds the angles between points of different clouds; f is then a cos φ + b sin φ.
"""

import numpy as np

from mcvar._typing import FloatArray
from mcvar.sliced.projection import Pair

_MOST_WORK = 2**23  # projections to sort: some 0.1 s, about what 128 directions of 3e4 points take


def is_cheap(pair: Pair) -> bool:
    """Whether the average over the circle can be had exactly at little cost."""
    if pair.ndim == 1:
        return True
    if pair.ndim != 2 or pair.p not in (1, 2):
        return False
    n, m = pair.x.n, pair.y.n
    angles = n * (n - 1) // 2 + m * (m - 1) // 2 + (n * m if pair.p == 1 else 0)
    return 2 * angles * (n + m) <= _MOST_WORK


def circle_rule(pair: Pair) -> tuple[FloatArray, FloatArray]:
    """Return directions (N, 2) and weights (N,) that average f over the circle exactly."""
    x, y = pair.x.columns.T, pair.y.columns.T
    groups = [np.concatenate([x, y])] if pair.p == 1 else [x, y]
    breaks = [np.zeros(1)]
    for points in groups:
        i, j = np.triu_indices(len(points), 1)
        gap = (points[i] - points[j]).astype(np.float64)
        gap = gap[(gap != 0).any(axis=1)]
        # θ is orthogonal to the gap; θ and −θ are one direction, so angles are modulo π.
        breaks.append(np.mod(np.arctan2(gap[:, 1], gap[:, 0]) + np.pi / 2, np.pi))
    ends = np.unique(np.concatenate(breaks))
    half = np.diff(np.append(ends, np.pi)) / 2
    middle = ends + half
    middle, half = middle[half > 0], half[half > 0]
    # Nodes middle ± g, each of weight h: exact for 1 (or cos) and the harmonic of order p.
    g = np.arccos(np.clip(np.sinc(pair.p * half / np.pi), -1, 1)) / pair.p
    angle = np.concatenate([middle - g, middle + g])
    weights = np.concatenate([half, half]) / np.pi
    return np.stack([np.cos(angle), np.sin(angle)], axis=1), weights
