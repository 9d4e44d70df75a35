"""Stein kernel matrices: base kernels on which a Stein operator has acted in both arguments.

First order, on vector fields u: L u = div u + s·u. Second order, on functions: L g = Δg + s·∇g.
With r = x − y and t = |r|² the kernel L_x L_y κ(t) needs κ's derivatives at t and the inner
products of points and scores only. A base kernel g(x) g(y) κ(t) is the same thing at the score
s + ∇ log g (first order) or s + 2∇ log g (second order, with Lg/g as an extra term).
"""

import functools
from typing import Any, NamedTuple

import numpy as np

from mcvar._typing import FloatArray
from mcvar.control.kernels import BaseKernel

_ROWS, _COLUMNS = 64, 512  # of a tile: its dozen arrays stay in the second-level cache
_BELOW = np.tri(_ROWS, k=-1, dtype=bool)


@functools.cache
def _kernels(order: int) -> tuple[Any, Any]:
    """Compiled kernels of an operator; loading Numba takes longer than many an estimate."""
    from mcvar._jit import stein

    if order == 1:
        return stein.first_order, stein.first_order_slope
    return stein.second_order, stein.second_order_slope


class SteinPoints(NamedTuple):
    """Points in units of the length-scale, and all else that the kernel needs of each of them.

    Attributes
    ----------
    both : ndarray, shape (n, 2, d)
        Points and scores.
    squares, own : ndarray, shape (n,)
        x·x and x·s.
    g, c : ndarray, shape (n,)
        Factor of the kernel, and Lg/g.
    """

    both: FloatArray
    squares: FloatArray
    own: FloatArray
    g: FloatArray
    c: FloatArray

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.own)

    @property
    def ndim(self) -> int:
        """Dimension d."""
        return int(self.both.shape[2])

    def part(self, rows: slice) -> "SteinPoints":
        """Return some of the points."""
        return SteinPoints(*(array[rows] for array in self))


