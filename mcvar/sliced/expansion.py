"""The Gaussian approximation of W_2^2 along a direction, expanded so that its mean is known.

With w = (θ·Δ)², u = θ'Aθ and v = θ'Bθ the approximation is G = w + u + v − 2√(uv). The forms have
the means |Δ|²/d, ū = tr A/d and v̄ = tr B/d over the sphere, and concentrate around them where d is
large. With U = u/ū, V = v/v̄ and c = √(ū v̄), an expansion of the last term around the means is

    √(uv) ≈ T = c (U + V)/2                   (first order),    E T = c,
    √(uv) ≈ T = c {(U + V)/2 − (U − V)²/8}    (second order),   E T = c {1 − E(U − V)²/8},

and E(U − V)² = 2 ‖A/ū − B/v̄‖²/(d (d + 2)), since the difference has no trace. The control
h = w + u + v − 2T therefore needs neither quadrature nor reference directions. The first order
takes two traces; the second takes the Frobenius norm, in the span of the points where they are
fewer than dimensions. Along a direction the forms are the mean and variances of projections that
are made anyway.
"""

from functools import cached_property
from typing import NamedTuple

import numpy as np

from mcvar._typing import FloatArray
from mcvar.sliced.projection import Cloud, Pair

MATRIX_DIM = 32  # up to here d × d matrices cost less than another pass over projections
_CONCENTRATED = 0.7  # E(U − V)² beyond which the quadratic term does more harm than good


class Forms(NamedTuple):
    """Moments of the projected clouds along L directions, each of shape (L,).

    `shift` is θ·Δ; `var_x` and `var_y` are the variances of the projections.
    """

    shift: FloatArray
    var_x: FloatArray
    var_y: FloatArray


class Expansion:
    """The expanded Gaussian approximation of a pair of clouds.

    Parameters
    ----------
    pair : Pair
        The clouds.
    order : {1, 2}
        Order of the expansion; the second falls back to the first where the forms do not
        concentrate.
    """

    def __init__(self, pair: Pair, order: int) -> None:
        self.pair = pair
        self.d = pair.ndim
        self.shift = pair.x.mean - pair.y.mean
        self.mean_x, self.mean_y = (total_variance(c) / self.d for c in (pair.x, pair.y))
        # A cloud whose variance is the square of rounding errors has none.
        rounding = (100 * np.finfo(pair.x.columns.dtype).eps) ** 2
        size = float(self.shift @ self.shift) / self.d + self.mean_x + self.mean_y
        self.degenerate = not min(self.mean_x, self.mean_y) > rounding * size
        self.scale = 0.0 if self.degenerate else float(np.sqrt(self.mean_x * self.mean_y))
        self.order = order
        if order == 2 and (self.degenerate or self.imbalance > _CONCENTRATED):
            self.order = 1

    @cached_property
    def imbalance(self) -> float:
        """E(U − V)², from the norms of A and B and their inner product."""
        x, y = self.pair.x, self.pair.y
        square = (
            inner_product(x, x) / self.mean_x**2
            - 2 * inner_product(x, y) / (self.mean_x * self.mean_y)
            + inner_product(y, y) / self.mean_y**2
        )
        return max(2 * square / (self.d * (self.d + 2)), 0.0)

    @property
    def mean_product(self) -> float:
        """E T."""
        return self.scale * (1 - (self.imbalance / 8 if self.order == 2 else 0.0))

    @property
    def mean(self) -> float:
        """E h."""
        square = float(self.shift @ self.shift) / self.d
        return square + self.mean_x + self.mean_y - 2 * self.mean_product

    def product(self, forms: Forms) -> FloatArray:
        """Return T along each direction."""
        if self.degenerate:
            return np.zeros_like(forms.shift)
        u, v = forms.var_x / self.mean_x, forms.var_y / self.mean_y
        product = (u + v) / 2
        if self.order == 2:
            product -= (u - v) ** 2 / 8
        return np.asarray(self.scale * product)

    def values(self, forms: Forms) -> FloatArray:
        """Return h along each direction."""
        return forms.shift**2 + forms.var_x + forms.var_y - 2 * self.product(forms)

    def slopes(self, forms: Forms) -> tuple[FloatArray, FloatArray]:
        """Return ∂T/∂u and ∂T/∂ū along each direction."""
        if self.degenerate:
            return np.zeros_like(forms.shift), np.zeros_like(forms.shift)
        u, v = forms.var_x / self.mean_x, forms.var_y / self.mean_y
        ratio = self.scale / self.mean_x
        if self.order == 1:
            return np.full_like(u, ratio / 2), ratio * (v - u) / 4
        gap = u - v
        of_form = ratio * (1 / 2 - gap / 4)
        return of_form, ratio * ((u + v) / 4 - gap**2 / 16) - u * of_form

    def mean_slope(self, at_mean: float) -> FloatArray:
        """Gradient of E h less the part of h's own that goes through ū, per unit of mass: (n, d).

        Parameters
        ----------
        at_mean : float
            Average of ∂T/∂ū over the directions in use.
        """
        x = self.pair.x
        dtype = x.columns.dtype.type
        centred = x.columns.T - x.mean.astype(dtype)
        # A point of mass w moves ū by 2 w (x − mean)/d.
        stretch = 2 / self.d * (1 + 2 * at_mean)
        if not self.degenerate:
            stretch -= 2 / self.d * self.mean_product / self.mean_x
        constant = (2 / self.d * self.shift).astype(dtype)
        if self.order == 1:
            return np.asarray(dtype(stretch) * centred + constant)
        moved = self._imbalance_times(centred.T).T
        mass = 1 / x.n if x.weights is None else x.weights
        trace = float(np.sum(np.einsum("ij,ij->i", moved, centred) * mass))
        factor = 2 * self.scale / (self.d * (self.d + 2)) / self.mean_x
        stretch -= factor * trace / (self.mean_x * self.d)
        return np.asarray(dtype(factor) * moved + dtype(stretch) * centred + constant)

    def _imbalance_times(self, centred: FloatArray) -> FloatArray:
        """(A/ū − B/v̄) times vectors (d, n)."""
        x, y = self.pair.x, self.pair.y
        of_x, of_y = covariance_times(x, centred), covariance_times(y, centred)
        return np.asarray(
            of_x * centred.dtype.type(1 / self.mean_x) - of_y * centred.dtype.type(1 / self.mean_y)
        )


