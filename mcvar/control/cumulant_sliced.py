"""Third and fourth cumulants of the projected clouds, as controls on the sphere.

Where the Gaussian approximation says nothing (whitened clouds) or leaves a remainder, the next
terms of the Cornish-Fisher expansion of a quantile function,

    F⁻¹ = μ + σ {z + κ₃ (z² − 1)/6 + κ₄ (z³ − 3z)/24 + ...},

do. The Hermite polynomials are orthogonal, so that W_2^2 gains (σ_X κ₃ − σ_Y κ₃')²/18 and
(σ_X κ₄ − σ_Y κ₄')²/96; κ₄ also shifts the term in z, at the next order, in proportion to
(σ_X κ₄ − σ_Y κ₄')(σ_X − σ_Y). The cumulants along a direction come from moment matrices of the
clouds, in O(d⁴) whatever the number of points.
"""

from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from mcvar._typing import FloatArray
from mcvar.control.base import LinearControl

_BLOCK = 2**18  # numbers of a block of second-order products in memory


class CumulantMoments(NamedTuple):
    """Central moments of a cloud, enough for the cumulants along any direction.

    With φ(z) the products z_i z_j, i <= j, scaled so that φ(θ)·φ(z) = (θ·z)²:
    `second` = E z z' (d, d), `third` = E z φ(z)' (d, k), `fourth` = E φ(z) φ(z)' (k, k).
    """

    second: FloatArray
    third: FloatArray
    fourth: FloatArray


class CumulantSliced(LinearControl):
    """Cornish-Fisher terms of orders three and four of W_2^2 along a direction.

    Three features, which `for_moments` binds to two clouds; their means are taken over reference
    directions.

    References
    ----------
    Cornish & Fisher, "Moments and cumulants in the specification of distributions", Revue de
    l'Institut International de Statistique 5 (1938), section 5.
    """

    def for_moments(
        self, x: CumulantMoments, y: CumulantMoments, reference: FloatArray
    ) -> "CumulantSliced":
        """Return this control for two clouds, with means over ``reference (N, d)``."""
        bound: CumulantSliced = clone(self)
        bound.x_, bound.y_, bound.reference_ = x, y, reference
        return bound

    def features(self, x: FloatArray) -> FloatArray:
        """Evaluate at directions ``x (n, d)``, shape (n, 3)."""
        sigma_x, skew_x, tail_x = scaled_cumulants(self.x_, x)
        sigma_y, skew_y, tail_y = scaled_cumulants(self.y_, x)
        skew, tail = skew_x - skew_y, tail_x - tail_y
        return np.stack([skew**2 / 18, tail**2 / 96, tail * (sigma_x - sigma_y)], axis=1)

    def feature_mean(self) -> FloatArray:
        """Return the means over the reference directions, shape (3,)."""
        return np.asarray(self.features(self.reference_).mean(axis=0))


def cumulant_moments(
    columns: FloatArray, mean: FloatArray, weights: FloatArray | None
) -> CumulantMoments:
    """Return the moments of a cloud given dimension-major, ``columns (d, n)``, in blocks."""
    d, n = columns.shape
    k = d * (d + 1) // 2
    second, third, fourth = np.zeros((d, d)), np.zeros((d, k)), np.zeros((k, k))
    step = max(1, _BLOCK // k)
    for first in range(0, n, step):
        z = columns[:, first : first + step] - mean[:, np.newaxis]
        phi = second_order(z.T).T
        if weights is None:
            weighted_z, weighted_phi = z / n, phi / n
        else:
            w = weights[first : first + step]
            weighted_z, weighted_phi = z * w, phi * w
        second += weighted_z @ z.T
        third += weighted_z @ phi.T
        fourth += weighted_phi @ phi.T
    return CumulantMoments(second, third, fourth)


def second_order(x: FloatArray) -> FloatArray:
    """Products x_i x_j, i <= j, of rows (n, d), off-diagonal ones times √2: shape (n, k)."""
    i, j = np.triu_indices(x.shape[1])
    return np.asarray(x[:, i] * x[:, j] * np.where(i == j, 1.0, np.sqrt(2)))


def scaled_cumulants(
    moments: CumulantMoments, directions: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return σ, σ κ₃ and σ κ₄ of a cloud along each direction, each of shape (n,)."""
    phi = second_order(directions)
    variance = np.einsum("ij,ij->i", directions @ moments.second, directions)
    third = np.einsum("ij,ij->i", directions @ moments.third, phi)
    fourth = np.einsum("ij,ij->i", phi @ moments.fourth, phi)
    # A cloud that is flat along a direction is a point there: it has no shape to speak of.
    flat = variance <= 1e-12 * np.trace(moments.second)
    safe = np.where(flat, 1.0, variance)
    sigma = np.sqrt(np.maximum(variance, 0))
    skew = np.where(flat, 0.0, third / safe)
    tail = np.where(flat, 0.0, fourth / safe**1.5 - 3 * np.sqrt(safe))
    return sigma, skew, tail
