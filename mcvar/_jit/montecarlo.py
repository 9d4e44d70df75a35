"""Plain Monte Carlo over a box with the user's compiled scalar integrand, in one loop.

NumPy's SFC64 is inlined. Point i of a block takes draws i d .. i d + d − 1 of
``Generator(SFC64(seed)).random()``: an order that depends on no tile size, so that `fill_points`,
`fused_loop` and NumPy itself see the same bits. (A Generator called inside Numba costs twice the
whole loop.)
"""

import functools

import numba
import numpy as np

from mcvar._jit import kernel

STAGE = 64  # points kept in the first-level cache before they are transposed


@kernel(nogil=True)
def fill_points(state, out):
    """Fill `out` (d, n) with uniforms on [0, 1), point after point; advance `state` in place.

    (uint64[::1] of 4: a, b, c, counter; float64[:, :]) -> None

    Dimension-major storage makes a NumPy integrand's column operations fast.
    """
    d, n = out.shape
    a, b, c, counter = state[0], state[1], state[2], state[3]
    stage = np.empty(STAGE * d)
    for first in range(0, n, STAGE):
        m = min(STAGE, n - first)
        for p in range(m * d):
            r = a + b + counter
            counter = counter + np.uint64(1)
            a = b ^ (b >> np.uint64(11))
            b = c + (c << np.uint64(3))
            c = ((c << np.uint64(24)) | (c >> np.uint64(40))) + r
            stage[p] = np.float64(r >> np.uint64(11)) * (1.0 / 9007199254740992.0)
        for j in range(d):
            for i in range(m):
                out[j, first + i] = stage[i * d + j]
    state[0], state[1], state[2], state[3] = a, b, c, counter


@functools.lru_cache(maxsize=32)
def fused_loop(f, d, unit):
    """Compile the Monte Carlo loop for the user's jitted `f` in dimension `d`.

    All are constants of the compilation: `f` is inlined, loops over `d` are unrolled, and the
    `unit` cube is not scaled. The loop is not cached on disk: Numba would write an entry in every
    process and find it in none.
    """

    @numba.njit(error_model="numpy", nogil=True)
    def loop(state, low, side, n, tile):
        """Sum `f` over n points, tile by tile; advance `state` unless a value is not finite.

        (uint64[::1], float64[::1] (d,), float64[::1] (d,), int64, int64)
        -> (mean, centred sum of squares, largest magnitude, first point of a bad tile or -1)

        Each tile is centred at its own first value. That value is in the sample, so the
        subtraction s2 - s*s/k loses at most a factor k of rounding, whatever the tails.
        """
        x = np.empty(d)
        a, b, c, counter = state[0], state[1], state[2], state[3]
        mean = 0.0
        squares = 0.0
        largest = 0.0
        done = 0
        while done < n:
            k = min(tile, n - done)
            s = 0.0
            s2 = 0.0
            pivot = 0.0
            for i in range(k):
                for j in range(d):
                    r = a + b + counter
                    counter = counter + np.uint64(1)
                    a = b ^ (b >> np.uint64(11))
                    b = c + (c << np.uint64(3))
                    c = ((c << np.uint64(24)) | (c >> np.uint64(40))) + r
                    u = np.float64(r >> np.uint64(11)) * (1.0 / 9007199254740992.0)
                    x[j] = u if unit else low[j] + side[j] * u
                y = f(x)
                largest = max(largest, abs(y))
                if i == 0:
                    pivot = y
                y -= pivot
                s += y
                s2 += y * y
            if not np.isfinite(s2):
                return mean, squares, largest, done
            delta = pivot + s / k - mean
            total = done + k
            mean += delta * (k / total)
            squares += (s2 - s * s / k) + delta * delta * (done * (k / total))
            done = total
        state[0], state[1], state[2], state[3] = a, b, c, counter
        return mean, squares, largest, -1

    return loop
