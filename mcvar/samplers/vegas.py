"""VEGAS: an adaptive separable importance map, under quasi-Monte Carlo."""

from typing import ClassVar

import numpy as np

from mcvar.samplers.base import (
    Evaluate,
    Plan,
    Prepared,
    Sampler,
    Stream,
    needs_uniforms,
    power_of_two_plan,
)
from mcvar.samplers.qmc import Sobol
from mcvar.samplers.separable_map import MapTraining
from mcvar.samplers.training import CubeIntegrand
from mcvar.targets import Target, Warped

_TRAINING_SHARE = 4  # one evaluation in 4 trains the map
_MOST_TRAINING = 2**16
_ROUNDS = 4
_FEW_HITS = 4  # effective points below which the map is not to be trusted


class Vegas(Sampler):
    """Importance sampling through a map trained axis by axis, with Sobol' points.

    A quarter of the evaluations trains the map in four rounds, each drawn through the map of the
    round before; the rest goes through the final map in independent scramblings. The density of
    each axis is bounded below, which bounds the weights.

    References
    ----------
    Lepage, "A new algorithm for adaptive multidimensional integration", J. Comput. Phys. 27
    (1978); "VEGAS enhanced", J. Comput. Phys. 439 (2021).

    Examples
    --------
    >>> import numpy as np, mcvar
    >>> peak = lambda x: np.exp(-400 * ((x - 0.3) ** 2).sum(axis=1))
    >>> est = mcvar.estimate(peak, [(0, 1)] * 4, n=2**15, rng=1, sampler="vegas")
    >>> bool(abs(est.value / (np.pi / 400) ** 2 - 1) < 5e-2)
    True
    """

    name: ClassVar[str] = "vegas"
    extensible: ClassVar[bool] = True

    def plan(self, n: int) -> Plan:
        """Lay out as Sobol' sequences do."""
        return power_of_two_plan(n)

    def open(self, target: Target, size: int, seed: np.random.SeedSequence) -> Stream:
        """Open a Sobol' stream; `prepare` has put the map into the target."""
        return Sobol().open(target, size, seed)

    def prepare(
        self, target: Target, evaluate: Evaluate, n: int, seed: np.random.SeedSequence
    ) -> Prepared:
        """Train the map."""
        needs_uniforms(self.name, target)
        # A power of two keeps the training nets balanced.
        share = min(n // _TRAINING_SHARE, _MOST_TRAINING)
        if share < 16 * _ROUNDS:
            return Prepared(Sobol(), target, 0, (f"{n} evaluations are too few to train a map.",))
        per_round = 1 << ((share // _ROUNDS).bit_length() - 1)
        rounds = share // per_round
        integrand = CubeIntegrand(target, evaluate, seed)
        u = integrand.points(Sobol(), per_round)
        training = MapTraining(u, integrand(u))
        for _ in range(rounds - 1):
            moved = training.map(integrand.points(Sobol(), per_round))
            training.add(moved, integrand(moved.u))
            training.refit()
        warnings: tuple[str, ...] = ()
        if training.effective < _FEW_HITS:
            warnings = (
                f"the map was trained on only {training.effective:.1f} effective hits of "
                f"{rounds * per_round} points: a peak may be known by its edge alone.",
            )
        return Prepared(self, Warped(target, training.map), integrand.spent, warnings)
