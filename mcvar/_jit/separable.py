"""Moving uniforms axis by axis through a map whose derivative is piecewise linear.

Parametrised by its derivative at equally spaced u, the map needs neither a search nor a root nor
a division: one multiplication finds the bin, and point and derivative are polynomials in it.
"""

import numpy as np

from mcvar._jit import kernel


@kernel(nogil=True)
def move_points(start, slope, u, x, weight):
    """Write moved points to `x` (d, n), and the product of the derivatives to `weight` (n,).

    (float64[:, ::1] (d, bins + 1), float64[:, ::1] (d, bins + 1), float64[:, :] (d, n),
    float64[:, :] (d, n), float64[:] (n,)) -> None

    `start` holds x, and `slope` dx/du, at the left end of every bin and at 1.
    """
    d, n = u.shape
    bins = start.shape[1] - 1
    half_width = 0.5 / bins
    highest = 1.0 - 2.0**-53
    for i in range(n):
        weight[i] = 1.0
    for j in range(d):
        for i in range(n):
            t = u[j, i] * bins
            k = np.uint32(t)
            t -= k
            left = slope[j, k]
            step = slope[j, k + np.uint32(1)] - left
            moved = start[j, k] + t * half_width * (2.0 * left + t * step)
            x[j, i] = min(moved, highest)  # rounding could reach 1, where quantiles are infinite
            weight[i] *= left + t * step
