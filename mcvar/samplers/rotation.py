"""Rotations in normal coordinates: the same law, with what matters on the first axes.

A rotation leaves the normal law, and so every expectation, as it is, but decides which direction
meets the best coordinates of a net, and along which axes a separable map can act.
"""

import numpy as np
from scipy import linalg, special

from mcvar._typing import FloatArray
from mcvar.targets import Warping
from mcvar.targets.base import TINY

_HIGHEST = 1 - 2.0**-53


class Rotation:
    """Maps u to Φ(Q Φ⁻¹(u)) for an orthogonal Q.

    Parameters
    ----------
    matrix : ndarray, shape (d, d)
        Q; column i is the direction that axis i is sent to.
    """

    def __init__(self, matrix: FloatArray) -> None:
        self.matrix = matrix
        self.n_uniform = len(matrix)

    def __call__(self, u: FloatArray) -> Warping:
        """Rotate uniforms ``u (n, d)``."""
        return Warping(self._through(u, self.matrix))

    def inverse(self, u: FloatArray) -> FloatArray:
        """Rotate back."""
        return self._through(u, self.matrix.T)

    @staticmethod
    def _through(u: FloatArray, matrix: FloatArray) -> FloatArray:
        moved = special.ndtr(special.ndtri(np.maximum(u, TINY)) @ matrix.T)
        return np.clip(moved, TINY, _HIGHEST)

    @classmethod
    def along_gradient(cls, u: FloatArray, values: FloatArray) -> "Rotation":
        """Send the first axes to the directions of the mean gradients E[f z] of the values.

        References
        ----------
        Imai & Tan, "A general dimension reduction technique for derivative pricing", J. Comput.
        Finance 10 (2006), section 3, with Stein's lemma for the gradient.
        """
        z = special.ndtri(np.maximum(u, TINY))
        scale = values.std(axis=0)
        standard = (values - values.mean(axis=0)) / np.where(scale > 0, scale, 1)
        directions = z.T @ standard
        return cls(_complete(directions))

    @classmethod
    def along_spread(cls, u: FloatArray, density: FloatArray, size: FloatArray) -> "Rotation":
        """Send axes to the principal axes of the second moment of z under |f|.

        `size` (n,) is |f| at points of the given density (n,).
        """
        z = special.ndtri(np.maximum(u, TINY))
        weight = size / density
        moment = (z * (weight / max(weight.sum(), 1e-300))[:, np.newaxis]).T @ z
        return cls(linalg.eigh(moment)[1][:, ::-1])


def _complete(directions: FloatArray) -> FloatArray:
    """Return an orthogonal matrix whose first columns span the main `directions` (d, m)."""
    d = len(directions)
    left, singular, _ = linalg.svd(directions, full_matrices=False)
    kept = left[:, singular > 1e-6 * max(singular[0], 1e-300)][:, :d]
    if kept.shape[1] == 0:
        return np.eye(d)
    # Householder reflections turn as little as possible of what is orthogonal to `kept`.
    q, r = linalg.qr(kept)
    q[:, : kept.shape[1]] *= np.sign(np.diagonal(r))
    return np.asarray(q)
