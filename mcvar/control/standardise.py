"""Affine coordinates in which draws have mean zero and unit covariance, and their scores."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import linalg

from mcvar._checks import check_magnitude
from mcvar._typing import FloatArray
from mcvar.exceptions import MagnitudeError

Standardise = Literal["cholesky", "sd"]
_MOST = 1e30  # of standardised draws and scores: their fourth powers are within range
_DRAWS_PER_DIMENSION = 4  # below this, correlations are shrunk towards zero


@dataclass(frozen=True)
class Coordinates:
    """x = location + root z, and the score of z.

    Attributes
    ----------
    location : ndarray, shape (d,)
    root : ndarray, shape (d, d) or (d,)
        Lower-triangular factor of the covariance; its diagonal where only scales are taken out.
    """

    location: FloatArray
    root: FloatArray

    @classmethod
    def of(
        cls, x: FloatArray, weights: FloatArray | None, kind: Standardise | None
    ) -> "Coordinates":
        """Take mean and covariance of the rows of ``x (n, d)``, weighted by ``weights (n,)``.

        Raises
        ------
        ValueError
            A coordinate that does not vary, or a covariance without full rank.
        """
        n, d = x.shape
        check_magnitude("coordinates of the draws", x)
        if kind is None:
            return cls(np.zeros(d), np.ones(d))
        share = np.full(n, 1 / n) if weights is None else weights / weights.sum()
        location = share @ x
        centred = x - location
        deviation = np.sqrt(share @ centred**2)
        flat = deviation <= 1e-12 * np.maximum(np.abs(location), np.abs(x).max(axis=0))
        if flat.any():
            j = int(np.flatnonzero(flat)[0])
            raise ValueError(
                f"coordinate {j} of the draws is constant ({location[j]:.6g}); a score along it "
                "says nothing. Leave out coordinates that do not vary."
            )
        if kind == "sd":
            return cls(location, deviation)
        correlation = (centred * share[:, np.newaxis]).T @ centred / np.outer(deviation, deviation)
        if n < _DRAWS_PER_DIMENSION * d:
            # Any affine map is valid; a covariance from a handful of draws is merely a bad one.
            correlation *= n / (_DRAWS_PER_DIMENSION * d)
            correlation[np.diag_indices(d)] = 1.0
        try:
            root = linalg.cholesky(correlation, lower=True)
        except linalg.LinAlgError:
            root = np.zeros((d, d))
        if np.diagonal(root).min() < 1e-7:
            vector = linalg.eigh(correlation)[1][:, 0]
            first, second = sorted(int(j) for j in np.argsort(-np.abs(vector))[:2])
            raise ValueError(
                f"the covariance of the draws is singular: coordinates {first} and {second} (and "
                "perhaps others) are linearly dependent, by a sum that is fixed or a copy. Leave "
                "out coordinates that others determine, and give the score of those that remain."
            )
        return cls(location, deviation[:, np.newaxis] * root)

    def points(self, x: FloatArray) -> FloatArray:
        """Return the standardised points, shape (n, d)."""
        with np.errstate(over="ignore", invalid="ignore"):
            centred = x - self.location
            if self.root.ndim == 1:
                return _tractable("draws", centred / self.root)
            z = linalg.solve_triangular(self.root, centred.T, lower=True, check_finite=False).T
            return _tractable("draws", z)

    def scores(self, s: FloatArray) -> FloatArray:
        """Return the scores with respect to standardised points, shape (n, d)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return _tractable("scores", s * self.root if self.root.ndim == 1 else s @ self.root)


def _tractable(name: str, standardised: FloatArray) -> FloatArray:
    """Refuse what polynomials and kernels, which multiply several of these, would overflow on."""
    largest = np.abs(standardised).max(initial=0.0)
    if not largest <= _MOST:
        raise MagnitudeError(
            f"{name} reach {largest:.3g} in units of the draws' spread (or in their own, with "
            f"standardise=None); expected at most {_MOST:.0e}."
        )
    return np.asarray(standardised)
