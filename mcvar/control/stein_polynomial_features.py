"""Polynomials made to integrate to zero by the Langevin Stein operator, streamed in blocks.

For a monomial P and the score s = ∇ log π, L P = ΔP + s·∇P has expectation zero under π (Assaraf
& Caffarel 1999; Mira, Solgi & Imparato 2013, eq. 2). Both ΔP and ∇P consist of monomials of lower
degree, so each monomial is computed once and every feature is a sum of a few products.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mcvar._typing import FloatArray
from mcvar.targets.basis import total_degree_indices

Indices = tuple[tuple[int, ...], ...]

_BLOCK = 2**17  # numbers of a block of monomials: they stay in the second-level cache
_LEAST_ROWS, _MOST_ROWS = 256, 8192


class _Plan(NamedTuple):
    """How to compute features: monomials one from another, then sums of products.

    `monomials` holds (row, dimension): monomial i + 1 is monomial `row` times x_dimension, and
    monomial 0 is the constant. `terms` holds, per feature, (factor, row, dimension): the factor
    times a monomial, times s_dimension unless that is −1.
    """

    monomials: tuple[tuple[int, int], ...]
    terms: tuple[tuple[tuple[int, int, int], ...], ...]


def langevin_indices(ndim: int, degree: int) -> Indices:
    """Return the monomials of total degree 1 .. `degree`, as sorted dimensions with repetition.

    >>> langevin_indices(2, 2)
    ((0,), (1,), (0, 0), (0, 1), (1, 1))
    """
    return total_degree_indices(ndim, degree)


def stein_features(x: FloatArray, s: FloatArray, indices: Indices) -> FloatArray:
    """Evaluate ΔP + s·∇P for the monomials P named by `indices`.

    Parameters
    ----------
    x, s : ndarray, shape (n, d)
        Points, and the scores ∇ log π there.
    indices : tuple of tuples
        Each names a monomial: (0, 0, 3) is x_0² x_3. Any subset of `langevin_indices`, in any
        order.

    Returns
    -------
    ndarray, shape (n, len(indices))
        Stored feature by feature (Fortran order).

    References
    ----------
    Mira, Solgi & Imparato, "Zero variance Markov chain Monte Carlo for Bayesian estimators",
    Statistics and Computing 23 (2013), eqs. 2 and 6.

    Examples
    --------
    For a standard normal, s = −x, and x² makes 2 − 2x²:

    >>> import numpy as np
    >>> x = np.array([[0.0], [1.0], [3.0]])
    >>> stein_features(x, -x, ((0,), (0, 0)))
    array([[ -0.,   2.],
           [ -1.,   0.],
           [ -3., -16.]])
    """
    n = len(x)
    out = np.empty((len(indices), n))
    plan = _plan(tuple(indices))
    rows = max(_LEAST_ROWS, min(_MOST_ROWS, _BLOCK // (len(plan.monomials) + 1)))
    powers = np.empty((len(plan.monomials) + 1, rows))
    scratch = np.empty(rows)
    for first in range(0, n, rows):
        last = min(first + rows, n)
        # Dimension-major copies make every operation below one contiguous pass.
        _fill(
            np.ascontiguousarray(x[first:last].T),
            np.ascontiguousarray(s[first:last].T),
            plan,
            powers[:, : last - first],
            scratch[: last - first],
            out[:, first:last],
        )
    return out.T


def _fill(
    x: FloatArray,
    s: FloatArray,
    plan: _Plan,
    powers: FloatArray,
    scratch: FloatArray,
    out: FloatArray,
) -> None:
    """Compute one block: all arrays are dimension-major."""
    powers[0] = 1.0
    for i, (row, j) in enumerate(plan.monomials, start=1):
        np.multiply(powers[row], x[j], out=powers[i])
    for feature, terms in zip(out, plan.terms, strict=True):
        for position, (factor, row, j) in enumerate(terms):
            into = scratch if position else feature
            if j < 0:
                np.multiply(powers[row], factor, out=into)
            elif row == 0:
                np.multiply(s[j], factor, out=into)
            else:
                np.multiply(powers[row], s[j], out=into)
                if factor != 1:
                    into *= factor
            if position:
                feature += into


@lru_cache(maxsize=32)
def _plan(indices: Indices) -> _Plan:
    row_of: dict[tuple[int, ...], int] = {(): 0}
    monomials: list[tuple[int, int]] = []

    def row(index: tuple[int, ...]) -> int:
        if index not in row_of:
            parent = row(index[:-1])
            monomials.append((parent, index[-1]))
            row_of[index] = len(monomials)
        return row_of[index]

    terms = []
    for index in indices:
        mine: list[tuple[int, int, int]] = []
        for j in sorted(set(index)):
            power = index.count(j)
            at = index.index(j)
            mine.append((power, row(index[:at] + index[at + 1 :]), j))
            if power > 1:
                mine.append((power * (power - 1), row(index[:at] + index[at + 2 :]), -1))
        terms.append(tuple(mine))
    return _Plan(tuple(monomials), tuple(terms))
