"""Regression on a kernel and a few unpenalised columns: solves, leave-one-out, likelihood.

The model is y = Φβ + h with h in the span of the kernel and a ridge ρ, so that with A = K + ρI

    β = (Φ'A⁻¹Φ)⁻¹ Φ'A⁻¹y,    P = A⁻¹ − A⁻¹Φ(Φ'A⁻¹Φ)⁻¹Φ'A⁻¹,    coefficients of K: P y.

Leaving row i out changes its residual to (P y)_i / P_ii (Dubrule 1983), and the restricted
log-likelihood needs determinants of A and Φ'A⁻¹Φ only: all ridges come out of one
eigendecomposition of K.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import linalg

from mcvar._typing import FloatArray, IntArray
from mcvar.control.stein_gram import mirror

_FIRST_JITTER, _MOST_JITTER = 1e-15, 1e-4
_PANEL = 64  # columns of a block of reflectors


class Spectrum:
    """Eigendecomposition of a kernel matrix, and what every ridge costs after it.

    Parameters
    ----------
    vectors, values : ndarray, shapes (n, n) and (n,)
        Eigenpairs.
    phi : ndarray, shape (n, q)
        Unpenalised columns, orthonormal.
    y : ndarray, shape (n, m)
    """

    def __init__(
        self, vectors: FloatArray, values: FloatArray, phi: FloatArray, y: FloatArray
    ) -> None:
        # Rounding leaves eigenvalues of this size, of either sign, where they are less.
        self.vectors = vectors
        self.values = np.maximum(values, np.finfo(float).eps * values.max())
        self._squares = vectors**2
        both = np.column_stack([phi, y])
        self.n, self._q = phi.shape
        self._rotated = vectors.T @ both

    @classmethod
    def of_matrix(cls, lower: FloatArray, phi: FloatArray, y: FloatArray) -> "Spectrum":
        """Decompose the matrix whose lower triangle is given; its memory is reused."""
        values, vectors = linalg.eigh(
            lower.T, lower=False, overwrite_a=True, check_finite=False, driver="evd"
        )
        return cls(vectors, values, phi, y)

    def leave_one_out(self, ridges: FloatArray) -> FloatArray:
        """Return each row's residual from fits without that row, shape (ridges, n, m)."""
        projected, diagonal, *_ = self._project(ridges)
        return np.asarray(projected / diagonal[:, :, np.newaxis])

    def restricted_likelihood(self, ridges: FloatArray) -> FloatArray:
        """Return restricted log-likelihoods of each y, its variance maximised out: (ridges, m)."""
        _, _, quadratic, log_determinants = self._project(ridges)
        degrees = self.n - self._q
        with np.errstate(divide="ignore"):
            logs = degrees * np.log(quadratic / degrees) + log_determinants[:, np.newaxis]
        return np.asarray(-0.5 * logs)

    def _project(self, ridges: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return P y, diag P, y'P y, and log|A| + log|Φ'A⁻¹Φ|, for every ridge at once."""
        q, n = self._q, self.n
        inverse = 1 / (self.values + ridges[:, np.newaxis])
        weighted = inverse[:, :, np.newaxis] * self._rotated
        wide = weighted.transpose(1, 0, 2).reshape(n, -1)
        solved = (self.vectors @ wide).reshape(n, len(ridges), -1).transpose(1, 0, 2)
        products = self._rotated[:, :q].T @ weighted
        quadratic = np.einsum("nj,rnj->rj", self._rotated[:, q:], weighted[:, :, q:])
        diagonal = inverse @ self._squares.T
        factor = _cholesky(products[:, :, :q])
        half = np.linalg.solve(factor, products[:, :, q:])
        on_phi = np.linalg.solve(factor, solved[:, :, :q].transpose(0, 2, 1))
        projected = solved[:, :, q:] - on_phi.transpose(0, 2, 1) @ half
        diagonal -= np.einsum("rqn,rqn->rn", on_phi, on_phi)
        quadratic -= np.einsum("rqm,rqm->rm", half, half)
        log_determinants = 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
        log_determinants -= np.log(inverse).sum(axis=1)
        return projected, diagonal, np.maximum(quadratic, 0.0), log_determinants


class Solution(NamedTuple):
    """A fitted regression: β (q, m), coefficients of the kernel (n, m), and the numerics."""

    beta: FloatArray
    dual: FloatArray
    jitter: float
    condition: float


def solve(
    build: Callable[[], FloatArray], ridge: FloatArray, phi: FloatArray, y: FloatArray
) -> Solution:
    """Fit by Cholesky factorisation.

    Parameters
    ----------
    build : callable () -> (n, n)
        Makes the lower triangle of the kernel matrix, which the factor overwrites.
    ridge : ndarray, shape (n,)
        Added to the diagonal.
    phi : ndarray, shape (n, q)
        Unpenalised columns.
    y : ndarray, shape (n, m)

    Raises
    ------
    ValueError
        Where no jitter up to 1e-4 of the mean diagonal makes the matrix positive definite.
    """
    factor, jitter = factorise(build, ridge)
    both = linalg.cho_solve((factor, False), np.column_stack([phi, y]), check_finite=False)
    on_phi, on_y = both[:, : phi.shape[1]], both[:, phi.shape[1] :]
    inner = _cholesky((phi.T @ on_phi)[np.newaxis])[0]
    beta = linalg.cho_solve((inner, True), phi.T @ on_y, check_finite=False)
    condition = max(condition_bound(factor), condition_bound(inner))
    return Solution(beta, on_y - on_phi @ beta, jitter, condition)


def _cholesky(grams: FloatArray) -> FloatArray:
    """Return lower factors of ``grams (r, q, q)`` of the unpenalised columns.

    Where a kernel all but reproduces those columns, rounding may leave a matrix that is not
    positive definite; what is added then is as large as rounding.
    """
    rounding = len(grams[0]) * np.finfo(float).eps * np.trace(grams, axis1=1, axis2=2)
    for jitter in (0.0, 1.0, 1e3):
        try:
            more = jitter * rounding[:, np.newaxis, np.newaxis] * np.eye(len(grams[0]))
            return np.asarray(np.linalg.cholesky(grams + more))
        except np.linalg.LinAlgError:
            continue
    raise ValueError(
        "the polynomial part of the control cannot be told from its kernel; expected a larger "
        "ridge, a lower polynomial_degree, or standardised draws."
    )


def condition_bound(factor: FloatArray) -> float:
    """Return a lower bound of the condition number of the matrix with this Cholesky factor."""
    pivots = np.diagonal(factor)
    return float((pivots.max() / pivots.min()) ** 2)


def factorise(build: Callable[[], FloatArray], ridge: FloatArray) -> tuple[FloatArray, float]:
    """Return the upper Cholesky factor of K + ridge + jitter, and the jitter.

    Jitter is added only where the factorisation fails, and then ten times more each time.
    """
    for jitter in jitters():
        lower = build()
        rows = np.diag_indices(len(lower))
        mean = float(np.mean(lower[rows]))
        if not (np.isfinite(mean) and mean > 0):
            raise ValueError(
                f"the kernel matrix has mean diagonal {mean:.3g}; expected a positive finite "
                "number. Scores this large or small are on another scale than the draws."
            )
        lower[rows] += ridge + jitter * mean
        # The transpose is the same memory in the order that LAPACK works in.
        factor, failed = linalg.lapack.dpotrf(lower.T, lower=0, clean=0, overwrite_a=1)
        if not failed:
            return factor, jitter * mean
    raise singular(len(ridge))


def jitters() -> Iterator[float]:
    """Iterate over what is added to the diagonal, in units of its mean: none, then ever more."""
    jitter = 0.0
    while jitter <= _MOST_JITTER:
        yield jitter
        jitter = max(_FIRST_JITTER, 10 * jitter)


def singular(n: int) -> ValueError:
    """Return the error that no jitter has helped."""
    return ValueError(
        f"the kernel matrix of {n} points is singular even with a jitter of {_MOST_JITTER:g} of "
        "its mean diagonal: points coincide with different scores, or the length-scale is far "
        "too long."
    )


class LeftOut(NamedTuple):
    """What leaving out groups of rows does to a fit.

    `residual` (n,) are rows less what the fit without their group says of them, and the fit
    without group g has the coefficients ``beta - influence[:, g] @ residual[g]``, (q,).
    """

    residual: FloatArray
    beta: FloatArray
    influence: FloatArray


def leave_out(
    build: Callable[[], FloatArray],
    ridge: FloatArray,
    phi: FloatArray,
    y: FloatArray,
    groups: IntArray,
) -> LeftOut:
    """Leave out one group of rows after the other, in closed form.

    Parameters
    ----------
    build, ridge, phi
        As in `solve`.
    y : ndarray, shape (n,)
    groups : ndarray of int, shape (n,)
        Rows with equal numbers are left out together: their residuals are P_gg⁻¹ (P y)_g, as a
        fit to values that it predicts itself does not miss them.
    """
    factor, _ = factorise(build, ridge)
    inverse, _ = linalg.lapack.dpotri(factor, lower=0, overwrite_c=1)
    mirror(inverse.T)
    on_phi = inverse @ phi
    inner = _cholesky((phi.T @ on_phi)[np.newaxis])[0]
    influence = linalg.cho_solve((inner, True), on_phi.T, check_finite=False)
    projection = linalg.blas.dgemm(-1.0, on_phi, influence, 1.0, inverse, overwrite_c=1)
    projected = projection @ y
    residual = np.empty_like(y)
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    sizes = np.array([len(rows) for rows in members])
    for size in np.unique(sizes):
        rows = np.stack([members[i] for i in np.flatnonzero(sizes == size)])
        blocks = projection[rows[:, :, np.newaxis], rows[:, np.newaxis, :]]
        residual[rows] = np.linalg.solve(blocks, projected[rows][:, :, np.newaxis])[:, :, 0]
    return LeftOut(residual, influence @ y, influence)


class Tridiagonal:
    """A kernel matrix K = Q T Q' with T tridiagonal: after it each c K + I is solved in O(n).

    Parameters
    ----------
    lower : ndarray, shape (n, n)
        The lower triangle of K, n > 1; its memory is reused, and none of that size is asked for.

    References
    ----------
    Eldén, "Algorithms for the regularization of ill-conditioned least squares problems", BIT 17
    (1977).
    """

    def __init__(self, lower: FloatArray) -> None:
        n = len(lower)
        work = int(linalg.lapack.dsytrd_lwork(n, lower=1)[0])
        packed, self._diagonal, self._beside, self._tau, _ = linalg.lapack.dsytrd(
            mirror(lower).T, lower=1, lwork=work, overwrite_a=1
        )
        # Reflectors stand below the subdiagonal: as columns of length n, of which LAPACK reads
        # the first n − 1 elements.
        flat = packed.T.reshape(-1)
        self._reflectors = flat[1 : 1 + n * (n - 1)].reshape(n - 1, n).T

    def rotate(self, columns: FloatArray, *, back: bool = False) -> FloatArray:
        """Return Q' times columns (n, m), or Q times them."""
        out = columns.copy()
        out[1:] = linalg.lapack.dormqr(
            "L", "N" if back else "T", self._reflectors, self._tau, out[1:],
            lwork=_PANEL * out.shape[1],
        )[0]  # fmt: skip
        return out

    def factor(self, c: float) -> tuple[FloatArray, FloatArray] | None:
        """Factorise c T + I; None where it is not positive definite."""
        pivots, beside, failed = linalg.lapack.dpttrf(c * self._diagonal + 1, c * self._beside)
        return None if failed else (pivots, beside)


def solve_scaled(
    build: Callable[[], FloatArray], scales: FloatArray, phi: FloatArray, z: FloatArray
) -> Solution | None:
    """Fit column j of ``z (n, m)`` with the kernel ``scales[j] K`` and the ridge 1.

    Returns None where rounding keeps a system from being positive definite: ridges are then too
    small beside the kernel.
    """
    reduced = Tridiagonal(build())
    turned, z = reduced.rotate(phi), reduced.rotate(z)
    q, m = phi.shape[1], z.shape[1]
    beta, dual, condition = np.empty((q, m)), np.empty_like(z), 1.0
    for j, scale in enumerate(scales):
        factor = reduced.factor(float(scale))
        if factor is None:
            return None
        both = linalg.lapack.dpttrs(*factor, np.column_stack([turned, z[:, j]]))[0]
        on_phi, on_z = both[:, :q], both[:, q]
        inner = _cholesky((turned.T @ on_phi)[np.newaxis])[0]
        beta[:, j] = linalg.cho_solve((inner, True), turned.T @ on_z, check_finite=False)
        dual[:, j] = on_z - on_phi @ beta[:, j]
        condition = max(condition, float(factor[0].max() / factor[0].min()))
    return Solution(beta, reduced.rotate(dual, back=True), 0.0, condition)
