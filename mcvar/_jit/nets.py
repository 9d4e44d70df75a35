"""Points of scrambled Sobol' nets and shifted lattices, 256 at a time.

Coordinates are 64-bit fractions. In Gray-code order the 256 points of an aligned block are one
fixed table XOR one word per dimension; in a lattice sequence they are one table plus one word.
The inner loop is then a vectorised XOR (or addition, which wraps modulo 1 for nothing) and a
conversion, well under a nanosecond a coordinate, and any block can be reached at once.

Words become doubles in the open interval (0, 1): the top 52 bits, plus half a unit.
"""

import numpy as np

from mcvar._jit import kernel


@kernel()
def sobol_table(columns, shift):
    """The first 256 points of each dimension, digital shift included.

    (uint64[:, :] (d, bits), uint64[:] (d,)) -> uint64[:, ::1] (d, 256); needs bits >= 8.
    """
    d = columns.shape[0]
    table = np.empty((d, 256), np.uint64)
    for j in range(d):
        table[j, 0] = shift[j]
        for i in range(1, 256):
            k = 0
            while (i >> k) & 1 == 0:
                k += 1
            table[j, i] = table[j, i - 1] ^ columns[j, k]
    return table


@kernel()
def fill_sobol(columns, table, start, out):
    """Write points start .. start + n - 1 to `out` (d, n); `start` is a multiple of 256.

    (uint64[:, :] (d, bits), uint64[:, ::1] (d, 256), int64, float64[:, :]) -> None
    """
    d, n = out.shape
    bits = columns.shape[1]
    for j in range(d):
        for first in range(0, n, 256):
            block = (start + first) >> 8
            gray = block ^ (block >> 1)
            offset = np.uint64(0)
            if block & 1:
                offset ^= columns[j, 7]
            for k in range(8, bits):
                if (gray >> (k - 8)) & 1:
                    offset ^= columns[j, k]
            for i in range(min(256, n - first)):
                word = (table[j, i] ^ offset) >> np.uint64(12)
                out[j, first + i] = (np.float64(word) + 0.5) * (1.0 / 4503599627370496.0)


@kernel()
def fill_lattice(vector, shift, start, tent, out):
    """Write points start .. start + n - 1 of frac(radical_inverse(i) z + shift) to `out` (d, n).

    (uint64[:] (d,), uint64[:] (d,), int64, boolean, float64[:, :]) -> None; `start` is a multiple
    of 256. With `tent` the value is 1 - |2u - 1|, the baker's transform (Hickernell 2002).

    The radical inverse in base 2 is the bit-reversed index, of which only the top 8 bits change
    within a block of 256.
    """
    d, n = out.shape
    table = np.empty(256, np.uint64)
    for j in range(d):
        for i in range(256):
            reverse = np.uint64(0)
            for k in range(8):
                if (i >> k) & 1:
                    reverse |= np.uint64(1) << np.uint64(63 - k)
            table[i] = reverse * vector[j]
        for first in range(0, n, 256):
            index = start + first
            reverse = np.uint64(0)
            for k in range(8, 63):
                if (index >> k) & 1:
                    reverse |= np.uint64(1) << np.uint64(63 - k)
            offset = reverse * vector[j] + shift[j]
            for i in range(min(256, n - first)):
                word = (table[i] + offset) >> np.uint64(12)
                u = (np.float64(word) + 0.5) * (1.0 / 4503599627370496.0)
                if tent:
                    u = 1.0 - abs(2.0 * u - 1.0)
                out[j, first + i] = u
