"""Points of scrambled Sobol' nets and shifted lattices, 256 at a time.

Coordinates are 64-bit fractions. In Gray-code order the 256 points of an aligned block are one
fixed table XOR one word per dimension; in a lattice sequence they are one table plus one word.
The inner loop is then a vectorised XOR (or addition, which wraps modulo 1 for nothing), half a
nanosecond a coordinate, and any block can be reached at once.

Words become doubles in the open interval (0, 1): the top 52 bits, plus half a unit. As the bits
behind the exponent of 1 they make 1 + m / 2^52, of which 1 less half a unit is taken off. Loops run
over slices, where LLVM sees that no index is negative.
"""

import numpy as np

from mcvar._jit import kernel


@kernel()
def fill_sobol(columns, table, start, out, words):
    """Write points start .. start + n - 1 to `out` (d, n); `start` is a multiple of 256.

    (uint64[:, :] (d, bits), uint64[:, ::1] (d, 256), int64, float64[:, :], uint64[:, :]) -> None

    `words` is the memory of `out`.
    """
    d, n = out.shape
    bits = columns.shape[1]
    row = np.empty(256, np.uint64)
    for j in range(d):
        for i in range(256):
            row[i] = (table[j, i] >> np.uint64(12)) | np.uint64(0x3FF0000000000000)
        for first in range(0, n, 256):
            block = (start + first) >> 8
            gray = block ^ (block >> 1)
            offset = np.uint64(0)
            if block & 1:
                offset ^= columns[j, 7]
            for k in range(8, bits):
                if (gray >> (k - 8)) & 1:
                    offset ^= columns[j, k]
            offset >>= np.uint64(12)
            word = words[j, first : first + 256]
            for i in range(word.size):
                word[i] = row[i] ^ offset
            u = out[j, first : first + 256]
            for i in range(u.size):
                u[i] -= 1.0 - 2.0**-53


@kernel()
def fill_lattice(vector, shift, start, out, words):
    """Write points start .. start + n - 1 of frac(radical_inverse(i) z + shift) to `out` (d, n).

    (uint64[:] (d,), uint64[:] (d,), int64, float64[:, :], uint64[:, :]) -> None

    `start` is a multiple of 256, and `words` the memory of `out`. A point u becomes 1 - |2u - 1|,
    by the baker's transform (Hickernell 2002): 2u, or twice the complement.

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
            word = words[j, first : first + 256]
            for i in range(word.size):
                point = table[i] + offset
                if point >> np.uint64(63):
                    point = ~point
                word[i] = (point >> np.uint64(11)) | np.uint64(0x3FF0000000000001)
            u = out[j, first : first + 256]
            for i in range(u.size):
                u[i] -= 1.0
