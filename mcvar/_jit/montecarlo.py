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
    def loop(state, low, side, out):
        """Fill `out` with values of `f` at the next points; advance `state` in place.

        (uint64[::1] of 4, float64[::1] (d,), float64[::1] (d,), float64[:] (n,)) -> None
        """
        x = np.empty(d)
        a, b, c, counter = state[0], state[1], state[2], state[3]
        for i in range(len(out)):
            for j in range(d):
                r = a + b + counter
                counter = counter + np.uint64(1)
                a = b ^ (b >> np.uint64(11))
                b = c + (c << np.uint64(3))
                c = ((c << np.uint64(24)) | (c >> np.uint64(40))) + r
                u = np.float64(r >> np.uint64(11)) * (1.0 / 9007199254740992.0)
                x[j] = u if unit else low[j] + side[j] * u
            out[i] = f(x)
        state[0], state[1], state[2], state[3] = a, b, c, counter

    return loop
