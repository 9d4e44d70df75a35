"""Randomised quasi-Monte Carlo: scrambled Sobol' and Halton sequences, shifted lattices.

Each replicate is an independent randomisation of the same points; the spread of the replicates'
means gives the error bar, by Student's t. SciPy supplies Halton's sequence and the direction
numbers of Sobol's; points of the latter are made in blocks, several times faster than there and
reachable in any order.
"""

import importlib.resources
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from mcvar._checks import as_count
from mcvar._typing import FloatArray
from mcvar.samplers import net_points
from mcvar.samplers.base import (
    MOST_SIZE,
    REPLICATES,
    Plan,
    Sampler,
    Stream,
    UniformStream,
    needs_uniforms,
    power_of_two_plan,
)
from mcvar.samplers.kernels import kernels_pay
from mcvar.samplers.lattice_vector import generating_vector
from mcvar.samplers.net_points import Words
from mcvar.targets import Target
from mcvar.targets.base import TINY

MOST_DIMENSIONS = 21201  # dimensions that SciPy's direction numbers cover
_SOBOL_BITS = MOST_SIZE.bit_length() - 1


class _Replicated(Sampler):
    """A point set in R independent randomisations."""

    extensible: ClassVar[bool] = True

    def __init__(self, replicates: int = REPLICATES) -> None:
        self.replicates = as_count("replicates", replicates, 2)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(replicates={self.replicates})"

    def plan(self, n: int) -> Plan:
        """Lay out at least `replicates` replicates of a power of two points each."""
        return power_of_two_plan(n, self.replicates)


class Sobol(_Replicated):
    """Scrambled Sobol' sequences: random linear matrix scramble and digital shift.

    Parameters
    ----------
    replicates : int
        Least number of independent randomisations.

    References
    ----------
    Matoušek, "On the L2-discrepancy for anchored boxes", J. Complexity 14 (1998), section 3;
    direction numbers of Joe & Kuo (2008), as in ``scipy.stats.qmc.Sobol``.

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> est = mcvar.estimate(lambda x: np.exp(x.sum(axis=1)), [(0, 1)] * 3, n=2**13, rng=1,
    ...                      sampler="sobol")
    >>> abs(est.value - (np.e - 1) ** 3) < 1e-2
    True
    """

    name: ClassVar[str] = "sobol"

    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Start one scrambled sequence."""
        needs_uniforms(self.name, target)
        d = target.n_uniform
        if d > MOST_DIMENSIONS:
            raise ValueError(
                f"Sobol' sequences reach {MOST_DIMENSIONS} dimensions, the target needs {d}; "
                "use sampler='montecarlo'."
            )
        columns, shift = scramble(sobol_columns(d), np.random.default_rng(seed))
        table = net_points.sobol_table(columns, shift)

        def fill(start: int, out: FloatArray) -> None:
            _points(out).fill_sobol(columns, table, start, out, out.view(np.uint64))

        return UniformStream(target, aligned(d, fill))


class Lattice(_Replicated):
    """Randomly shifted rank-1 lattice sequences with the baker's transform.

    The transform folds every coordinate, so that smooth integrands need not be periodic: their
    error then falls nearly as n⁻².

    Parameters
    ----------
    replicates : int
        Least number of independent randomisations.

    References
    ----------
    Hickernell, "Obtaining O(N^{-2+ε}) convergence for lattice quadrature rules", MCQMC 2000;
    Cools, Kuo & Nuyens, "Constructing embedded lattice rules", SIAM J. Sci. Comput. 28 (2006).

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> est = mcvar.estimate(lambda x: np.exp(x.sum(axis=1)), [(0, 1)] * 3, n=2**13, rng=1,
    ...                      sampler="lattice")
    >>> abs(est.value - (np.e - 1) ** 3) < 1e-4
    True
    """

    name: ClassVar[str] = "lattice"

    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Start one shifted lattice."""
        needs_uniforms(self.name, target)
        d = target.n_uniform
        vector = generating_vector(d)
        shift = np.random.default_rng(seed).integers(0, 2**64, size=d, dtype=np.uint64)

        def fill(start: int, out: FloatArray) -> None:
            _points(out).fill_lattice(vector, shift, start, out, out.view(np.uint64))

        return UniformStream(target, aligned(d, fill))


