"""Identifying the driver from the log: what it did at the states it was in.

The log holds, at every decision, the acceleration of the automated vehicle just before; with the
speeds and the gap that is one sample of the driver's law. A law of few parameters is fitted to
the samples, and what it leaves is interpolated between them, so that the table is right where the
log has been and sensible elsewhere. The driver itself is never asked.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, spatial

from mcvar._jit import overtaking as kernel
from mcvar._typing import FloatArray
from mcvar.safety.batch import Record
from mcvar.safety.overtaking.surrogate import DriverTable, following_nodes, free_nodes

_FEWEST = 50  # samples below which nothing is identified
_NEIGHBOURS = 12
_SCALES = np.array([2.0, 0.4, 1.0])  # of speed, root of gap and closing speed
_PRIOR = 0.3  # weight of "no correction" against samples one scale away or nearer

Law = Callable[[FloatArray, FloatArray, FloatArray, FloatArray], FloatArray]


class Samples(NamedTuple):
    """What a driver did: gap is infinite where it had no leader. All of shape (n,)."""

    speed: FloatArray
    gap: FloatArray
    closing: FloatArray
    acceleration: FloatArray


def identify_driver(records: Sequence[Record]) -> list[DriverTable]:
    """Return the driver's table, from the scenarios so far; none where they are too few.

    Examples
    --------
    >>> from mcvar.safety import Batch
    >>> from mcvar.safety.overtaking import DRIVERS, Overtaking, overtaking_proposal
    >>> batch = Batch(overtaking_proposal([]), 1, range(40))
    >>> Overtaking(DRIVERS["sluggish"])(batch)
    >>> (table,) = identify_driver(batch.records())
    >>> table.version.startswith("identified@")
    True
    """
    samples = samples_of(records)
    following = np.isfinite(samples.gap)
    if following.sum() < _FEWEST or (~following).sum() < _FEWEST:
        return []
    near = Samples(*(column[following] for column in samples))
    free = Samples(*(column[~following] for column in samples))
    law, parameters = _fit_law(near)
    speed, gap, closing = following_nodes()
    table = law(parameters, speed, gap, closing) + _interpolate(
        _coordinates(near.speed, near.gap, near.closing),
        near.acceleration - law(parameters, near.speed, near.gap, near.closing),
        _coordinates(speed.ravel(), gap.ravel(), closing.ravel()),
    ).reshape(speed.shape)
    line = np.polynomial.Polynomial.fit(free.speed, free.acceleration, 1)
    nodes = free_nodes()
    straight = line(nodes) + _interpolate(
        free.speed[:, np.newaxis] / _SCALES[0],
        free.acceleration - line(free.speed),
        nodes[:, np.newaxis] / _SCALES[0],
    )
    return [DriverTable.clipped(table, straight, "identified")]


def samples_of(records: Sequence[Record]) -> Samples:
    """Return what the driver did just before every decision but the first of a scenario."""
    parts = []
    for record in records:
        n = len(record.action)
        if n < 2:
            continue
        before, after = record.states[: n - 1], record.states[1:n]
        cut_in = record.action[: n - 1] == kernel.CUT_IN
        other = np.where(cut_in, 0.0, kernel.LEAST + kernel.STEP * record.action[: n - 1])
        parts.append(np.column_stack([before[:, kernel.BV_SPEED], other, after]))
    if not parts:
        return Samples(*np.empty((4, 0)))
    rows = np.concatenate(parts)
    bv_before, other, after = rows[:, 0], rows[:, 1], rows[:, 2:]
    # The driver saw the vehicles as they were one step of physics before the decision.
    acceleration, phase = after[:, kernel.ACCELERATION], after[:, kernel.PHASE]
    speed = after[:, kernel.SPEED] - acceleration * kernel.DT
    bv_speed = np.maximum(bv_before + (kernel.SUBSTEPS - 1) * kernel.DT * other, 0.0)
    travelled = bv_speed + after[:, kernel.BV_SPEED] - speed - after[:, kernel.SPEED]
    gap = after[:, kernel.GAP] - 0.5 * travelled * kernel.DT
    follows = phase == 1.0
    # At a standstill the speed no longer tells the acceleration.
    known = (after[:, kernel.SPEED] > 0) & (~follows | (gap > 0))
    return Samples(
        speed[known],
        np.where(follows, gap, np.inf)[known],
        np.where(follows, speed - bv_speed, 0.0)[known],
        acceleration[known],
    )


def _intelligent(x: FloatArray, v: FloatArray, gap: FloatArray, closing: FloatArray) -> FloatArray:
    """Law of the intelligent-driver model, bounded below and above."""
    desired, headway, strongest, comfortable, standstill, hardest = x
    wish = standstill + np.maximum(
        v * headway + v * closing / (2 * np.sqrt(strongest * comfortable)), 0
    )
    a = strongest * (1 - (v / desired) ** 4 - (wish / np.maximum(gap, 0.1)) ** 2)
    return np.asarray(np.maximum(a, -hardest))


def _linear(x: FloatArray, v: FloatArray, gap: FloatArray, closing: FloatArray) -> FloatArray:
    """Law linear in gap, speed and closing speed, bounded below and above."""
    gain, headway, standstill, damping, strongest, hardest = x
    a = gain * (gap - standstill - headway * v) - damping * closing
    return np.asarray(np.clip(a, -hardest, strongest))


# Start and bounds of each law's parameters.
_LAWS: tuple[tuple[Law, list[tuple[float, ...]], list[float], list[float]], ...] = (
    (
        _intelligent,
        [(30.0, 1.2, 1.5, 2.0, 2.0, 4.0), (33.0, 1.6, 1.0, 1.5, 2.0, 7.5)],
        [15.0, 0.1, 0.2, 0.2, 0.0, 0.5],
        [60.0, 4.0, 4.0, 9.0, 10.0, 8.0],
    ),
    (
        _linear,
        [(0.2, 1.3, 3.0, 0.7, 1.0, 4.0), (0.5, 1.0, 3.0, 1.5, 2.0, 7.5)],
        [0.0, 0.0, 0.0, 0.0, 0.1, 0.5],
        [5.0, 4.0, 15.0, 5.0, 3.0, 8.0],
    ),
)


def _fit_law(near: Samples) -> tuple[Law, FloatArray]:
    """Fit every law from every start; return the one that leaves least."""
    best: tuple[float, Law, FloatArray] | None = None
    for law, starts, low, high in _LAWS:
        for start in starts:

            def misfit(x: FloatArray, law: Law = law) -> FloatArray:
                return law(x, near.speed, near.gap, near.closing) - near.acceleration

            fit = optimize.least_squares(
                misfit, start, bounds=(low, high), loss="soft_l1", f_scale=0.3, x_scale=start
            )
            if best is None or fit.cost < best[0]:
                best = float(fit.cost), law, fit.x
    assert best is not None
    return best[1], best[2]


def _coordinates(speed: FloatArray, gap: FloatArray, closing: FloatArray) -> FloatArray:
    return np.asarray(np.column_stack([speed, np.sqrt(np.maximum(gap, 0.0)), closing]) / _SCALES)


def _interpolate(x: FloatArray, left: FloatArray, nodes: FloatArray) -> FloatArray:
    """Average what a law left over the samples nearest to each node; nothing far from all."""
    k = min(_NEIGHBOURS, len(x))
    distance, index = spatial.cKDTree(x).query(nodes, k)
    weight = np.exp(-(distance**2) / 2) / (0.05 + distance**2)
    return np.asarray((weight * left[index]).sum(axis=1) / (weight.sum(axis=1) + _PRIOR))
