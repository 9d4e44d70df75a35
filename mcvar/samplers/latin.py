"""Latin hypercube sampling: every coordinate stratified at once."""

from typing import ClassVar

import numpy as np

from mcvar._typing import FloatArray
from mcvar.samplers.base import (
    CHUNK,
    MIN_SIZE,
    REPLICATES,
    Plan,
    Sampler,
    Stream,
    UniformStream,
    needs_uniforms,
)
from mcvar.targets import Target


class LatinHypercube(Sampler):
    """Independent Latin hypercubes (McKay, Beckman & Conover 1979).

    Removes the additive part of the integrand from the variance (Stein 1987). Beyond 8,192
    points a larger hypercube gains nothing more, so further ones are added instead.

    Examples
    --------
    Every sixteenth of every side holds one of 16 points:

    >>> import numpy as np, mcvar
    >>> draws = mcvar.samplers.LatinHypercube().draw([(0, 1), (0, 1)], 8 * 16, rng=1)
    >>> one = draws.x[draws.replicate == 0]
    >>> np.sort(np.floor(16 * one[:, 1])).astype(int).tolist() == list(range(16))
    True
    """

    name: ClassVar[str] = "latin"

    def plan(self, n: int) -> Plan:
        """Lay out 8 hypercubes, or more where they would exceed 8,192 points."""
        if n < REPLICATES * MIN_SIZE:
            raise ValueError(
                f"n={n} is too small for {REPLICATES} Latin hypercubes of {MIN_SIZE} points; "
                f"expected n >= {REPLICATES * MIN_SIZE}."
            )
        size = min(n // REPLICATES, CHUNK)
        return Plan(n // size, size)

    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Start one hypercube."""
        needs_uniforms(self.name, target)
        points: list[FloatArray] = []

        def uniforms(start: int, count: int) -> FloatArray:
            if not points:
                from scipy.stats import qmc

                engine = qmc.LatinHypercube(target.n_uniform, rng=np.random.default_rng(seed))
                points.append(engine.random(size))
            return points[0][start : start + count]

        return UniformStream(target, uniforms)