def affordable_order(n_x: int, n_y: int, d: int, n: int) -> int:
    """Return the order whose cost is small beside that of n directions.

    Projections and sorts by hand take some 170 + 0.2 d ns a point and direction; the second order
    takes some 0.2 k d ns a point, k the smaller of d and 1.7 points. A quarter of the former may
    be spent.
    """
    size = min(d, 1.7 * min(n_x, n_y))
    return 2 if size * d <= n * (212 + 0.25 * d) else 1


def forms_of(pair: Pair, theta: FloatArray) -> Forms:
    """Evaluate the forms along ``theta (L, d)``, by matrices or by projecting the points."""
    shift = theta @ (pair.x.mean - pair.y.mean)
    variances = []
    for cloud in (pair.x, pair.y):
        if cloud.ndim <= max(MATRIX_DIM, min(cloud.n, 2 * len(theta))):
            variance = np.einsum("ij,ij->i", theta @ cloud.covariance, theta)
        else:
            rows = theta.astype(cloud.columns.dtype) @ _scaled(cloud)
            variance = np.einsum("ij,ij->i", rows, rows)
        variances.append(np.maximum(variance, 0))
    return Forms(shift, *variances)


def total_variance(cloud: Cloud) -> float:
    """Return the trace of the covariance."""
    flat = _scaled(cloud).ravel(order="K")
    return float(flat @ flat)


def inner_product(x: Cloud, y: Cloud) -> float:
    """Return tr(AB), from matrices of d x d or, where points are fewer, n x m numbers."""
    if x.ndim <= min(x.n, y.n):
        return float(np.vdot(x.covariance, y.covariance))
    gram = _scaled(x).T @ _scaled(y)
    return float(np.vdot(gram, gram))


def covariance_times(cloud: Cloud, vectors: FloatArray) -> FloatArray:
    """Return the covariance times ``vectors (d, k)``, in the span of the points if d > n."""
    if cloud.ndim <= cloud.n:
        return np.asarray(cloud.covariance.astype(vectors.dtype) @ vectors)
    scaled = _scaled(cloud)
    return np.asarray(scaled @ (scaled.T @ vectors))


def _scaled(cloud: Cloud) -> FloatArray:
    """Centred points times the roots of their weights, (d, n), in the dtype of the cloud."""
    dtype = cloud.columns.dtype
    centred = cloud.columns - cloud.mean[:, np.newaxis].astype(dtype)
    if cloud.weights is None:
        return np.asarray(centred * dtype.type(1 / np.sqrt(cloud.n)))
    return np.asarray(centred * np.sqrt(cloud.weights).astype(dtype))
