"""Importance maps that act on each axis by itself, as in VEGAS, and their training."""

import numpy as np

from mcvar._typing import FloatArray
from mcvar.samplers.kernels import kernels_pay
from mcvar.targets import Warping

KNOTS = 16
_BINS = 128
_FLOOR = 0.1  # least density of an axis where training is plentiful: bounds the weights
_FEW = 0.7  # over the effective number of points: how far to stay near the uniform density


class SeparableMap:
    """A map of the unit cube, axis by axis, with a continuous and bounded derivative.

    Continuity keeps smooth integrands smooth, which quasi-Monte Carlo lives on; a density
    bounded below keeps weights bounded, which error bars live on.

    Parameters
    ----------
    knots : ndarray, shape (d, k + 1)
        Wanted density of each axis at equally spaced knots, positive; any scale. It is followed
        closely by a map whose derivative is linear between 128 equally spaced uniforms.

    References
    ----------
    Lepage, "Adaptive multidimensional integration: VEGAS enhanced", J. Comput. Phys. 439 (2021),
    section II (with piecewise constant derivatives).
    """

    def __init__(self, knots: FloatArray) -> None:
        self.n_uniform = len(knots)
        slope = np.stack([_derivative(row) for row in knots])
        steps = (slope[:, 1:] + slope[:, :-1]) / (2 * _BINS)
        total = steps.sum(axis=1, keepdims=True)
        self._slope = slope / total
        self._start = np.concatenate(
            [np.zeros((len(knots), 1)), np.cumsum(steps / total, axis=1)], axis=1
        )

    def __call__(self, u: FloatArray) -> Warping:
        """Move uniforms ``u (n, d)``; weights are the derivative of the map."""
        x = np.empty(u.shape[::-1])
        weight = np.empty(len(u))
        if kernels_pay(4 * u.size):  # NumPy needs several times as long as for points of nets
            from mcvar._jit.separable import move_points

            move_points(self._start, self._slope, u.T, x, weight)
        else:
            self._move_points(u.T, x, weight)
        return Warping(x.T, weight)

    def _move_points(self, u: FloatArray, x: FloatArray, weight: FloatArray) -> None:
        """Write what `move_points` of `_jit.separable` writes, to the bit."""
        weight[:] = 1.0
        for axis, (start, slope) in enumerate(zip(self._start, self._slope, strict=True)):
            t = u[axis] * _BINS
            k = t.astype(np.intp)
            t -= k
            left = slope.take(k)
            rise = np.diff(slope).take(k)
            rise *= t
            t *= 0.5 / _BINS
            t *= 2.0 * left + rise
            t += start.take(k)
            np.minimum(t, 1 - 2.0**-53, out=x[axis])
            left += rise
            weight *= left

    def density(self, x: FloatArray) -> FloatArray:
        """Density of the moved points at ``x (n, d)``."""
        squared = np.ones(len(x))
        for axis in range(self.n_uniform):
            start, slope = self._start[axis], self._slope[axis]
            k = np.clip(np.searchsorted(start, x[:, axis], side="right") - 1, 0, _BINS - 1)
            # With g = dx/du linear in u, g² is linear in x.
            rise = 2 * _BINS * (slope[k + 1] - slope[k]) * (x[:, axis] - start[k])
            squared *= slope[k] ** 2 + rise
        return np.asarray(1 / np.sqrt(squared))


def _derivative(density: FloatArray) -> FloatArray:
    """Return 1/density where the map sends the equally spaced uniforms k/128."""
    x = np.linspace(0, 1, len(density))
    fine = np.linspace(0, 1, 8 * _BINS + 1)
    height = np.interp(fine, x, density)
    mass = np.concatenate([[0.0], np.cumsum(height[1:] + height[:-1])])
    at = np.interp(np.linspace(0, 1, _BINS + 1), mass / mass[-1], fine)
    return np.asarray(1 / np.interp(at, x, density))


