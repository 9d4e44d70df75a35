"""Generating vector of the embedded rank-1 lattices.

`construct` made the table below, component by component, with product weights 0.02/√j and
2⁴ to 2²⁰ points; `tests/samplers/test_lattice.py` makes its first components again.
"""

import numpy as np
import numpy.typing as npt

from mcvar._typing import FloatArray, IntArray

_VECTOR = np.array(
    """
    1 433461 53517 677677 23621 940349 206449 62741 1011897 587933 422109 697725 909609 584329
    596825 574213 486777 1012581 724201 569893 413165 841233 716625 794229 1037733 912553 163433
    116573 285337 1031253 135101 158233 27621 112865 297069 497465 988101 439029 373721 938709
    275905 97169 987013 668661 561505 622925 354289 130377 810745 214601 655053 625609 322369
    842413 302445 6937 833225 616953 850129 829077 158405 163053 715669 10193 813085 788641
    947341 259029 364133 18513 598109 153013 43237 58317 310133 879901 936581 803297 518433
    601329 824201 218985 328369 219865 948313 146941 783037 465077 888221 963777 462341 823865
    122513 736529 90237 645885 536609 849505 989737 1000201 7053 564345 493221 991793 23681
    654397 78661 417177 876041 634857 298937 708521 600129 979885 16349 146805 84385 226225
    74369 456477 664881 540033 860705 918793 873141 685933 650385 451521 498121 371553 912377
    114613 842205 293397 1029129 577001 641521 54861 977469 671425 356129 854405 429777 678353
    324653 195161 871073 269753 522561 496457 773937 99781 828941 584745 444957 93361 275037
    143861 907437 909369 885961 104229 818857 513957 600309 681065 502205 821265 654969 155669
    727389 223885 997589 770121 602365 175073 907469 415897 883613 646893 378249 484973 402529
    650577 433893 889021 966001 72425 130937 580069 660645 906501 852369 520789 863545 435985
    634493 1047533 517697 420877 772213 579021 725353 219609 934525 762981 192589 938549 630513
    148517 144289 620113 651733 9037 155797 783217 478765 583729 790425 701517 855777 263225
    579941 322813 402089 559145 927065 34389 470945 728737 634069 431253 404265 766233 577733
    28817 482693 217101 682289 112269 193781 689341 944525 69957 323629 944865 987565 239037
    413077 158105 987725 204177 342069 94697 549717 682705
    """.split(),
    dtype=np.uint64,
)
MOST_DIMENSIONS = len(_VECTOR)


def generating_vector(d: int) -> npt.NDArray[np.uint64]:
    """Return the first d components.

    Raises
    ------
    ValueError
        More than 256 dimensions.
    """
    if d > MOST_DIMENSIONS:
        raise ValueError(
            f"lattices reach {MOST_DIMENSIONS} dimensions, the target needs {d}; "
            "use sampler='sobol'."
        )
    return _VECTOR[:d]


def construct(weights: FloatArray, least: int, most: int) -> IntArray:
    """Construct a generating vector good for every number of points 2^least .. 2^most.

    Each component minimises the worst, over the numbers of points, of the squared worst-case
    error in the Korobov space of smoothness 1 over its least possible value.

    Parameters
    ----------
    weights : ndarray, shape (d,)
        Product weights γ_j.
    least, most : int
        Exponents of the numbers of points.

    Returns
    -------
    ndarray of int, shape (d,)
        Odd integers below 2^most.

    Notes
    -----
    The odd residues modulo 2^l are ±5^i, and the kernel ω(x) = 2π²B₂(x) is even. Per 2-adic
    level, the error of all candidates is therefore one cyclic correlation of length 2^(l−2), done
    by FFT: O(d n log n) in all.

    References
    ----------
    Cools, Kuo & Nuyens, "Constructing embedded lattice rules for multivariate integration",
    SIAM J. Sci. Comput. 28 (2006), section 4; Nuyens & Cools, "Fast algorithms for
    component-by-component construction of rank-1 lattice rules", Math. Comp. 75 (2006).
    """
    levels = range(2, most + 1)
    powers = {level: _powers_of_five(level) for level in levels}
    kernel = {level: _omega(powers[level] / 2**level) for level in levels}
    spectrum = {level: np.fft.rfft(kernel[level]) for level in levels}
    # Products over the components chosen so far: at 0, at 1/2, and at 5^i/2^l for each level.
    at_zero, at_half = 1.0, 1.0
    product = {level: np.ones(len(powers[level])) for level in levels}
    vector = []
    for position, weight in enumerate(weights):
        candidate_sum = np.full(1, at_zero * _omega(0.0) + at_half * _omega(0.5))
        base = at_zero + at_half
        worst: FloatArray | None = None
        for level in levels:
            size = len(powers[level])
            correlation = np.fft.irfft(np.conj(np.fft.rfft(product[level])) * spectrum[level], size)
            # The residues of one level up repeat those of this one with twice the period.
            repeats = size // len(candidate_sum)
            candidate_sum = np.tile(candidate_sum, repeats) + 2 * correlation
            base += 2 * product[level].sum()
            if level >= least:
                error = (base + weight * candidate_sum) / 2**level - 1
                relative = error / error.min()
                if worst is not None:
                    relative = np.maximum(np.tile(worst, size // len(worst)), relative)
                worst = relative
        assert worst is not None
        best = int(np.argmin(worst)) if position else 0
        vector.append(int(powers[most][best]))
        at_zero *= 1 + weight * _omega(0.0)
        at_half *= 1 + weight * _omega(0.5)
        for level in levels:
            product[level] *= 1 + weight * np.roll(kernel[level], -(best % len(powers[level])))
    return np.array(vector)


def _omega(x: "FloatArray | float") -> "FloatArray":
    return np.asarray(2 * np.pi**2 * (x * x - x + 1 / 6))


def _powers_of_five(level: int) -> IntArray:
    modulus = 1 << level
    powers = np.ones(1, dtype=np.int64)
    factor = 5 % modulus
    while len(powers) < modulus // 4:
        powers = np.concatenate([powers, powers * factor % modulus])
        factor = factor * factor % modulus
    return powers
