"""The Gaussian approximation of a projected distance, as a control on the sphere.

Were both clouds Gaussian, W_2^2 between their projections would be

    G(θ) = (θ·Δ)² + (√θ'Aθ − √θ'Bθ)²,

with Δ the difference of means and A, B the covariances. It costs O(d²) a direction, whatever the
number of points. Its expectation over the sphere is (|Δ|² + tr A + tr B)/d − 2 E√(θ'Aθ θ'Bθ), and
`mean_root_product` computes the last term by quadrature to full precision.
"""

from typing import Any, Literal

import numpy as np
from scipy import special
from sklearn.base import clone

from mcvar._checks import as_finite_array, as_number, as_points, check_magnitude, known_name
from mcvar._typing import FloatArray
from mcvar.control.base import LinearControl

_STEP = 0.25  # of the trapezoidal rule in log t, analytic in a strip of half-width π/2: e^-39
_MOST_ANGLES = 2048
_ANGLES_AT_ONCE = 32
_PRECISION = 1e-10  # agreement of two steps; convergence is geometric, so the last one has more


class GaussianSliced(LinearControl):
    """Gaussian approximation of W_p^p along a direction, or one of its published bounds.

    Parameters
    ----------
    bound : {"full", "lower", "upper"}
        "full": G itself. "lower": (θ·Δ)². "upper": (θ·Δ)² + θ'Aθ + θ'Bθ. The bounds hold for
        p = 2 and have closed means ``|Δ|²/d`` and ``(|Δ|² + tr A + tr B)/d``.

    References
    ----------
    Nguyen & Ho, "Sliced Wasserstein estimation with control variates", ICLR 2024, eqs. 7
    (Gaussian approximation), 9 (lower) and 11 (upper).

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(100, 3)), rng.normal(1.0, 2.0, size=(100, 3))
    >>> control = mcvar.control.GaussianSliced("lower").for_clouds(x, y)
    >>> theta = mcvar.sliced.directions(3, 3, "orthogonal", rng=1)
    >>> bool(np.isclose(control.features(theta).mean(), control.feature_mean()[0]))
    True
    """

    def __init__(self, bound: Literal["full", "lower", "upper"] = "full") -> None:
        self.bound = bound

    def for_clouds(
        self, x: Any, y: Any, a: Any = None, b: Any = None, *, p: float = 2.0, reference: Any = None
    ) -> "GaussianSliced":
        """Return this control for two clouds.

        Parameters
        ----------
        x, y : array_like, shapes (n, d) and (m, d)
            The points.
        a, b : array_like, shapes (n,) and (m,), optional
            Their weights, summing to one; uniform by default.
        p : float
            Exponent of the cost.
        reference : array_like, shape (N, d), optional
            Directions over which the mean of the feature is taken where no closed form or
            quadrature exists (p other than 2).
        """
        moments = []
        for points, weights in ((as_points("x", x), a), (as_points("y", y), b)):
            check_magnitude("points", points)
            n = len(points)
            w = np.full(n, 1 / n) if weights is None else as_finite_array("weights", weights)
            if w.shape != (n,):
                raise ValueError(f"weights have shape {w.shape}; expected ({n},), one per point.")
            mean = w @ points
            moments.append((mean, ((points - mean).T * w) @ (points - mean)))
        (mean_x, cov_x), (mean_y, cov_y) = moments
        if mean_x.shape != mean_y.shape:
            raise ValueError(f"x has {len(mean_x)} dimensions and y {len(mean_y)}.")
        return self.for_moments(mean_x - mean_y, cov_x, cov_y, p=p, reference=reference)

    def for_moments(
        self, shift: Any, a: Any, b: Any, *, p: float = 2.0, reference: Any = None
    ) -> "GaussianSliced":
        """Return this control for clouds with means apart by `shift` (d,) and covariances a, b."""
        known_name("bound", self.bound, ("full", "lower", "upper"))
        p = as_number("p", p)
        if self.bound != "full" and p != 2:
            raise ValueError(f"bound={self.bound!r} is a bound for p = 2 only, got p={p}.")
        bound: GaussianSliced = clone(self)
        bound.shift_ = as_finite_array("shift", shift)
        bound.cov_x_, bound.cov_y_ = as_finite_array("a", a), as_finite_array("b", b)
        d = np.size(bound.shift_)
        if bound.shift_.shape != (d,) or not bound.cov_x_.shape == bound.cov_y_.shape == (d, d):
            raise ValueError(
                f"shift, a and b have shapes {bound.shift_.shape}, {bound.cov_x_.shape} and "
                f"{bound.cov_y_.shape}; expected (d,), (d, d) and (d, d)."
            )
        check_magnitude("shifts", bound.shift_)
        for name, covariance in (("a", bound.cov_x_), ("b", bound.cov_y_)):
            check_magnitude(f"entries of {name}", covariance)
        bound.p_ = p
        bound.reference_ = None if reference is None else as_points("reference", reference)
        return bound

    def features(self, x: FloatArray) -> FloatArray:
        """Evaluate at directions ``x (n, d)``, shape (n, 1)."""
        if not hasattr(self, "shift_"):
            raise TypeError(
                "GaussianSliced does not know the clouds yet: call for_clouds(X, Y) first, or "
                "pass it to sliced_wasserstein."
            )
        if x.shape[1] != len(self.shift_):
            raise ValueError(
                f"directions have {x.shape[1]} dimensions, the clouds {len(self.shift_)}."
            )
        shift = x @ self.shift_
        var_x = np.einsum("ij,ij->i", x @ self.cov_x_, x)
        var_y = np.einsum("ij,ij->i", x @ self.cov_y_, x)
        if self.bound == "lower":
            feature = shift**2
        elif self.bound == "upper":
            feature = shift**2 + var_x + var_y
        else:
            spread = np.sqrt(np.maximum(var_x, 0)) - np.sqrt(np.maximum(var_y, 0))
            feature = gaussian_cost(shift, spread, self.p_)
        return np.asarray(feature)[:, np.newaxis]

    def feature_mean(self) -> FloatArray:
        """Return the expectation over the sphere, shape (1,)."""
        d = len(self.shift_)
        lower = float(self.shift_ @ self.shift_) / d
        traces = float(np.trace(self.cov_x_) + np.trace(self.cov_y_)) / d
        if self.bound == "lower":
            return np.array([lower])
        if self.bound == "upper":
            return np.array([lower + traces])
        if self.reference_ is not None:
            return np.asarray(self.features(self.reference_).mean(axis=0))
        if self.p_ != 2:
            raise ValueError(
                f"the mean of the Gaussian control has no closed form at p={self.p_}; pass "
                "reference=directions over which to take it."
            )
        return np.array([lower + traces - 2 * mean_root_product(self.cov_x_, self.cov_y_)])

    def describe(self) -> str:
        """Name the bound."""
        return f"GaussianSliced({self.bound!r})"


