"""Points of scrambled Sobol' nets and shifted lattices by NumPy: the bits of `_jit.nets`.

They are made here until a process has made so many that loading the kernels pays.
"""

import numpy as np
import numpy.typing as npt

from mcvar._typing import FloatArray

Words = npt.NDArray[np.uint64]
_BLOCK = 256
_AT_A_TIME = 2**14  # coordinates worked on together: they stay in the second-level cache
_ONE = np.uint64(0x3FF0000000000000)  # the double 1
_FRACTION = np.uint64(12)  # 64 bits less those of a fraction
_HALF_UNIT = 2.0**-53


def sobol_table(columns: Words, shift: Words) -> Words:
    """First 256 points of each dimension, digital shift included, shape (d, 256)."""
    table = columns[:, _TRAILING]
    table[:, 0] = shift
    return np.bitwise_xor.accumulate(table, axis=1)


def fill_sobol(columns: Words, table: Words, start: int, out: FloatArray, words: Words) -> None:
    """Write points start .. start + n - 1 to `out` (d, n), whose memory `words` is.

    `start` is a multiple of 256.
    """
    d, n = out.shape
    block = np.arange(start // _BLOCK, -(-(start + n) // _BLOCK))
    # From one block to the next the Gray code of its number changes in one bit.
    offset = columns[:, 8 + _trailing_zeros(block)]
    gray = int(block[0]) ^ (int(block[0]) >> 1)
    bits = [k + 8 for k in range(gray.bit_length()) if gray >> k & 1]
    offset[:, 0] = np.bitwise_xor.reduce(columns[:, bits], axis=1)
    np.bitwise_xor.accumulate(offset, axis=1, out=offset)
    offset[:, block % 2 == 1] ^= columns[:, 7:8]
    offset >>= _FRACTION
    table = (table >> _FRACTION) | _ONE
    for rows in _groups(d, n):
        words[rows] = _every(np.bitwise_xor, table[rows], offset[rows])[:, :n]
        out[rows] -= 1 - _HALF_UNIT


def fill_lattice(vector: Words, shift: Words, start: int, out: FloatArray, words: Words) -> None:
    """Write points start .. start + n - 1, folded by the baker's transform, to `out` (d, n).

    `start` is a multiple of 256, and `words` the memory of `out`.
    """
    d, n = out.shape
    first = np.arange(start, start + n, _BLOCK, dtype=np.uint64)
    table = _REVERSED * vector[:, np.newaxis]
    offset = _reversed_bits(first) * vector[:, np.newaxis] + shift[:, np.newaxis]
    for rows in _groups(d, n):
        word = _every(np.add, table[rows], offset[rows])[:, :n]
        # 2u below a half, 2(1 − u) above, where u is a word and 1 − u its complement.
        word ^= (word.view(np.int64) >> 63).view(np.uint64)
        word >>= _FRACTION - np.uint64(1)
        np.bitwise_or(word, _ONE | np.uint64(1), out=words[rows])
        out[rows] -= 1


def _groups(d: int, n: int) -> list[slice]:
    """Cut the dimensions into groups of some `_AT_A_TIME` coordinates."""
    step = max(1, _AT_A_TIME // n)
    return [slice(j, j + step) for j in range(0, d, step)]


def _every(operation: np.ufunc, table: Words, offset: Words) -> Words:
    """Combine the table (d, 256) with each block's offset (d, blocks), shape (d, 256 blocks)."""
    both: Words = operation(table[:, np.newaxis, :], offset[:, :, np.newaxis])
    return both.reshape(len(table), -1)


def _trailing_zeros(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
    """Number of zero bits below the lowest set one; 0 for 0."""
    lowest = numbers & -numbers
    return np.where(lowest == 0, 0, np.bitwise_count(lowest - 1)).astype(np.intp)


def _reversed_bits(numbers: Words) -> Words:
    """Reverse the order of all 64 bits."""
    bits = np.unpackbits(numbers.astype("<u8").view(np.uint8), bitorder="little")
    return np.packbits(bits).view(">u8").astype(np.uint64)


_TRAILING = _trailing_zeros(np.arange(_BLOCK))
_REVERSED = _reversed_bits(np.arange(_BLOCK, dtype=np.uint64))
