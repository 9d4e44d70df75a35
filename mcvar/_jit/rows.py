"""Calling a user's compiled scalar integrand without going back to Python."""

import numba
import numpy as np


@numba.njit(error_model="numpy")  # never cache=True: it takes the user's function
def evaluate_rows(f, x, out):
    """Write ``f(x[i])`` to ``out[i]``.

    (dispatcher float64(float64[::1]), float64[:, :] (n, d), float64[::1]) -> None
    """
    n, d = x.shape
    point = np.empty(d)
    for i in range(n):
        for j in range(d):
            point[j] = x[i, j]
        out[i] = f(point)
