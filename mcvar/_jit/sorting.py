"""Sorting rows of projections, by distribution.

Projected clouds fill a known range without gaps, which a comparison sort cannot exploit. Two
passes of counting sort on a fixed-point copy of the value (2 x `bits` bits between the row's
extremes) leave a row sorted but for the few values that share a cell, and one insertion pass
finishes. That takes 5 ns a value at any size, less than NumPy's SIMD sort by AVX2 and several
times less than its AVX-512 version on processors where compressed stores are slow (Zen 4).
The map from value to cell is monotone in floating point too, so the result is exact.

Where values crowd into few cells (heavy tails), the insertion pass gives up and says so.
"""

import numba
import numpy as np


@numba.njit(cache=True, error_model="numpy", nogil=True)
def sort_rows(rows, bits, most_moves):
    """Sort each row in place.

    (float[:, ::1] (L, n), int64, int64) -> int64. Returns the first row that needed more than
    `most_moves` insertion moves, or whose range is not a normal number: that row then holds its
    values in another order, and later rows are untouched. -1 when every row is sorted.
    """
    n = rows.shape[1]
    size = 1 << bits
    mask = size - 1
    low_start = np.empty(size, np.int32)
    high_start = np.empty(size, np.int32)
    spare = np.empty(n, rows.dtype)
    for row in range(rows.shape[0]):
        v = rows[row]
        # Two chains of comparisons, which the processor overlaps.
        least = least_odd = most = most_odd = v[0]
        for k in range(0, n - 1, 2):
            least = min(least, v[k])
            least_odd = min(least_odd, v[k + 1])
            most = max(most, v[k])
            most_odd = max(most_odd, v[k + 1])
        low = np.float64(min(min(least, least_odd), v[n - 1]))
        width = np.float64(max(max(most, most_odd), v[n - 1])) - low
        if width == 0.0:
            continue
        if not (1e-290 < width < 1e290):
            return row
        scale = (np.float64(size) * size - 1.0) / width

        low_start[:] = 0
        high_start[:] = 0
        for k in range(n):
            cell = np.int32((v[k] - low) * scale)
            low_start[cell & mask] += 1
            high_start[cell >> bits] += 1
        lows = highs = 0
        for j in range(size):
            count = low_start[j]
            low_start[j] = lows
            lows += count
            count = high_start[j]
            high_start[j] = highs
            highs += count
        for k in range(n):
            value = v[k]
            digit = np.int32((value - low) * scale) & mask
            spare[low_start[digit]] = value
            low_start[digit] += 1
        for k in range(n):
            value = spare[k]
            digit = np.int32((value - low) * scale) >> bits
            v[high_start[digit]] = value
            high_start[digit] += 1

        moves = 0
        for k in range(1, n):
            value = v[k]
            at = k
            while at > 0 and v[at - 1] > value:
                v[at] = v[at - 1]
                at -= 1
            v[at] = value
            moves += k - at
            if moves > most_moves:
                return row
    return -1


@numba.njit(cache=True, error_model="numpy", nogil=True)
def sort_weighted_rows(rows, weights, bits, most_moves, carried):
    """Sort each row in place, and write the weights (n,) in its order to `carried`.

    (float[:, ::1] (L, n), float64[::1] (n,), int64, int64, float64[:, ::1] (L, n)) -> int64.
    Returns as `sort_rows`; values and weights of the row returned still belong together.
    """
    n = rows.shape[1]
    size = 1 << bits
    mask = size - 1
    low_start = np.empty(size, np.int32)
    high_start = np.empty(size, np.int32)
    spare = np.empty(n, rows.dtype)
    spare_weight = np.empty(n)
    for row in range(rows.shape[0]):
        v = rows[row]
        w = carried[row]
        w[:] = weights
        low = np.float64(v.min())
        width = np.float64(v.max()) - low
        if width == 0.0:
            continue
        if not (1e-290 < width < 1e290):
            return row
        scale = (np.float64(size) * size - 1.0) / width

        low_start[:] = 0
        high_start[:] = 0
        for k in range(n):
            cell = np.int32((v[k] - low) * scale)
            low_start[cell & mask] += 1
            high_start[cell >> bits] += 1
        lows = highs = 0
        for j in range(size):
            count = low_start[j]
            low_start[j] = lows
            lows += count
            count = high_start[j]
            high_start[j] = highs
            highs += count
        for k in range(n):
            value = v[k]
            digit = np.int32((value - low) * scale) & mask
            place = low_start[digit]
            spare[place] = value
            spare_weight[place] = w[k]
            low_start[digit] = place + 1
        for k in range(n):
            value = spare[k]
            digit = np.int32((value - low) * scale) >> bits
            place = high_start[digit]
            v[place] = value
            w[place] = spare_weight[k]
            high_start[digit] = place + 1

        moves = 0
        for k in range(1, n):
            value = v[k]
            weight = w[k]
            at = k
            while at > 0 and v[at - 1] > value:
                v[at] = v[at - 1]
                w[at] = w[at - 1]
                at -= 1
            v[at] = value
            w[at] = weight
            moves += k - at
            if moves > most_moves:
                return row
    return -1
