"""Contributions of matched pairs of quantiles to a distance and to its gradient.

Along one direction W_p^p = Σ mass |t|^p over matched pairs, t the gap between the projections. Its
derivative in the projection of point i is the *pull* on that point, p Σ mass |t|^{p−1} sgn t over
the pairs that it belongs to (zero where t is: a subgradient at p = 1). The kernels write pulls
where the points came from, so that one matrix product turns those of many directions into a
gradient. Every kernel releases the GIL.
"""

import numpy as np

from mcvar._jit import kernel


@kernel(nogil=True, inline="always")
def _slope(t, p):
    """|t|^{p−1} sgn t, without the cost of ``pow`` for the exponents that matter most."""
    if p == 2.0:
        return t
    if p == 1.0:
        return np.sign(t)
    return np.sign(t) * abs(t) ** (p - 1.0)


@kernel(nogil=True)
def equal_pulls(x, order, y, p, costs, pulls):
    """Costs and pulls of two clouds of the same size and uniform weights.

    (float[:, ::1] (L, n) sorted, int32[:, ::1] (L, n) origins, float[:, ::1] (L, n) sorted,
    float64, float64[::1] (L,), float64[:, ::1] (L, n)) -> None
    """
    rows, n = x.shape
    factor = p / n
    for row in range(rows):
        total = 0.0
        for first in range(0, n, 256):
            part = 0.0
            for k in range(first, min(first + 256, n)):
                t = np.float64(x[row, k]) - np.float64(y[row, k])
                slope = _slope(t, p)
                part += t * slope
                pulls[row, np.uint32(order[row, k])] = factor * slope
            total += part
        costs[row] = total / n


@kernel(nogil=True)
def pattern_pulls(x, order, y, i_of, j_of, mass, p, costs, pulls):
    """Costs and pulls over pieces of mass that are the same for every direction.

    (float[:, ::1] (L, n), int32[:, ::1] (L, n), float[:, ::1] (L, m), int32[::1], int32[::1],
    float64[::1], float64, float64[::1] (L,), float64[:, ::1] (L, n)) -> None
    """
    rows = x.shape[0]
    for row in range(rows):
        pulls[row] = 0.0
        total = 0.0
        for first in range(0, mass.size, 256):
            part = 0.0
            for k in range(first, min(first + 256, mass.size)):
                i = i_of[k]
                t = np.float64(x[row, i]) - np.float64(y[row, j_of[k]])
                weighted = mass[k] * _slope(t, p)
                part += t * weighted
                pulls[row, np.uint32(order[row, i])] += p * weighted
            total += part
        costs[row] = total


@kernel(nogil=True)
def weighted_pulls(x, x_levels, order, y, y_levels, p, costs, pulls):
    """Costs and pulls from cumulative weights, whose last level in a row is exactly 1.

    (float[:, ::1] (L, n), float64[:, ::1] (L or 1, n), int32[:, ::1] (L, n),
    float[:, ::1] (L, m), float64[:, ::1] (L or 1, m), float64, float64[::1] (L,),
    float64[:, ::1] (L, n)) -> None
    """
    rows, n = x.shape
    m = y.shape[1]
    for row in range(rows):
        u = x_levels[row if x_levels.shape[0] > 1 else 0]
        v = y_levels[row if y_levels.shape[0] > 1 else 0]
        i = j = 0
        level = total = part = pull = 0.0
        for k in range(n + m - 1):
            upper = min(u[i], v[j])
            t = np.float64(x[row, i]) - np.float64(y[row, j])
            weighted = (upper - level) * _slope(t, p)
            part += t * weighted
            pull += p * weighted
            level = upper
            if k % 256 == 255:
                total += part
                part = 0.0
            # Both advance where levels meet; at the end the places stay, and pieces have no mass.
            last_x, last_y = i == n - 1, j == m - 1
            step_x, step_y = u[i] <= upper and not last_x, v[j] <= upper and not last_y
            if step_x:
                pulls[row, np.uint32(order[row, i])] = pull
                pull = 0.0
                i += 1
            if step_y:
                j += 1
            if not step_x and not step_y:
                break
        pulls[row, np.uint32(order[row, i])] = pull
        costs[row] = total + part
