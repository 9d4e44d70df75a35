"""The integrand as training sees it: a function on the unit cube."""

import numpy as np

from mcvar._typing import FloatArray
from mcvar.samplers.base import Evaluate, Sampler
from mcvar.targets import Target


class CubeIntegrand:
    """Weighted values at uniforms, for samplers that learn where the integrand is large.

    For unnormalised targets these are w (f − θ) and w, with θ a first estimate: what the error
    of the ratio consists of.

    Attributes
    ----------
    spent : int
        Evaluations so far.
    """

    def __init__(self, target: Target, evaluate: Evaluate, seed: np.random.SeedSequence) -> None:
        self.spent = 0
        self._target = target
        self._evaluate = evaluate
        self._seed = seed
        self._centre: FloatArray | None = None

    def __call__(self, u: FloatArray) -> FloatArray:
        """Return values (n, m) at uniforms ``u (n, d)``."""
        draws = self._target.transport(u)
        values = self._evaluate(draws)
        self.spent += len(u)
        if draws.weights is None:
            return values
        weights = draws.weights[:, np.newaxis]
        if not self._target.self_normalized:
            return weights * values
        if self._centre is None:
            self._centre = (weights * values).sum(axis=0) / max(float(weights.sum()), 1e-300)
        return np.concatenate([weights * (values - self._centre), weights], axis=1)

    def points(self, sampler: Sampler, size: int, replicates: int = 1) -> FloatArray:
        """Return independent randomisations of `size` points, one after another: (n, d)."""
        cube = _Cube(self._target.n_uniform)
        seeds = self._seed.spawn(replicates)
        return np.concatenate([sampler.open(cube, size, s)(0, size).x for s in seeds])


class _Cube(Target):
    """The unit cube."""

    def __init__(self, ndim: int) -> None:
        self.ndim = ndim

    def from_uniform(self, u: FloatArray) -> FloatArray:
        return u