def gaussian_cost(shift: FloatArray, spread: FloatArray, p: float) -> FloatArray:
    """Return E|δ + τZ|^p for standard normal Z: W_p^p between two normals on the line.

    Parameters
    ----------
    shift, spread : ndarray, shape (n,)
        Differences δ of means and τ of standard deviations.
    p : float
        Exponent.
    """
    if p == 2:
        return shift**2 + spread**2
    scale = np.abs(spread)
    if p == 1:
        safe = np.where(scale > 0, scale, 1.0)
        ratio = shift / safe
        mean = safe * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2)
        mean += shift * special.erf(ratio / np.sqrt(2))
        return np.where(scale > 0, mean, np.abs(shift))
    # Beyond 8 deviations |δ + τZ|^p is smooth on the bulk: a Taylor series; below, Kummer's M.
    far = (np.abs(shift) > 8 * scale) | (scale == 0)
    safe = np.where(far, 1.0, scale)
    argument = -((np.where(far, 0.0, shift) / safe) ** 2) / 2
    near = (safe * np.sqrt(2)) ** p * special.gamma((p + 1) / 2) / np.sqrt(np.pi)
    near = near * special.hyp1f1(-p / 2, 0.5, argument)
    size = np.where(far & (shift != 0), np.abs(shift), 1.0)
    ratio = np.where(far, scale / size, 0.0) ** 2
    series, term = np.ones_like(ratio), np.ones_like(ratio)
    for k in range(1, 9):
        # E(1 + τZ/δ)^p: the binomial coefficient times (2k − 1)!! of the even moments.
        term = term * (p - 2 * k + 2) * (p - 2 * k + 1) / (2 * k) * ratio
        series = series + term
    return np.where(far, np.abs(shift) ** p * series, near)


