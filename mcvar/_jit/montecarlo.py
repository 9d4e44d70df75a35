"""Plain Monte Carlo over a box with the user's compiled scalar integrand, in one loop.

NumPy's SFC64 is inlined: the draws are the very bits that
``Generator(SFC64(seed)).random(out=tile)`` returns, tile after tile, so a NumPy integrand fed
from such tiles sees the same sample. (A Generator called inside Numba costs twice the whole
loop.) Tiles are dimension-major, (d, n), as NumPy integrands like them.
"""

import numba
import numpy as np


@numba.njit(cache=True, error_model="numpy")
def sfc64_fill(state, out):
    """Fill `out` with uniforms on [0, 1) as NumPy's SFC64 does; advance `state` in place.

    (uint64[::1] of 4: a, b, c, counter; float64[::1]) -> None
    """
    a, b, c, counter = state[0], state[1], state[2], state[3]
    one = np.uint64(1)
    for i in range(out.size):
        r = a + b + counter
        counter = counter + one
        a = b ^ (b >> np.uint64(11))
        b = c + (c << np.uint64(3))
        c = ((c << np.uint64(24)) | (c >> np.uint64(40))) + r
        out[i] = np.float64(r >> np.uint64(11)) * (1.0 / 9007199254740992.0)
    state[0], state[1], state[2], state[3] = a, b, c, counter


@numba.njit(cache=True, error_model="numpy")
def centred_moments(y):
    """Mean and centred sum of squares in two passes, and the largest magnitude.

    (float64[::1],) -> (float64, float64, float64). The mean is not finite if any value is not.
    """
    n = y.size
    # Four independent sums let the processor overlap the additions.
    s0 = s1 = s2 = s3 = 0.0
    m = n - n % 4
    for i in range(0, m, 4):
        s0 += y[i]
        s1 += y[i + 1]
        s2 += y[i + 2]
        s3 += y[i + 3]
    for i in range(m, n):
        s0 += y[i]
    mean = ((s0 + s1) + (s2 + s3)) / n
    s0 = s1 = s2 = s3 = 0.0
    for i in range(0, m, 4):
        s0 += (y[i] - mean) ** 2
        s1 += (y[i + 1] - mean) ** 2
        s2 += (y[i + 2] - mean) ** 2
        s3 += (y[i + 3] - mean) ** 2
    for i in range(m, n):
        s0 += (y[i] - mean) ** 2
    largest = 0.0
    for i in range(n):
        largest = max(largest, abs(y[i]))
    return mean, (s0 + s1) + (s2 + s3), largest


@numba.njit(error_model="numpy")  # never cache=True: it takes the user's function
def fused_block(f, state, low, side, tile, offset, n):
    """Moments of `f` over n points of one block, and the index of its first non-finite value.

    (dispatcher float64(float64[::1]), uint64[::1], float64[::1] (d,), float64[::1] (d,),
    float64[:, ::1] (d, tile), int64, int64)
    -> (mean, centred sum of squares, largest magnitude, index)

    `offset` is how far into a tile the first point lies: tiles then end where those of the NumPy
    path end, and both see the same draws. The index is -1 when every value is finite. Otherwise `tile` still holds the uniforms of the
    tile where it was met.
    """
    d, size = tile.shape
    flat = tile.reshape(d * size)
    x = np.empty(d)
    y = np.empty(size)
    mean = 0.0
    squares = 0.0
    largest = 0.0
    done = 0
    while done < n:
        k = min(size - offset, n - done)
        offset = 0
        draws = flat[: d * k]
        sfc64_fill(state, draws)
        for i in range(k):
            for j in range(d):
                x[j] = low[j] + side[j] * draws[j * k + i]
            y[i] = f(x)
        tile_mean, tile_squares, tile_largest = centred_moments(y[:k])
        if not np.isfinite(tile_mean):
            for i in range(k):
                if not np.isfinite(y[i]):
                    return tile_mean, tile_squares, tile_largest, done + i
        delta = tile_mean - mean
        total = done + k
        mean += delta * (k / total)
        squares += tile_squares + delta * delta * (done * (k / total))
        largest = max(largest, tile_largest)
        done = total
    return mean, squares, largest, -1
