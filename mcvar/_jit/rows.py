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
    def loop(x, out):
        """Write ``f(x[i])`` to ``out[i]``.

        (float64[:, :] (n, d), float64[::1]) -> None
        """
        point = np.empty(d)
        for i in range(out.size):
            for j in range(d):
                point[j] = x[i, j]
            out[i] = f(point)

    return loop
