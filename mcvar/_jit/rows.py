"""Calling a user's compiled scalar integrand at many points without going back to Python."""

import functools

import numba
import numpy as np


@functools.lru_cache(maxsize=32)
def row_loop(f, d):
    """Compile the loop over points for the user's jitted `f` in dimension `d`.

    Not cached on disk: Numba would write an entry in every process and find it in none.
    """

    @numba.njit(error_model="numpy", nogil=True)
    def loop(columns, out):
        """Write f of the i-th point to ``out[i]``.

        (float64[:, :] (d, n), float64[::1] (n,)) -> None
        """
        point = np.empty(d)
        for i in range(out.size):
            for j in range(d):
                point[j] = columns[j, i]
            out[i] = f(point)

    return loop
