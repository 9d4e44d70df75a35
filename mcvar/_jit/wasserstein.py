"""One-dimensional Wasserstein costs of many pairs of sorted rows.

The kernels pair up the quantiles of two sorted rows and add up |x − y|^p. Rows are directions,
columns are points. Every kernel releases the GIL, so that threads can work on blocks of rows.

Sums run in short blocks of interleaved partial sums: the rounding error then grows with the number
of blocks, and the processor overlaps the additions.
"""

import numpy as np

from mcvar._jit import kernel


@kernel(nogil=True, inline="always")
def _power(t, p):
    """|t|^p, without the cost of ``pow`` for the exponents that matter most."""
    if p == 2.0:
        return t * t
    if p == 1.0:
        return abs(t)
    return abs(t) ** p


@kernel(nogil=True)
def equal_costs(x, y, p, out):
    """Mean of |x − y|^p along each row, for two clouds of the same size and uniform weights.

    (float[:, ::1] (L, n), float[:, ::1] (L, n), float64, float64[::1] (L,)) -> None
    """
    rows, n = x.shape
    lanes = np.empty(8)
    for row in range(rows):
        total = 0.0
        for first in range(0, n, 256):
            last = min(first + 256, n)
            whole = last - (last - first) % 8
            lanes[:] = 0.0
            for k in range(first, whole, 8):
                for lane in range(8):
                    t = np.float64(x[row, k + lane]) - np.float64(y[row, k + lane])
                    lanes[lane] += _power(t, p)
            for k in range(whole, last):
                lanes[0] += _power(np.float64(x[row, k]) - np.float64(y[row, k]), p)
            total += lanes.sum()
        out[row] = total / n


@kernel(nogil=True)
def uniform_pattern(n, m):
    """How n and m equally heavy sorted points share their mass: the same for every direction.

    (int64, int64) -> (int32[::1] i, int32[::1] j, float64[::1] mass). Levels are counted in whole
    units of 1/(n m), so that no rounding moves a quantile.
    """
    most = n + m
    i_of = np.empty(most, np.int32)
    j_of = np.empty(most, np.int32)
    mass = np.empty(most)
    unit = 1.0 / (np.float64(n) * np.float64(m))
    i = j = pieces = level = 0
    while i < n:
        x_level = (i + 1) * m
        y_level = (j + 1) * n
        upper = min(x_level, y_level)
        i_of[pieces] = i
        j_of[pieces] = j
        mass[pieces] = (upper - level) * unit
        pieces += 1
        level = upper
        if x_level == upper:
            i += 1
        if y_level == upper:
            j += 1
    return i_of[:pieces].copy(), j_of[:pieces].copy(), mass[:pieces].copy()


@kernel(nogil=True)
def pattern_costs(x, y, i_of, j_of, mass, p, out):
    """Sum of mass · |x_i − y_j|^p along each row, over the pieces of `uniform_pattern`.

    (float[:, ::1] (L, n), float[:, ::1] (L, m), int32[::1], int32[::1], float64[::1], float64,
    float64[::1] (L,)) -> None
    """
    rows = x.shape[0]
    pieces = mass.size
    for row in range(rows):
        total = 0.0
        for first in range(0, pieces, 256):
            last = min(first + 256, pieces)
            whole = last - (last - first) % 2
            s0 = s1 = 0.0
            for k in range(first, whole, 2):
                t = np.float64(x[row, i_of[k]]) - np.float64(y[row, j_of[k]])
                s0 += mass[k] * _power(t, p)
                t = np.float64(x[row, i_of[k + 1]]) - np.float64(y[row, j_of[k + 1]])
                s1 += mass[k + 1] * _power(t, p)
            for k in range(whole, last):
                t = np.float64(x[row, i_of[k]]) - np.float64(y[row, j_of[k]])
                s0 += mass[k] * _power(t, p)
            total += s0 + s1
        out[row] = total


@kernel(nogil=True)
def _piece(x, u, y, v, i, j, level, p):
    """Cost of the next piece of mass, the places after it and the level where it ends.

    At the end of both rows the places stay, and pieces have no mass.
    """
    upper = min(u[i], v[j])
    cost = (upper - level) * _power(np.float64(x[i]) - np.float64(y[j]), p)
    i_next = min(i + int(u[i] <= upper), x.size - 1)
    j_next = min(j + int(v[j] <= upper), y.size - 1)
    return cost, i_next, j_next, upper


@kernel(nogil=True)
def weighted_costs(x, x_levels, y, y_levels, p, out):
    """Integral of |F_X⁻¹ − F_Y⁻¹|^p along each row, from cumulative weights.

    (float[:, ::1] (L, n), float64[:, ::1] (L, n), float[:, ::1] (L, m), float64[:, ::1] (L, m),
    float64, float64[::1] (L,)) -> None. A table of levels with one row serves every row. The last
    level of a row is exactly 1. Places advance without a branch to mispredict; two rows at a time
    let the processor work on one while it waits for the other.
    """
    rows = x.shape[0]
    most = x.shape[1] + y.shape[1] - 1
    x_step = 1 if x_levels.shape[0] > 1 else 0
    y_step = 1 if y_levels.shape[0] > 1 else 0
    for row in range(0, rows, 2):
        twin = min(row + 1, rows - 1)
        x0, u0, y0, v0 = x[row], x_levels[row * x_step], y[row], y_levels[row * y_step]
        x1, u1, y1, v1 = x[twin], x_levels[twin * x_step], y[twin], y_levels[twin * y_step]
        i0 = j0 = i1 = j1 = 0
        level0 = level1 = total0 = total1 = 0.0
        for first in range(0, most, 256):
            s0 = s1 = 0.0
            for _ in range(first, min(first + 256, most)):
                cost, i0, j0, level0 = _piece(x0, u0, y0, v0, i0, j0, level0, p)
                s0 += cost
                cost, i1, j1, level1 = _piece(x1, u1, y1, v1, i1, j1, level1, p)
                s1 += cost
            total0 += s0
            total1 += s1
        out[row] = total0
        out[twin] = total1


@kernel(nogil=True)
def permuted_costs(values, order, labels, i_of, j_of, mass, p, out):
    """Add to `out` the costs of relabelled pooled points, summed over directions.

    (float[:, ::1] (L, N) sorted, int32[:, ::1] (L, N) origins, int64[:, ::1] (P, N) ones for the
    first cloud, int32[::1], int32[::1], float64[::1] of `uniform_pattern`, float64,
    float64[::1] (P,)) -> None
    """
    directions, n = values.shape
    x = np.empty(n + 1)
    y = np.empty(n + 1)
    for row in range(directions):
        for k in range(labels.shape[0]):
            i = j = 0
            for place in range(n):
                value = np.float64(values[row, place])
                # Written to both; only one of the places advances.
                x[i] = value
                y[j] = value
                own = labels[k, np.uint32(order[row, place])]
                i += own
                j += 1 - own
            total = 0.0
            for piece in range(mass.size):
                total += mass[piece] * _power(x[i_of[piece]] - y[j_of[piece]], p)
            out[k] += total
