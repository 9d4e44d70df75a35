"""Even spherical harmonics: features on the sphere whose expectation is exactly zero.

The harmonics of degree l are spanned by zonal ones, C_l(θ·ξ) with Gegenbauer's polynomial and
poles ξ. Their Gram matrix is again C_l(ξ·ξ'), the reproducing kernel, so an orthonormal basis in
any dimension takes one eigendecomposition and no special functions of many angles.
"""

from functools import lru_cache
from math import comb
from typing import Any

import numpy as np

from mcvar._checks import as_count
from mcvar._typing import FloatArray
from mcvar.control.base import LinearControl

_MOST_FEATURES = 5000


class SphericalHarmonics(LinearControl):
    """Orthonormal harmonics of even degrees 2, 4, ..., `degree` on the unit sphere.

    Distances along θ and −θ agree, so that odd degrees have nothing to explain. `fit` on
    directions and values solves the least-squares problem of the paper; ``mean_`` is its estimate.

    Parameters
    ----------
    degree : int
        Highest degree, even.

    References
    ----------
    Leluc, Dieuleveut, Portier, Segers & Zhuman, "Sliced-Wasserstein estimation with spherical
    harmonics as control variates", ICML 2024, eqs. 8 and 9.

    Examples
    --------
    A polynomial of degree four on the sphere is integrated exactly:

    >>> import mcvar
    >>> theta = mcvar.sliced.directions(40, 3, "montecarlo", rng=1)
    >>> control = mcvar.control.SphericalHarmonics(4).fit(theta, theta[:, 0] ** 4)
    >>> bool(abs(control.mean_ - 1 / 5) < 1e-12)
    True
    """

    def __init__(self, degree: int = 4) -> None:
        self.degree = degree

    def features(self, x: FloatArray) -> FloatArray:
        """Evaluate at unit vectors ``x (n, d)``, shape (n, k)."""
        d = x.shape[1]
        degrees = range(2, self._checked_degree() + 1, 2)
        k = n_harmonics(d, self.degree)
        if k > _MOST_FEATURES:
            raise ValueError(
                f"degree {self.degree} in {d} dimensions makes {k} harmonics; at most "
                f"{_MOST_FEATURES} are supported. Lower the degree."
            )
        return np.concatenate([harmonics_of_degree(x, degree) for degree in degrees], axis=1)

    def feature_mean(self) -> float:
        """Zero: every harmonic but the constant is orthogonal to it."""
        return 0.0

    def describe(self) -> str:
        """Name the degree."""
        return f"SphericalHarmonics({self.degree})"

    def for_target(self, target: Any) -> "SphericalHarmonics":
        """Refuse targets: these features live on the sphere."""
        raise TypeError("SphericalHarmonics are for directions; use them in sliced_wasserstein.")

    def _checked_degree(self) -> int:
        degree = as_count("degree", self.degree, 2)
        if degree % 2:
            raise ValueError(f"degree must be even, got {degree}: odd harmonics average out.")
        return degree


def n_harmonics(d: int, degree: int) -> int:
    """Number of even harmonics of degrees 2 .. `degree` in dimension d."""
    # Homogeneous polynomials of even degree restricted to the sphere, less the constant.
    return comb(degree + d - 1, d - 1) - 1


def harmonics_of_degree(x: FloatArray, degree: int) -> FloatArray:
    """Orthonormal harmonics of one degree at unit vectors ``x (n, d)``, shape (n, k)."""
    d = x.shape[1]
    if d == 1:
        return np.empty((len(x), 0))
    poles, transform = _basis(d, degree)
    return np.asarray(zonal(x @ poles.T, degree, d) @ transform)


@lru_cache(maxsize=64)
def _basis(d: int, degree: int) -> tuple[FloatArray, FloatArray]:
    """Poles (2k, d), and the matrix (2k, k) that makes their zonal harmonics orthonormal."""
    k = comb(degree + d - 1, d - 1) - comb(degree + d - 3, d - 1)
    poles = np.random.default_rng(0).standard_normal((2 * k, d))
    poles /= np.linalg.norm(poles, axis=1, keepdims=True)
    # Twice as many poles as harmonics keep the Gram matrix well conditioned on its range. The
    # kernel with diagonal k reproduces: its mean square over the sphere is the kernel itself.
    eigenvalues, vectors = np.linalg.eigh(k * zonal(poles @ poles.T, degree, d))
    return poles, k * vectors[:, -k:] / np.sqrt(eigenvalues[-k:])


def zonal(cosine: FloatArray, degree: int, d: int) -> FloatArray:
    """Gegenbauer's polynomial of the sphere in R^d, scaled to 1 at cosine 1.

    (l + d − 3) P_l = (2l + d − 4) c P_{l−1} − (l − 1) P_{l−2} (Müller 1966, *Spherical Harmonics*,
    lemma 13, eq. 3); in d = 2 these are Chebyshev's polynomials.
    """
    before, current = np.ones_like(cosine), cosine
    for l in range(2, degree + 1):  # noqa: E741 (the degree's usual name)
        before, current = (
            current,
            ((2 * l + d - 4) * cosine * current - (l - 1) * before) / (l + d - 3),
        )
    return current
