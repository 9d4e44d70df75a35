"""One-dimensional Wasserstein costs of many pairs of sorted rows.

The kernels pair up the quantiles of two sorted rows and add up |x − y|^p. Rows are directions,
columns are points. Every kernel releases the GIL, so that threads can work on blocks of rows.

Sums run in short blocks of four interleaved partial sums: the rounding error then grows with the
number of blocks, and the processor overlaps the additions.
"""

import numba
import numpy as np


@numba.njit(cache=True, error_model="numpy", nogil=True, inline="always")
def _power(t, p):
    """|t|^p, without the cost of ``pow`` for the exponents that matter most."""
    if p == 2.0:
        return t * t
    if p == 1.0:
        return abs(t)
    return abs(t) ** p


@numba.njit(cache=True, error_model="numpy", nogil=True)
def equal_costs(x, y, p, out):
    """Mean of |x − y|^p along each row, for two clouds of the same size and uniform weights.

    (float[:, ::1] (L, n), float[:, ::1] (L, n), float64, float64[::1] (L,)) -> None
    """
    rows, n = x.shape
    for row in range(rows):
        total = 0.0
        for first in range(0, n, 256):
            last = min(first + 256, n)
            whole = last - (last - first) % 4
            s0 = s1 = s2 = s3 = 0.0
            for k in range(first, whole, 4):
                s0 += _power(np.float64(x[row, k]) - np.float64(y[row, k]), p)
                s1 += _power(np.float64(x[row, k + 1]) - np.float64(y[row, k + 1]), p)
                s2 += _power(np.float64(x[row, k + 2]) - np.float64(y[row, k + 2]), p)
                s3 += _power(np.float64(x[row, k + 3]) - np.float64(y[row, k + 3]), p)
            for k in range(whole, last):
                s0 += _power(np.float64(x[row, k]) - np.float64(y[row, k]), p)
            total += (s0 + s1) + (s2 + s3)
        out[row] = total / n


@numba.njit(cache=True, error_model="numpy", nogil=True)
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


@numba.njit(cache=True, error_model="numpy", nogil=True)
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


@numba.njit(cache=True, error_model="numpy", nogil=True)
def weighted_costs(x, x_levels, y, y_levels, p, out):
    """Integral of |F_X⁻¹ − F_Y⁻¹|^p along each row, from cumulative weights.

    (float[:, ::1] (L, n), float64[:, ::1] (L, n), float[:, ::1] (L, m), float64[:, ::1] (L, m),
    float64, float64[::1] (L,)) -> None. A table of levels with one row serves every row. The last
    level of a row is exactly 1. The two pointers advance without a branch to mispredict.
    """
    rows = x.shape[0]
    n = x.shape[1]
    m = y.shape[1]
    x_step = 1 if x_levels.shape[0] > 1 else 0
    y_step = 1 if y_levels.shape[0] > 1 else 0
    for row in range(rows):
        u = x_levels[row * x_step]
        v = y_levels[row * y_step]
        total = part = level = 0.0
        i = j = steps = 0
        while i < n and j < m:
            upper = min(u[i], v[j])
            t = np.float64(x[row, i]) - np.float64(y[row, j])
            part += (upper - level) * _power(t, p)
            level = upper
            x_ends = u[i] <= upper
            y_ends = v[j] <= upper
            i += int(x_ends)
            j += int(y_ends)
            steps += 1
            if steps & 255 == 0:
                total += part
                part = 0.0
        out[row] = total + part