class MapTraining:
    """Points at which the integrand is known, and the maps fitted to them.

    Points come from several maps in turn; all are used together with balance weights, the
    density of their mixture.
    """

    def __init__(self, u: FloatArray, values: FloatArray) -> None:
        """Start from uniform points ``u (n, d)`` and values there (n, m)."""
        self.u = u
        self.values = values
        # Sum over the sources so far of (points drawn) x (density), at every point.
        self._coverage = np.full(len(u), float(len(u)))
        self._sources: list[tuple[SeparableMap, int]] = []
        self._uniform = len(u)
        self.map = self._fit()

    def add(self, moved: Warping, values: FloatArray) -> None:
        """Add points that the present map sent somewhere; `refit` makes use of them."""
        assert moved.weights is not None
        count = len(moved.u)
        here = np.full(count, float(self._uniform))
        for source, drawn in self._sources:
            here += drawn * source.density(moved.u)
        here += count / moved.weights
        self._coverage += count * self.map.density(self.u)
        self._coverage = np.concatenate([self._coverage, here])
        self._sources.append((self.map, count))
        self.u = np.concatenate([self.u, moved.u])
        self.values = np.concatenate([self.values, values])

    def refit(self) -> None:
        """Fit the map anew to all points."""
        self.map = self._fit()

    @property
    def proposal_density(self) -> FloatArray:
        """Density of the mixture that the points come from."""
        return self._coverage / len(self.u)

    @property
    def effective(self) -> float:
        """Number of points that the second moment of the integrand effectively rests on."""
        squares = relative_squares(self.values)
        return float(squares.sum() ** 2 / max(float(squares @ squares), 1e-300))

    def log_gain(self) -> float:
        """Log of the standard deviation of plain Monte Carlo over that through the map.

        Of the component that gains least.
        """
        weight = 1 / self.proposal_density
        weight /= weight.sum()
        squares = self.values**2
        mean_squared = (weight @ self.values) ** 2
        plain = weight @ squares - mean_squared
        mapped = (weight / self.map.density(self.u)) @ squares - mean_squared
        seen = mean_squared + plain > 0
        least = 1e-4 * mean_squared[seen] + 1e-300
        if not seen.any():
            return 0.0
        ratio = np.maximum(plain[seen], 1e-300) / np.maximum(mapped[seen], least)
        return float(0.5 * np.log(ratio.min()))

    def _fit(self) -> SeparableMap:
        d = self.u.shape[1]
        weight = 1 / self.proposal_density
        squares = relative_squares(self.values) * weight
        knots = np.ones((d, KNOTS + 1))
        if squares.sum() > 0:
            squares *= weight.sum() / squares.sum()
            effective = squares.sum() ** 2 / float(squares @ squares)
            # Few effective points: stay near the uniform density.
            floor = _FLOOR + (1 - _FLOOR) * min(1.0, _FEW / effective)
            for axis in range(d):
                profile = _profile(self.u[:, axis], squares, weight)
                knots[axis] = floor + (1 - floor) * profile
        return SeparableMap(knots)


def relative_squares(values: FloatArray) -> FloatArray:
    """Mean over components of f², each relative to its own largest value, shape (n,)."""
    largest = np.abs(values).max(axis=0, initial=0.0)
    seen = largest > 0
    if not seen.any():
        return np.zeros(len(values))
    return np.asarray(((values[:, seen] / largest[seen]) ** 2).mean(axis=1))


def _profile(u: FloatArray, squares: FloatArray, weight: FloatArray) -> FloatArray:
    """Estimate the best density of one axis, √E[f² | u], at the knots; mean 1."""
    position = u * KNOTS
    k = np.minimum(position.astype(np.int64), KNOTS - 1)
    t = position - k

    def at_knots(amount: FloatArray, power: int = 1) -> FloatArray:
        left = np.bincount(k, (amount * (1 - t)) ** power, KNOTS + 1)
        return np.asarray(left + np.bincount(k + 1, (amount * t) ** power, KNOTS + 1), dtype=float)

    total = np.maximum(at_knots(weight), 1e-9)
    ratio = at_knots(squares) / total
    # Shrink towards 1 by the share of the variation between knots that is noise.
    signal = ((ratio - 1) ** 2).mean()
    noise = (at_knots(squares, 2) / total**2).mean()
    if signal > 0:
        ratio = 1 + (ratio - 1) * signal / (signal + noise)
    smooth = np.convolve(np.pad(ratio, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    profile = np.sqrt(np.maximum(smooth, 0))
    return np.asarray(profile / ((profile[1:] + profile[:-1]) / 2).mean())
