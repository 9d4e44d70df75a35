"""Orthonormal polynomials under a product law, and the features they make.

One three-term recurrence serves every family: with monic coefficients a_j, b_j,

    √b_{j+1} p_{j+1}(t) = (t − a_j) p_j(t) − √b_j p_{j−1}(t),    p_0 = 1,

and E p_i p_j = δ_ij (Gautschi 2004, *Orthogonal Polynomials*, eq. 1.3.13). Each feature of
positive degree therefore has expectation zero exactly: no moment is ever estimated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np

from mcvar._checks import as_count, known_name
from mcvar._typing import FloatArray

_PARAMETERS = {"legendre": 0, "hermite": 0, "laguerre": 1, "jacobi": 2}


@dataclass(frozen=True)
class Family:
    """Recurrence coefficients of the polynomials orthonormal under a one-dimensional law.

    Attributes
    ----------
    name : {"legendre", "hermite", "laguerre", "jacobi"}
        Laws: uniform on [−1, 1]; standard normal; gamma(shape); beta(a, b) on [−1, 1].
    parameters : tuple of float
        (shape − 1,) for Laguerre, (b − 1, a − 1) for Jacobi.

    Examples
    --------
    Hermite polynomials, orthonormal under N(0, 1), have a_j = 0 and b_j = j:

    >>> from mcvar.targets import Family
    >>> [part.tolist() for part in Family("hermite").recurrence(3)]
    [[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]
    """

    name: str
    parameters: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        known_name("family", self.name, _PARAMETERS)
        wanted, given = _PARAMETERS[self.name], np.shape(self.parameters)
        if given != (wanted,) or not all(value > -1 for value in self.parameters):
            raise ValueError(
                f"{self.name} has {wanted} parameters, each above -1; got {self.parameters!r}."
            )

    def recurrence(self, degree: int) -> tuple[FloatArray, FloatArray]:
        """Return a_0..a_{degree−1} and b_1..b_degree."""
        degree = as_count("degree", degree, 0)
        j = np.arange(degree, dtype=float)
        after = j + 1
        if self.name == "legendre":
            return np.zeros(degree), after**2 / (4 * after**2 - 1)
        if self.name == "hermite":
            return np.zeros(degree), after
        if self.name == "laguerre":
            (alpha,) = self.parameters
            return 2 * j + alpha + 1, after * (after + alpha)
        alpha, beta = self.parameters
        a = np.empty(degree)
        b = np.empty(degree)
        total = alpha + beta
        # The general formulas are 0/0 at the first index for some parameters.
        a[0] = (beta - alpha) / (total + 2)
        b[0] = 4 * (1 + alpha) * (1 + beta) / ((total + 2) ** 2 * (total + 3))
        for i in range(1, degree):
            s = 2 * i + total
            a[i] = (beta**2 - alpha**2) / (s * (s + 2))
            s += 2
            i1 = i + 1
            b[i] = 4 * i1 * (i1 + alpha) * (i1 + beta) * (i1 + total) / (s**2 * (s + 1) * (s - 1))
        return a, b


@dataclass(frozen=True)
class ProductBasis:
    """Standard coordinates t(x) of a target with independent components, and their families.

    Attributes
    ----------
    coordinates : callable (n, d) -> (n, d)
        Maps draws to coordinates that are independent under the target.
    families : tuple of Family, length d
        The law of each coordinate.
    of_draws : bool
        Whether the coordinates are independent under the law that draws are made from rather
        than under the target, where the two differ.

    Examples
    --------
    t₀ and (t₀² − 1)/√2, which have mean 0 and variance 1 under N(0, 1):

    >>> import numpy as np
    >>> from mcvar.targets import Family, ProductBasis
    >>> basis = ProductBasis(lambda x: x, (Family("hermite"),))
    >>> basis.features(np.array([[0.0], [2.0]]), ((0,), (0, 0))).round(3).tolist()
    [[0.0, -0.707], [2.0, 2.121]]
    """

    coordinates: Callable[[FloatArray], FloatArray]
    families: tuple[Family, ...]
    of_draws: bool = False

    def features(self, x: FloatArray, indices: "tuple[tuple[int, ...], ...]") -> FloatArray:
        """Evaluate the product polynomials named by `indices` at `x`.

        Parameters
        ----------
        x : ndarray, shape (n, d)
            Points.
        indices : tuple of tuples
            Each names a product: the sorted dimensions it multiplies, with repetition, so that
            (0, 0, 3) is p_2(t_0) p_1(t_3).

        Returns
        -------
        ndarray, shape (n, len(indices))
            Columns of mean 0 and variance 1 under the target.
        """
        t = self.coordinates(x)
        degree = max(len(index) for index in indices)
        powers = self._univariate(t, degree)
        # Feature-major storage: every column is one contiguous multiply of two cached rows.
        out = np.empty((len(indices), len(x)))
        row_of: dict[tuple[int, ...], int] = {}
        for row, index in enumerate(indices):
            last = index[-1]
            power = index.count(last)
            head = index[: len(index) - power]
            if not head:
                out[row] = powers[power - 1, last]
            else:
                parent = row_of.get(head)
                base = out[parent] if parent is not None else self._product(powers, head)
                np.multiply(base, powers[power - 1, last], out=out[row])
            row_of[index] = row
        return out.T

    def _univariate(self, t: FloatArray, degree: int) -> FloatArray:
        """Evaluate p_1 .. p_degree of every coordinate: shape (degree, d, n)."""
        values = np.empty((degree, *t.shape[::-1]))
        for rows, family in self._runs():
            # Coordinates of one family go through the recurrence together, in place.
            a, b = family.recurrence(degree)
            root = np.sqrt(b)
            points = t.T[rows]
            np.multiply(points - a[0] if a[0] else points, 1 / root[0], out=values[0, rows])
            for j in range(1, degree):
                here = values[j, rows]
                np.multiply(points - a[j] if a[j] else points, values[j - 1, rows], out=here)
                if j == 1:
                    here -= root[0]
                else:
                    here -= root[j - 1] * values[j - 2, rows]
                here *= 1 / root[j]
        return values

    def _runs(self) -> list[tuple[slice, Family]]:
        """Consecutive coordinates of the same family."""
        starts = [
            j for j, family in enumerate(self.families) if j == 0 or family != self.families[j - 1]
        ]
        ends = [*starts[1:], len(self.families)]
        return [
            (slice(start, end), self.families[start])
            for start, end in zip(starts, ends, strict=True)
        ]

    @staticmethod
    def _product(powers: FloatArray, index: tuple[int, ...]) -> FloatArray:
        value = np.ones(powers.shape[2])
        for dimension in sorted(set(index)):
            value = value * powers[index.count(dimension) - 1, dimension]
        return value


def n_total_degree(ndim: int, degree: int) -> int:
    """Number of non-constant polynomials in `ndim` variables up to total `degree`."""
    return comb(ndim + degree, degree) - 1


@lru_cache(maxsize=32)
def total_degree_indices(ndim: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """Return the indices of all non-constant products up to total `degree`, low degrees first.

    >>> total_degree_indices(2, 2)
    ((0,), (1,), (0, 0), (0, 1), (1, 1))
    """
    level: list[tuple[int, ...]] = [(j,) for j in range(ndim)]
    indices = list(level)
    for _ in range(1, degree):
        level = [(*index, j) for index in level for j in range(index[-1], ndim)]
        indices += level
    return tuple(indices)