def mean_root_product(a: FloatArray, b: FloatArray) -> float:
    """Return E√(θ'aθ θ'bθ) for θ uniform on the sphere, to about 12 digits.

    Parameters
    ----------
    a, b : ndarray, shape (d, d)
        Positive semi-definite matrices.

    Notes
    -----
    With u = θ'aθ and v = θ'bθ, √(uv) = (2/π) ∫ uv / (u cos²φ + v sin²φ) dφ over (0, π/2). The
    integrand is homogeneous of degree 2 in θ, so θ may be replaced by a standard normal vector
    and the result divided by d; then 1/c = ∫ exp(−tc) dt turns the ratio into Gaussian integrals,

        E = ∫ |I + 2tC|^{-1/2} (tr aS tr bS + 2 tr aSbS) dt,   S = (I + 2tC)⁻¹,
        C = a cos²φ + b sin²φ.

    All terms are positive: nothing cancels. The trapezoidal rule in φ (periodic) and in log t
    (analytic in a strip) converges geometrically; φ is refined until two steps agree.
    """
    d = len(a)
    trace_a, trace_b = float(np.trace(a)), float(np.trace(b))
    if trace_a <= 0 or trace_b <= 0:
        return 0.0
    # Equal traces centre the integrand in φ, and unit ones fix the range of t.
    a, b = a / trace_a, b / trace_b
    # At both ends the ratio is one of the two forms, whose mean is its trace.
    total, step, previous = 1.0, np.pi / 4, np.inf
    angles = np.array([np.pi / 4])
    while True:
        total += sum(
            _mean_ratios(a, b, angles[k : k + _ANGLES_AT_ONCE]).sum()
            for k in range(0, len(angles), _ANGLES_AT_ONCE)
        )
        mean = total * step * 2 / np.pi
        if abs(mean - previous) <= _PRECISION * mean or len(angles) >= _MOST_ANGLES:
            return float(mean * np.sqrt(trace_a * trace_b) / d)
        previous, step = mean, step / 2
        angles = np.arange(step, np.pi / 2, 2 * step)


def _mean_ratios(a: FloatArray, b: FloatArray, phi: FloatArray) -> FloatArray:
    """E[z'az z'bz / z'Cz] for standard normal z and C = a cos²φ + b sin²φ, of unit trace: (k,)."""
    weight = np.cos(phi)[:, np.newaxis, np.newaxis] ** 2
    values, vectors = np.linalg.eigh(weight * a + (1 - weight) * b)
    values = np.maximum(values, 0)
    turned = vectors.swapaxes(1, 2)
    a, b = turned @ a @ vectors, turned @ b @ vectors
    # The integrand falls off as t at the low end; at the high end it lasts until the smallest
    # eigenvalue that matters has been damped.
    t = np.exp(np.arange(-36.0, 44.0, _STEP))[:, np.newaxis]
    damped = 1 / (1 + 2 * t * values[:, np.newaxis])
    root = np.sqrt(damped).prod(axis=2)
    of_a, of_b = (np.einsum("kti,kii->kt", damped, matrix) for matrix in (a, b))
    cross = np.einsum("kti,kti->kt", damped @ (a * b), damped)
    return np.asarray(_STEP * ((root * (of_a * of_b + 2 * cross)) @ t[:, 0]))
