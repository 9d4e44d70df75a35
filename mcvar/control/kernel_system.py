"""Regression on a kernel and a few unpenalised columns: solves, leave-one-out, likelihood.

The model is y = Φβ + h with h in the span of the kernel and a ridge ρ, so that with A = K + ρI

    β = (Φ'A⁻¹Φ)⁻¹ Φ'A⁻¹y,    P = A⁻¹ − A⁻¹Φ(Φ'A⁻¹Φ)⁻¹Φ'A⁻¹,    coefficients of K: P y.

Leaving row i out changes its residual to (P y)_i / P_ii (Dubrule 1983), and the restricted
log-likelihood needs determinants of A and Φ'A⁻¹Φ only: all ridges come out of one
eigendecomposition of K.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import linalg

from mcvar._typing import FloatArray

_FIRST_JITTER, _MOST_JITTER = 1e-15, 1e-4


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
        self.vectors, self.values = vectors, np.maximum(values, 0.0)
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
    jitter = 0.0
    while True:
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
        jitter = max(_FIRST_JITTER, 10 * jitter)
        if jitter > _MOST_JITTER:
            raise ValueError(
                f"the kernel matrix of {len(lower)} points is singular even with a jitter of "
                f"{_MOST_JITTER:g} of its mean diagonal: points coincide with different scores, "
                "or the length-scale is far too long."
            )