class SteinGram:
    """A Stein kernel at one length-scale.

    Parameters
    ----------
    kernel : BaseKernel
        With its length-scale.
    order : {1, 2}
        Of the Stein operator.

    References
    ----------
    Oates, Girolami & Chopin, JRSS B 79 (2017), eq. 6 (first order); Barp, Oates, Porcu &
    Girolami, "A Riemann-Stein kernel method", Bernoulli 28 (2022), eq. 14 (second order).

    Examples
    --------
    >>> import numpy as np
    >>> from mcvar.control.kernels import Gaussian
    >>> gram = SteinGram(Gaussian(1.0), order=1)
    >>> points = gram.at(np.array([[0.0], [1.0]]), np.array([[0.0], [-1.0]]))
    >>> gram.matrix(points).round(3)
    array([[ 2.   , -1.472],
           [-1.472,  3.   ]])
    """

    def __init__(self, kernel: BaseKernel, order: int) -> None:
        assert kernel.length_scale is not None
        self.kernel = kernel
        self.length_scale = float(kernel.length_scale)
        self.order = order

    def at(self, x: FloatArray, s: FloatArray) -> SteinPoints:
        """Prepare points ``x (n, d)`` with scores ``s (n, d)``."""
        n = len(x)
        # In units of ℓ the operator of order p loses a factor ℓ^p, which g puts back.
        scale = self.length_scale**-self.order
        g, c = np.full(n, scale), np.zeros(n)
        damping = self.kernel.damping(x)
        if damping is not None:
            factor, slope, laplacian = damping
            g *= factor
            if self.order == 1:
                s = s + slope
            else:
                c = (laplacian + np.einsum("ij,ij->i", s, slope)) * self.length_scale**2
                s = s + 2 * slope
        both = np.empty((n, 2, x.shape[1]))
        np.divide(x, self.length_scale, out=both[:, 0])
        np.multiply(s, self.length_scale, out=both[:, 1])
        squares = np.einsum("ij,ij->i", both[:, 0], both[:, 0])
        own = np.einsum("ij,ij->i", both[:, 0], both[:, 1])
        return SteinPoints(both, squares, own, g, c)

    def matrix(self, points: SteinPoints) -> FloatArray:
        """Return the kernel matrix, shape (n, n)."""
        return mirror(self.lower_triangle(points))

    def matrix_and_slope(self, points: SteinPoints) -> tuple[FloatArray, FloatArray]:
        """Return the kernel matrix and its derivative with respect to log ℓ, shapes (n, n)."""
        out, slope = np.zeros((2, points.n, points.n))
        for top in range(0, points.n, _ROWS):
            rows = slice(top, min(top + _ROWS, points.n))
            columns = slice(0, rows.stop)
            self._fill(
                points.part(rows), points.part(columns), out[rows, columns], slope[rows, columns]
            )
        diagonal = np.diag_indices(points.n)
        out[diagonal], slope[diagonal] = self.diagonal(points), self.diagonal_slope(points)
        return mirror(out), mirror(slope)

    def lower_triangle(self, points: SteinPoints) -> FloatArray:
        """Return the lower triangle of the kernel matrix; what is above it is not to be read."""
        out = np.zeros((points.n, points.n))
        for top in range(0, points.n, _ROWS):
            rows = slice(top, min(top + _ROWS, points.n))
            self._fill(points.part(rows), points.part(slice(0, rows.stop)), out[rows, : rows.stop])
        # Differences of inner products leave rounding where the distance is zero.
        out[np.diag_indices(points.n)] = self.diagonal(points)
        return out

    def cross(self, rows: SteinPoints, columns: SteinPoints) -> FloatArray:
        """Return the kernel between two sets of points, shape (n, m)."""
        out = np.empty((rows.n, columns.n))
        for top in range(0, rows.n, _ROWS):
            block = slice(top, top + _ROWS)
            self._fill(rows.part(block), columns, out[block])
        return out

    def diagonal(self, points: SteinPoints) -> FloatArray:
        """Return the kernel of each point with itself, shape (n,)."""
        kappa = np.empty((5 if self.order == 2 else 3, 1))
        self.kernel.profile(np.zeros(1), kappa)
        k0, k1, k2 = (float(value) for value in kappa[:3, 0])
        d = points.ndim
        score = np.einsum("ij,ij->i", points.both[:, 1], points.both[:, 1])
        if self.order == 1:
            value = k0 * score - 2 * d * k1
        else:
            c = points.c
            value = 4 * d * (d + 2) * k2 - 2 * k1 * score + 4 * d * k1 * c + k0 * c**2
        return np.asarray(points.g**2 * value)

    def diagonal_slope(self, points: SteinPoints) -> FloatArray:
        """Return the derivative of `diagonal` with respect to log ℓ, shape (n,)."""
        kappa = np.empty((5 if self.order == 2 else 3, 1))
        self.kernel.profile(np.zeros(1), kappa)
        _, k1, k2 = (float(value) for value in kappa[:3, 0])
        d = points.ndim
        if self.order == 1:
            return np.asarray(4 * d * k1 * points.g**2)
        score = np.einsum("ij,ij->i", points.both[:, 1], points.both[:, 1])
        value = -16 * d * (d + 2) * k2 + 4 * k1 * score - 8 * d * k1 * points.c
        return np.asarray(points.g**2 * value)

    def _fill(
        self,
        rows: SteinPoints,
        columns: SteinPoints,
        out: FloatArray,
        slope: FloatArray | None = None,
    ) -> None:
        left = rows.both.transpose(1, 0, 2).reshape(2 * rows.n, -1)
        for first in range(0, columns.n, _COLUMNS):
            block = slice(first, min(first + _COLUMNS, columns.n))
            also = None if slope is None else slope[:, block]
            self._tile(rows, left, columns.part(block), out[:, block], also)

    def _tile(
        self,
        rows: SteinPoints,
        left: FloatArray,
        columns: SteinPoints,
        out: FloatArray,
        slope: FloatArray | None,
    ) -> None:
        p, q = out.shape
        dots = left @ columns.both.transpose(1, 0, 2).reshape(2 * q, -1).T
        t = rows.squares[:, np.newaxis] - 2 * dots[:p, :q]
        t += columns.squares
        np.maximum(t, 0.0, out=t)
        orders = 5 if self.order == 2 else 3
        kappa = np.empty((orders if slope is None else orders + 1, p, q))
        self.kernel.profile(t, kappa)
        pairs: tuple[FloatArray, ...] = (rows.own, columns.own, rows.g, columns.g)
        if self.order == 2:
            pairs += (rows.c, columns.c)
        value, derivative = _kernels(self.order)
        value(t, kappa, dots, *pairs, rows.ndim, out)
        if slope is not None:
            derivative(t, kappa, dots, *pairs, rows.ndim, slope)


def mirror(lower: FloatArray) -> FloatArray:
    """Copy the lower triangle of a square matrix to the upper one, in place, and return it."""
    for top in range(0, len(lower), _ROWS):
        rows, after = slice(top, top + _ROWS), top + _ROWS
        corner = lower[rows, rows]
        np.copyto(corner.T, corner, where=_BELOW[: len(corner), : len(corner)])
        lower[rows, after:] = lower[after:, rows].T
    return lower
