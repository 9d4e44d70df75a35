"""The multivariate normal target."""

from typing import Any

import numpy as np
from scipy import linalg, special

from mcvar._checks import as_finite_array, check_magnitude
from mcvar._typing import FloatArray
from mcvar.draws import Draws
from mcvar.targets.base import TINY, Target
from mcvar.targets.basis import Family, ProductBasis


class Normal(Target):
    """Multivariate normal law.

    Parameters
    ----------
    mean : array_like, shape (d,) or scalar
        Mean.
    cov : array_like, shape (d, d), (d,) or scalar
        Covariance; a vector is its diagonal, a scalar multiplies the identity. It may be
        singular: points then lie on its range.

    Examples
    --------
    >>> import mcvar
    >>> target = mcvar.targets.Normal([0.0, 1.0], [[1.0, 0.5], [0.5, 2.0]])
    >>> est = mcvar.estimate(lambda x: x[:, 0] * x[:, 1], target, n=4096, rng=1)
    >>> abs(est.value - 0.5) < 1e-2
    True
    """

    def __init__(self, mean: Any = 0.0, cov: Any = 1.0) -> None:
        self.mean = np.atleast_1d(as_finite_array("mean", mean))
        cov = as_finite_array("cov", cov)
        if cov.ndim == 0:
            cov = np.full(len(self.mean), float(cov))
        self.ndim = len(self.mean)
        check_magnitude("mean", self.mean)
        check_magnitude("cov", cov, 1e280)
        if self.mean.ndim != 1 or cov.shape not in {(self.ndim,), (self.ndim, self.ndim)}:
            raise ValueError(
                f"mean has shape {self.mean.shape} and cov {cov.shape}; expected (d,) and (d, d)."
            )
        self._root, self._inverse_root, self._log_scale = (
            _diagonal_root(cov) if cov.ndim == 1 else _matrix_root(cov)
        )

    def __repr__(self) -> str:
        return f"Normal(ndim={self.ndim})"

    def from_uniform(self, u: FloatArray) -> FloatArray:
        """Map uniforms through the normal quantile function and the root of the covariance."""
        return self._colour(special.ndtri(np.maximum(u, TINY)))

    def random(self, n: int, rng: np.random.Generator) -> Draws:
        """Draw with NumPy's ziggurat, which is faster than the quantile function."""
        return Draws.unchecked(x=self._colour(rng.standard_normal((self.ndim, n)).T))

    def standardize(self, x: FloatArray) -> FloatArray:
        """Map points to independent standard normal coordinates."""
        centred = x - self.mean
        inverse = self._inverse_root
        return centred * inverse if inverse.ndim == 1 else centred @ inverse.T

    def logpdf(self, x: FloatArray) -> FloatArray:
        """Log density."""
        if not np.isfinite(self._log_scale):
            raise TypeError("a normal law with singular covariance has no density.")
        z = self.standardize(x)
        constant = 0.5 * self.ndim * np.log(2 * np.pi) + self._log_scale
        return np.asarray(-0.5 * np.einsum("ij,ij->i", z, z) - constant)

    def grad_logpdf(self, x: FloatArray) -> FloatArray:
        """Score −Σ⁻¹(x − mean)."""
        if not np.isfinite(self._log_scale):
            raise TypeError("a normal law with singular covariance has no score.")
        z, inverse = self.standardize(x), self._inverse_root
        return -(z * inverse if inverse.ndim == 1 else z @ inverse)

    def basis(self) -> ProductBasis:
        """Hermite polynomials of the standardised coordinates."""
        return ProductBasis(self.standardize, (Family("hermite"),) * self.ndim)

    def _colour(self, z: FloatArray) -> FloatArray:
        scaled = z * self._root if self._root.ndim == 1 else z @ self._root.T
        return scaled + self.mean


def _diagonal_root(variance: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    if (variance < 0).any():
        raise ValueError(f"cov has a negative variance, {variance.min()}.")
    root = np.sqrt(variance)
    inverse = np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)
    return root, inverse, float(np.log(root).sum()) if (root > 0).all() else -np.inf


def _matrix_root(cov: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    if not np.allclose(cov, cov.T, rtol=1e-10, atol=0):
        gap = np.abs(cov - cov.T).max()
        raise ValueError(
            f"cov is not symmetric: entries across its diagonal differ by up to {gap:.3g}; "
            "expected a covariance matrix, such as (cov + cov.T) / 2."
        )
    try:
        root = linalg.cholesky(cov, lower=True)
        inverse = linalg.solve_triangular(root, np.eye(len(cov)), lower=True)
        return root, inverse, float(np.log(np.diagonal(root)).sum())
    except linalg.LinAlgError:
        pass
    eigenvalues, vectors = linalg.eigh(cov)
    tolerance = len(cov) * np.finfo(float).eps * abs(eigenvalues).max()
    if eigenvalues[0] < -10 * tolerance:
        raise ValueError(f"cov is not positive semi-definite: eigenvalue {eigenvalues[0]:.3g}.")
    kept = eigenvalues > tolerance
    scale = np.sqrt(eigenvalues, out=np.zeros_like(eigenvalues), where=kept)
    inverse_scale = np.divide(1.0, scale, out=np.zeros_like(scale), where=kept)
    return vectors * scale, (vectors * inverse_scale).T, -np.inf