class Halton(_Replicated):
    """Scrambled Halton sequences, as ``scipy.stats.qmc.Halton``.

    Parameters
    ----------
    replicates : int
        Least number of independent randomisations.

    References
    ----------
    Owen, "A randomized Halton algorithm in R", arXiv:1706.02808 (2017).

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> est = mcvar.estimate(lambda x: np.exp(x.sum(axis=1)), [(0, 1)] * 3, n=2**12, rng=1,
    ...                      sampler=mcvar.samplers.Halton(replicates=16))
    >>> abs(est.value - (np.e - 1) ** 3) < 1e-2
    True
    """

    name: ClassVar[str] = "halton"

    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Start one scrambled sequence."""
        needs_uniforms(self.name, target)
        from scipy.stats import qmc

        engine = qmc.Halton(target.n_uniform, rng=np.random.default_rng(seed))

        def uniforms(start: int, count: int) -> FloatArray:
            if start != engine.num_generated:
                engine.num_generated = 0
                engine.fast_forward(start)
            # Its points lie in [0, 1): keep quantile functions finite.
            return np.maximum(engine.random(count), TINY)

        return UniformStream(target, uniforms)


def aligned(d: int, fill: Callable[[int, FloatArray], None]) -> Callable[[int, int], FloatArray]:
    """Serve any run of points from a generator that starts at multiples of 256."""

    def uniforms(start: int, count: int) -> FloatArray:
        skip = start % 256
        # Dimension-major storage, presented as (n, d).
        out = np.empty((d, count + skip))
        fill(start - skip, out)
        return out[:, skip:].T

    return uniforms


def _points(out: FloatArray) -> Any:
    """Return what fills `out`: the module of the kernels, once they are worth loading."""
    if not kernels_pay(out.size):
        return net_points
    from mcvar._jit import nets

    return nets


@lru_cache(maxsize=16)
def sobol_columns(d: int) -> Words:
    """Generating matrices of SciPy's Sobol' sequence as 32-bit words, shape (d, 30).

    Column k is m_k / 2^k as a fraction, with m_k from the recurrence that belongs to the
    dimension's primitive polynomial: Joe & Kuo, "Constructing Sobol sequences with better
    two-dimensional projections", SIAM J. Sci. Comput. 30 (2008), equation 2.
    """
    polynomials, initial = _direction_numbers()
    numbers = np.ones((d, _SOBOL_BITS), dtype=np.uint64)  # of the first dimension: all 1
    degrees = np.array([int(p).bit_length() - 1 for p in polynomials[:d]])
    for degree in np.unique(degrees[1:]):
        rows = np.flatnonzero(degrees == degree)
        rows = rows[rows > 0]
        m = np.empty((len(rows), _SOBOL_BITS), dtype=np.uint64)
        m[:, :degree] = initial[rows, :degree]
        for k in range(degree, _SOBOL_BITS):
            m[:, k] = m[:, k - degree]
            for i in range(1, degree + 1):
                has = (polynomials[rows] >> np.uint64(degree - i)) & np.uint64(1)
                m[:, k] ^= (m[:, k - i] << np.uint64(i)) * has
        numbers[rows] = m
    columns = numbers << np.arange(31, 31 - _SOBOL_BITS, -1, dtype=np.uint64)
    columns.flags.writeable = False
    return columns


@lru_cache(maxsize=1)
def _direction_numbers() -> tuple[Words, Words]:
    """Primitive polynomials (21201,) and initial direction numbers (21201, 18) of Joe & Kuo.

    SciPy's file is read as it is: importing scipy.stats takes longer than a whole estimate.
    """
    file = importlib.resources.files("scipy") / "stats" / "_sobol_direction_numbers.npz"
    with file.open("rb") as stream, np.load(stream) as numbers:
        return numbers["poly"].astype(np.uint64), numbers["vinit"].astype(np.uint64)


def scramble(columns: Words, rng: np.random.Generator) -> tuple[Words, Words]:
    """Apply a random linear matrix scramble and digital shift, to 64 bits.

    Output bit r (from the top) is bit r XOR a random subset of the bits above it; rows beyond
    the 32nd are random subsets of all.

    Returns
    -------
    columns : ndarray of uint64, shape (d, bits)
    shift : ndarray of uint64, shape (d,)
    """
    d = len(columns)
    shift = rng.integers(0, 2**64, size=d, dtype=np.uint64)
    rows = rng.integers(0, 2**32, size=(d, 64), dtype=np.uint64)
    r = np.arange(32, dtype=np.uint64)
    above = (~np.uint64(0) << (np.uint64(32) - r)) & np.uint64(0xFFFFFFFF)
    rows[:, :32] = (rows[:, :32] & above) | (np.uint64(1) << (np.uint64(31) - r))
    parity = (np.bitwise_count(rows[:, :, np.newaxis] & columns[:, np.newaxis, :]) & 1).astype(
        np.uint64
    )
    place = np.uint64(1) << (np.uint64(63) - np.arange(64, dtype=np.uint64))
    return np.bitwise_or.reduce(parity * place[:, np.newaxis], axis=1), shift
